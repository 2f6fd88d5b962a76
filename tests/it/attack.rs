//! Each of these tries to use something up: processors, memory, files. Beside it a well-behaved client goes on, all of
//! whose calls are answered, and the daemon stays within 512 MiB and 1,024 files.
//!
//! `LONGSHORE_ATTACK_SECONDS` says how long each attack lasts; 4 unless it is set.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use longshore::proto::v1::{
    BatchSubmitRunsRequest, EnvVar, GetRunRequest, GetServerInfoRequest, ListRunsRequest, RunSpec, RunView,
    SubmitRunRequest, env_var,
};
use prost::Message;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::fixture::{Local, script};
use crate::support::client::{Client, DEFAULT, submit_request};
use crate::support::spec::runner;
use crate::support::wait::within;

/// What the daemon may take, in bytes: the limit of the chart.
const MEMORY_MAX: u64 = 512 << 20;
/// Files that it may have open.
const FILES_MAX: u64 = 1024;
/// Where the attacks come from; the client is another host.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Calls of the client beside each attack, at least.
const CALLS_MIN: usize = 41;
/// Connections, or calls, that are tried at once.
const AT_ONCE: usize = 300;

const SUBMIT: &str = "/longshore.v1.RunService/SubmitRun";
const BATCH: &str = "/longshore.v1.RunService/BatchSubmitRuns";
const GET: &str = "/longshore.v1.RunService/GetRun";
const WATCH_HEALTH: &str = "/grpc.health.v1.Health/Watch";

fn duration() -> Duration {
    let seconds = std::env::var("LONGSHORE_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(4))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_keeps_others_from_being_served() {
    let local = Local::start_with_files(FILES_MAX).await;
    let address = local.daemon.address();
    let client = local.client().await;
    let large = large_run(&client).await;
    let alone = behave(&client, address, duration().min(Duration::from_secs(3))).await;
    let (memory, files) = (local.daemon.memory_peak(), local.daemon.open_files());
    eprintln!("alone: p99 {alone:.1?}, memory at most {} MiB, {files} files", memory >> 20);

    type Start<'a> = Box<dyn Fn() -> JoinSet<()> + 'a>;
    let attacks: [(&str, Start<'_>); 6] = [
        ("variables without number", Box::new(|| each(2, || variables(address)))),
        ("batches of large specs", Box::new(|| each(2, || batches(address)))),
        ("unfinished messages", Box::new(|| each(2, || unfinished(address)))),
        ("watches of health", Box::new(|| each(2, || watches(address)))),
        ("unread answers", Box::new(|| each(2, || unread(address, large.clone())))),
        ("silent connections", Box::new(|| each(2, || silent(address)))),
    ];
    for (what, start) in attacks {
        let attack = start();
        let p99 = behave(&client, address, duration()).await;
        let (memory, files) = (local.daemon.memory_peak(), local.daemon.open_files());
        drop(attack);
        let ratio = p99.as_secs_f64() / alone.as_secs_f64();
        eprintln!("{what}: p99 {p99:.1?}, {ratio:.1} of alone; memory at most {} MiB, {files} files", memory >> 20);
        assert!(memory < MEMORY_MAX, "{what}: {memory} bytes");
        assert!(files < FILES_MAX, "{what}: {files} files");
    }
    let log = local.daemon.output();
    assert!(!log.contains("Too many open files"), "the daemon ran out of files");
    local.finish().await;
}

/// Calls of each kind, each of which must be answered; the 99th percentile of what they took.
async fn behave(client: &Client, address: SocketAddr, duration: Duration) -> Duration {
    let begun = Instant::now();
    let mut took = Vec::new();
    // One run is submitted, and seen through.
    let run = client.submit(script("exit 0")).await;
    while begun.elapsed() < duration || took.len() < CALLS_MIN {
        let called = Instant::now();
        client.server.clone().get_server_info(GetServerInfoRequest {}).await.expect("GetServerInfo");
        took.push(called.elapsed());
        let called = Instant::now();
        let list = ListRunsRequest { parent: DEFAULT.to_owned(), ..ListRunsRequest::default() };
        client.runs.clone().list_runs(list).await.expect("ListRuns");
        took.push(called.elapsed());
        if took.len() % 20 == 0 {
            let called = Instant::now();
            let fresh = within("a new connection", Client::to(address).ready()).await;
            let check = SubmitRunRequest { validate_only: true, ..submit_request(script("")) };
            fresh.try_submit(check).await.expect("SubmitRun");
            took.push(called.elapsed());
        }
    }
    client.wait_terminal(&run.name).await;
    took.sort_unstable();
    let place = took.len() * 99 / 100;
    took.get(place.min(took.len() - 1)).copied().expect("calls")
}

/// The name of a run that takes 20 kB to report: an unoptimised daemon makes no large etags in time.
async fn large_run(client: &Client) -> String {
    client.run(script(&format!("exit 0 #{}", "x".repeat(10_000)))).await.name
}

/// So many tasks that do the same; they end when what is returned is dropped.
fn each<F: Future<Output = ()> + Send + 'static>(count: usize, attack: impl Fn() -> F) -> JoinSet<()> {
    (0..count).map(|_| attack()).collect()
}

async fn connect(address: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::new(ATTACKER, 0)).ok()?;
    socket.connect(address).await.ok()
}

