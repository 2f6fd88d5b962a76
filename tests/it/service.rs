//! The contract of the service on every backend, on the local one.

use crate::fixture::{Local, script};
use crate::support::contract::{Subject, on_every_backend};

async fn on_local(_name: &str, case: impl AsyncFnOnce(&Subject)) {
    let local = Local::start().await;
    let subject = Subject { client: local.client().await, script, split_streams: true, limits_resources: false };
    case(&subject).await;
    local.finish().await;
}

on_every_backend!(on_local);
