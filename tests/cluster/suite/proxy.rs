//! A way to the API server that can be cut or stalled.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cluster;

/// What happens to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They go through.
    Open,
    /// Open ones are cut, new ones are hung up on.
    Cut,
    /// They are taken, and nothing is said.
    Stalled,
}

/// Forwards to the API server of the suite's cluster, or does not.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Proxy {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (way, ways) = watch::channel(way);
        let server = server();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), ways.clone()));
            }
        });
        Self { address, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
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

async fn forward(mut client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    if *way.borrow_and_update() == Way::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        () = pump(from_client, to_server, way.clone()) => {}
        () = pump(from_server, to_client, way.clone()) => {}
        // Also if the proxy is gone.
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

/// Carries bytes over while the way is open.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut way: watch::Receiver<Way>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let open = way.wait_for(|way| *way == Way::Open).await.is_ok();
        if !open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