/// A connection that speaks HTTP/2 and takes no more of each answer than `window`; `None` if it is refused.
async fn http2(address: SocketAddr, window: u32, tasks: &mut JoinSet<()>) -> Option<SendRequest<Bytes>> {
    let connection = connect(address).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (send, connection) = builder.handshake(connection).await.ok()?;
    tasks.spawn(async move { drop(connection.await) });
    Some(send)
}

/// Begins a call, with as much of its message as is given; what is returned keeps it open.
async fn begin(
    send: &mut SendRequest<Bytes>,
    path: &str,
    data: Bytes,
    whole: bool,
) -> Option<(h2::client::ResponseFuture, h2::SendStream<Bytes>)> {
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .ok()?;
    std::future::poll_fn(|cx| send.poll_ready(cx)).await.ok()?;
    let (answer, mut stream) = send.send_request(request, false).ok()?;
    stream.send_data(data, whole).ok()?;
    Some((answer, stream))
}

/// A message with its prefix.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message").to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// 3.5 MB of variables, again and again.
async fn variables(address: SocketAddr) {
    let value = |i: usize| EnvVar { name: format!("{i:x}"), source: Some(env_var::Source::Value(String::new())) };
    let spec = RunSpec { env: (0..400_000).map(value).collect(), ..runner("sh") };
    let request = SubmitRunRequest { validate_only: true, ..submit_request(spec) };
    repeat(address, SUBMIT, framed(&request.encode_to_vec())).await;
}

/// Batches of as many specs as one may have, 3.5 MB together, each of which is read, checked and applied.
async fn batches(address: SocketAddr) {
    let spec = script(&format!("exit 0 #{}", "x".repeat(7_000)));
    let one = SubmitRunRequest { spec: Some(spec), ..SubmitRunRequest::default() };
    let request = BatchSubmitRunsRequest {
        parent: DEFAULT.to_owned(),
        batch_id: "attack".to_owned(),
        requests: vec![one; 500],
        validate_only: true,
        ..BatchSubmitRunsRequest::default()
    };
    repeat(address, BATCH, framed(&request.encode_to_vec())).await;
}

/// The same call again and again, eight at once on each connection.
async fn repeat(address: SocketAddr, path: &str, message: Bytes) {
    let mut tasks = JoinSet::new();
    loop {
        let Some(mut send) = http2(address, 65_535, &mut tasks).await else { continue };
        let mut open = Vec::new();
        for _ in 0..8 {
            let Some((answer, _stream)) = begin(&mut send, path, message.clone(), true).await else { break };
            open.push(answer);
        }
        for answer in open {
            drop(answer.await);
        }
    }
}

/// Messages of 4 MiB of which the last byte never comes.
async fn unfinished(address: SocketAddr) {
    let message = framed(&vec![0; 4 << 20]);
    let message = message.slice(..message.len() - 1);
    let mut tasks = JoinSet::new();
    loop {
        let Some(mut send) = http2(address, 65_535, &mut tasks).await else { continue };
        let mut open = Vec::new();
        for _ in 0..AT_ONCE {
            let Some(call) = begin(&mut send, SUBMIT, message.clone(), false).await else { break };
            open.push(call);
        }
        // Those that were refused are tried again on another connection.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Watches of health, each of which is kept, far beyond what is granted; then it is tried now and then.
async fn watches(address: SocketAddr) {
    let mut tasks = JoinSet::new();
    let mut open = Vec::new();
    loop {
        if let Some(mut send) = http2(address, 65_535, &mut tasks).await {
            for _ in 0..AT_ONCE / 4 {
                let Some(call) = begin(&mut send, WATCH_HEALTH, framed(&[]), true).await else { break };
                open.push(call);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Answers of 20 kB of which nothing is taken.
async fn unread(address: SocketAddr, name: String) {
    let request = GetRunRequest { name, view: RunView::Full.into() };
    let message = framed(&request.encode_to_vec());
    let mut tasks = JoinSet::new();
    loop {
        let Some(mut send) = http2(address, 0, &mut tasks).await else { continue };
        let mut open = Vec::new();
        for _ in 0..AT_ONCE {
            let Some(call) = begin(&mut send, GET, message.clone(), true).await else { break };
            open.push(call);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Connections that say nothing.
async fn silent(address: SocketAddr) {
    let mut open = Vec::new();
    loop {
        match connect(address).await {
            Some(connection) if open.len() < 2 * AT_ONCE => open.push(connection),
            Some(_) | None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
