//! The contract of every backend, on a cluster.

use crate::case::{on_cluster, script};
use crate::support::contract::{Subject, on_every_backend};

async fn on_kubernetes(name: &str, case: impl AsyncFnOnce(&Subject)) {
    on_cluster(name, async |own| {
        let subject = Subject { client: own.client().await, script, split_streams: false, limits_resources: true };
        case(&subject).await;
    })
    .await;
}

on_every_backend!(on_kubernetes);
