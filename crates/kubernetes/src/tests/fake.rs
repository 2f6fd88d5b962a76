//! A small API server that plays a script: HTTP/1.1, one request per connection, on port 0.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::client::Cluster;
use crate::{KubernetesConfig, KubernetesMetrics, connect};
use longshore_backend::{Backend, NamespaceMap};
use longshore_domain::name::NamespaceName;

/// The Kubernetes namespace of the scripts.
pub(super) const NAMESPACE: &str = "longshore-runs";
/// Bound of everything that a test waits for.
pub(super) const BOUND: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct SeenRequest {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) at: Instant,
}

impl SeenRequest {
    /// Method and the last parts of the path: `POST jobs`, `PATCH jobs/run-hello/status`.
    pub(super) fn short(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let tail = path.split(&format!("/namespaces/{NAMESPACE}/")).nth(1).unwrap_or(path);
        format!("{} {tail}", self.method)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn is_watch(&self, kind: &str) -> bool {
        self.short() == format!("GET {kind}") && self.target.contains("watch=true")
    }

    /// Whether it lists objects by a label that they lack.
    fn is_for_stripped(&self) -> bool {
        self.target.contains("labelSelector") && self.target.contains("%21")
    }

    pub(super) fn is_list(&self, kind: &str) -> bool {
        self.short() == format!("GET {kind}") && !self.target.contains("watch=true")
    }
}

/// What is answered.
pub(crate) enum Reply {
    Json(u16, Value),
    /// 200, with this header `Date`.
    Dated(String, Value),
    /// 200, these bytes, and an orderly end.
    Stream(Vec<u8>),
    /// 200, these bytes, and then nothing for as long as the client bears it.
    Silence(Vec<u8>),
    /// 200, these bytes, and a cut in the middle.
    Cut(Vec<u8>),
    /// The connection is closed without an answer.
    Nothing,
}

impl Reply {
    /// A refusal.
    pub(super) fn status(code: u16, reason: &str, message: &str) -> Self {
        Self::Json(
            code,
            json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": code, "reason": reason, "message": message,
            }),
        )
    }

    pub(super) fn list(items: &[Value]) -> Self {
        Self::Json(
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": items}),
        )
    }
}

/// The running server.
pub(crate) struct FakeApi {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<SeenRequest>>>,
}

impl FakeApi {
    /// Nothing lacks its labels, which is not worth a line in each script.
    pub(crate) fn start(mut script: impl FnMut(&SeenRequest) -> Reply + Send + 'static) -> Self {
        Self::serve(move |request| (!request.is_for_stripped()).then(|| script(request)))
    }

    /// The script is asked about everything.
    pub(super) fn start_bare(mut script: impl FnMut(&SeenRequest) -> Reply + Send + 'static) -> Self {
        Self::serve(move |request| Some(script(request)))
    }

    /// What the script has no answer for is an empty list, and not seen.
    fn serve(script: impl FnMut(&SeenRequest) -> Option<Reply> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<SeenRequest>>> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                thread::spawn(move || {
                    // A client may go away at any time.
                    let Ok(request) = read(&connection) else { return };
                    let reply = {
                        let mut script = script.lock().unwrap();
                        let reply = script(&request);
                        if reply.is_some() {
                            log.lock().unwrap().push(request);
                        }
                        reply.unwrap_or_else(|| Reply::list(&[]))
                    };
                    let _ = answer(connection, reply);
                });
            }
        });
        Self { address, seen }
    }

    pub(super) fn seen(&self) -> Vec<SeenRequest> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn short(&self) -> Vec<String> {
        self.seen().iter().map(SeenRequest::short).collect()
    }

    /// What names this server; the kubeconfig goes with the directory.
    pub(super) fn config(&self) -> (tempfile::TempDir, KubernetesConfig) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let config = KubernetesConfig {
            kubeconfig: Some(path),
            context: None,
            in_cluster: false,
            instance: "longshore".to_owned(),
            namespaces: NamespaceMap::new([(NamespaceName::default_namespace(), NAMESPACE.to_owned())]),
            volumes: BTreeMap::new(),
            network_policies_installed: true,
            request_timeout: Duration::from_secs(10),
            node_lost_after: Duration::from_secs(600),
            queues: Vec::new(),
        };
        (dir, config)
    }

    pub(super) async fn backend(&self) -> Backend {
        self.counted_backend(&KubernetesMetrics::default()).await
    }

    pub(super) async fn counted_backend(&self, metrics: &KubernetesMetrics) -> Backend {
        let (_dir, config) = self.config();
        connect(config, metrics).await.unwrap()
    }

    pub(crate) async fn cluster(&self) -> Arc<Cluster> {
        let (_dir, config) = self.config();
        Arc::new(Cluster::connect(config).await.unwrap())
    }
}

fn read(connection: &TcpStream) -> std::io::Result<SeenRequest> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if method.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(SeenRequest { method, target, body, headers, at: Instant::now() })
}

fn answer(mut connection: TcpStream, reply: Reply) -> std::io::Result<()> {
    let (bytes, silent, cut) = match reply {
        Reply::Json(code, value) => {
            let body = value.to_string();
            let head = format!(
                "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            return connection.write_all((head + &body).as_bytes());
        }
        Reply::Dated(date, value) => {
            let body = value.to_string();
            let head = format!(
                "HTTP/1.1 200 X\r\nDate: {date}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            return connection.write_all((head + &body).as_bytes());
        }
        Reply::Stream(bytes) => (bytes, false, false),
        Reply::Silence(bytes) => (bytes, true, false),
        Reply::Cut(bytes) => (bytes, false, true),
        Reply::Nothing => return Ok(()),
    };
    connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
    if !bytes.is_empty() {
        connection.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        connection.write_all(&bytes)?;
        connection.write_all(b"\r\n")?;
    }
    if silent {
        // Until the client goes.
        let _ = connection.read(&mut [0]);
        return Ok(());
    }
    if cut {
        return connection.write_all(b"ff\r\nhalf a ch");
    }
    connection.write_all(b"0\r\n\r\n")
}
