//! A way to the API server that can be cut.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cluster;

/// Forwards to the API server of the suite's cluster, or hangs up on everybody.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy that hangs up.
    pub(crate) async fn cut() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (open, is_open) = watch::channel(false);
        let server = server();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), is_open.clone()));
            }
        });
        Self { address, open }
    }

    /// Lets calls through, or cuts those that are open and hangs up on new ones.
    pub(crate) fn set(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// A kubeconfig, in `dir`, that leads through here.
    pub(crate) fn kubeconfig(&self, dir: &Path) -> PathBuf {
        let mut file = read();
        let host = host();
        for cluster in file.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.server = Some(format!("https://{}", self.address));
            cluster.tls_server_name.get_or_insert_with(|| host.clone());
        }
        let path = dir.join("kubeconfig");
        // JSON is YAML.
        std::fs::write(&path, serde_json::to_string(&file).expect("a kubeconfig")).expect("a file");
        path
    }
}

fn read() -> Kubeconfig {
    Kubeconfig::read_from(cluster::kubeconfig()).expect("LONGSHORE_TEST_KUBECONFIG is readable")
}

/// Host and port of the API server.
fn server() -> String {
    let file = read();
    let cluster = file.clusters.iter().find_map(|named| named.cluster.as_ref()).expect("a cluster");
    let url = cluster.server.as_deref().expect("a server");
    let uri: http::Uri = url.parse().expect("a URL");
    let host = uri.host().expect("a host");
    format!("{host}:{}", uri.port_u16().unwrap_or(443))
}

fn host() -> String {
    let server = server();
    server.rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or(server)
}

async fn forward(mut client: TcpStream, server: String, mut open: watch::Receiver<bool>) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        // Also if the proxy is gone.
        _ = open.wait_for(|open| !open) => {}
    }
}
