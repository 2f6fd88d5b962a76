//! Who is let in, and what they may do: TLS, tokens, certificates, the policy, the audit.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::stream;
use longshore::proto::v1::run_service_client::RunServiceClient;
use longshore::proto::v1::server_service_client::ServerServiceClient;
use longshore::proto::v1::{
    BatchSubmitRunsRequest, CancelRunRequest, CancelRunsRequest, DeleteRunsRequest, ErrorReason, GetRunRequest,
    GetServerInfoRequest, ListRunnerProfilesRequest, ListRunsRequest, RunFilter, StreamLogsRequest, SubmitRunRequest,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1 as reflection;
use tonic_types::StatusExt;

use crate::cli_client::{Printed, printed};
use crate::door::{NASTY, assert_strict};
use crate::support::authority::{Authority, Pair};
use crate::support::daemon::{Daemon, longshore};
use crate::support::errors::assert_error;
use crate::support::spec::{container, runner, sql};
use crate::support::wait::{until, within};

/// A daemon that serves TLS, knows tokens and certificates, and has a policy.
struct Guarded {
    daemon: Daemon,
    dir: TempDir,
    clients: Authority,
    authority: String,
    /// The token of user `ci`.
    token: String,
}

const POLICY: &str = r#"
    [namespaces.other]

    [profiles.other.local]
    command = ["true"]

    [authorization]
    mode = "policy"
    [[authorization.rules]]
    users = ["ci"]
    namespaces = ["default"]
    verbs = ["submit", "get"]
    profiles = ["sql"]
    [[authorization.rules]]
    users = ["writer"]
    namespaces = ["default"]
    verbs = ["submit", "cancel"]
    [[authorization.rules]]
    users = ["reporter"]
    namespaces = ["default"]
    verbs = ["submit"]
    profiles = ["sql", "other"]
    [[authorization.rules]]
    users = ["shipper"]
    namespaces = ["default"]
    verbs = ["logs"]
    [[authorization.rules]]
    groups = ["team-a"]
    namespaces = ["*"]
    verbs = ["*"]
"#;

impl Guarded {
    async fn start() -> Self {
        let dir = TempDir::with_prefix("longshore-access-").unwrap();
        let at = |name: &str| dir.path().join(name);
        let (servers, clients) = (Authority::new(), Authority::new());
        write_pair(dir.path(), &servers.server("localhost"));
        std::fs::write(at("client-ca.crt"), &clients.pem).unwrap();
        let token = create_token(&at("tokens.toml"), "ci");
        let path = |name: &str| toml::Value::from(at(name).to_str().unwrap());
        let config = format!(
            "health_listen = \"127.0.0.1:0\"\n[tls]\ncert_file = {}\nkey_file = {}\nclient_ca_file = {}\n\
             [authentication]\ntoken_file = {}\n{POLICY}",
            path("tls.crt"),
            path("tls.key"),
            path("client-ca.crt"),
            path("tokens.toml"),
        );
        std::fs::write(at("config.toml"), config).unwrap();
        let mut args: Vec<std::ffi::OsString> = Vec::new();
        args.extend(["--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off"].map(Into::into));
        args.extend(["--log-format".into(), "json".into()]);
        args.extend(["--state-dir".into(), at("state").into(), "--config".into(), at("config.toml").into()]);
        let daemon = Daemon::start(args).await;
        let guarded = Self { daemon, dir, clients, authority: servers.pem, token };
        guarded.ready().await;
        guarded
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn ready(&self) {
        ready(self.daemon.health()).await;
    }

    fn endpoint(&self, authority: &str, identity: Option<&Pair>) -> Endpoint {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
        if let Some(Pair { cert, key }) = identity {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        Endpoint::from_shared(format!("https://{}", self.daemon.address())).unwrap().tls_config(tls).unwrap()
    }

    /// A caller without a certificate.
    fn channel(&self) -> Channel {
        self.endpoint(&self.authority, None).connect_lazy()
    }

    /// A caller with this certificate.
    fn certified(&self, pair: &Pair) -> Channel {
        self.endpoint(&self.authority, Some(pair)).connect_lazy()
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.daemon.address().port())
    }

    /// The command line as a client with these flags.
    async fn cli(&self, arguments: &[&str], token: Option<&str>) -> Printed {
        let mut command = longshore(arguments);
        command.env("LONGSHORE_SERVER", self.url()).env("LONGSHORE_CA_FILE", self.path("ca.crt"));
        if let Some(token) = token {
            command.env("LONGSHORE_TOKEN", token);
        }
        std::fs::write(self.path("ca.crt"), &self.authority).unwrap();
        printed(within("the command", command.output()).await.unwrap())
    }

    /// The lines of the audit so far.
    fn audit(&self) -> Vec<serde_json::Value> {
        let output = self.daemon.output();
        let lines = output.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["target"] == "longshore::audit").collect()
    }
}

/// Waits until the daemon whose health is reported at `address` is ready.
pub(crate) async fn ready(address: SocketAddr) {
    let mut health = HealthClient::new(plain(address));
    let request = HealthCheckRequest { service: String::new() };
    let mut printed = health.watch(request).await.expect("watch health").into_inner();
    within("the daemon to be ready", async {
        while printed.message().await.expect("watch health").expect("an answer").status() != ServingStatus::Serving {}
    })
    .await;
}

pub(crate) fn plain(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

fn write_pair(dir: &Path, pair: &Pair) {
    std::fs::write(dir.join("tls.key"), &pair.key).unwrap();
    std::fs::write(dir.join("tls.crt"), &pair.cert).unwrap();
}

/// A new token of `user`, whose hash is added to `file`.
pub(crate) fn create_token(file: &Path, user: &str) -> String {
    let output = std::process::Command::new(crate::support::daemon::LONGSHORE)
        .args(["token", "create", user, "--expires", "1h", "--file"])
        .arg(file)
        .output()
        .unwrap();
    let created = printed(output);
    assert_eq!(created.code, 0, "{}", created.stderr);
    created.stdout().trim().to_owned()
}

/// `message` from the owner of `token`.
pub(crate) fn from<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) fn submit(parent: &str, spec: longshore::proto::v1::RunSpec) -> SubmitRunRequest {
    SubmitRunRequest { parent: parent.to_owned(), spec: Some(spec), ..SubmitRunRequest::default() }
}

fn list(parent: &str) -> ListRunsRequest {
    ListRunsRequest { parent: parent.to_owned(), ..ListRunsRequest::default() }
}

#[track_caller]
pub(crate) fn assert_unknown(status: &Status) {
    assert_error(status, Code::Unauthenticated, ErrorReason::Unauthenticated);
    assert_eq!(status.message(), "missing or invalid credentials");
}

#[tokio::test]
async fn nobody_is_let_in_without_credentials_that_are_known() {
    let guarded = Guarded::start().await;
    let mut server = ServerServiceClient::new(guarded.channel());
    assert_unknown(&server.get_server_info(GetServerInfoRequest {}).await.unwrap_err());
    for token in ["", "longshore_wrong", &guarded.token[1..]] {
        assert_unknown(&server.get_server_info(from(token, GetServerInfoRequest {})).await.unwrap_err());
    }
    let info = server.get_server_info(from(&guarded.token, GetServerInfoRequest {})).await.expect("the token of ci");
    assert_eq!(info.into_inner().namespaces, ["namespaces/default"], "what ci may see");

    // A certificate of somebody else's authority does not even connect.
    let foreign = Authority::new().client("alice", "team-a");
    let mut server = ServerServiceClient::new(guarded.certified(&foreign));
    let refused = server.get_server_info(from(&guarded.token, GetServerInfoRequest {})).await.unwrap_err();
    // The handshake fails after the client's part of it is done: the call sees a cut, and no answer of ours.
    assert!(refused.get_error_details().error_info().is_none(), "{refused:?}");
    // One of ours is enough, and does not make a wrong token good.
    let alice = guarded.clients.client("alice", "team-a");
    let mut server = ServerServiceClient::new(guarded.certified(&alice));
    let info = server.get_server_info(GetServerInfoRequest {}).await.expect("alice").into_inner();
    assert_eq!(info.namespaces, ["namespaces/default", "namespaces/other"]);
    assert_unknown(&server.get_server_info(from("longshore_wrong", GetServerInfoRequest {})).await.unwrap_err());

    // Without TLS nothing is answered.
    let mut server = ServerServiceClient::new(plain(guarded.daemon.address()));
    assert!(server.get_server_info(from(&guarded.token, GetServerInfoRequest {})).await.is_err());
}

#[tokio::test]
async fn health_is_open_and_reflection_is_not() {
    let guarded = Guarded::start().await;
    for channel in [guarded.channel(), plain(guarded.daemon.health())] {
        for service in ["", "liveness"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = HealthClient::new(channel.clone()).check(request).await.expect("health").into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        }
    }
    // On the port of its own there is nothing else.
    let mut server = ServerServiceClient::new(plain(guarded.daemon.health()));
    let refused = server.get_server_info(from(&guarded.token, GetServerInfoRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");

    let ask = || {
        let message = reflection::server_reflection_request::MessageRequest::ListServices(String::new());
        stream::iter([reflection::ServerReflectionRequest { host: String::new(), message_request: Some(message) }])
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(guarded.channel());
    assert_unknown(&client.server_reflection_info(ask()).await.unwrap_err());
    let mut answers = client.server_reflection_info(from(&guarded.token, ask())).await.expect("ci").into_inner();
    assert!(answers.message().await.expect("an answer").is_some());
}

#[tokio::test]
async fn what_one_may_not_see_is_not_there() {
    let guarded = Guarded::start().await;
    let mut ci = RunServiceClient::new(guarded.channel());
    let token = guarded.token.as_str();
    let alice = guarded.clients.client("alice", "team-a");
    let mut alice = RunServiceClient::new(guarded.certified(&alice));
    let theirs = alice.submit_run(submit("namespaces/other", sql("select 1"))).await.expect("alice").into_inner();
    let theirs = theirs.run.expect("the run");
    assert_eq!(theirs.submitter, "alice");

    // A namespace that is there and one that is not are reported in the same words.
    for namespace in ["other", "nowhere"] {
        let parent = format!("namespaces/{namespace}");
        let hidden = format!("namespace `{namespace}` not found, or you may not view it");
        let refused = ci.list_runs(from(token, list(&parent))).await.unwrap_err();
        assert_error(&refused, Code::NotFound, ErrorReason::ResourceNotFound);
        assert_eq!(refused.message(), hidden);
        let refused = ci.submit_run(from(token, submit(&parent, sql("select 1")))).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, hidden.as_str()));
        let mut server = ServerServiceClient::new(guarded.channel());
        let request = ListRunnerProfilesRequest { parent };
        let refused = server.list_runner_profiles(from(token, request)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::NotFound, hidden.as_str()));
    }
    // A run of another's, too.
    let get = |name: &str| GetRunRequest { name: name.to_owned(), ..GetRunRequest::default() };
    let refused = ci.get_run(from(token, get(&theirs.name))).await.unwrap_err();
    let missing = ci.get_run(from(token, get("namespaces/other/runs/none"))).await.unwrap_err();
    assert_eq!((refused.code(), missing.code()), (Code::NotFound, Code::NotFound));
    assert_eq!(
        refused.message().replace(&theirs.name, ""),
        missing.message().replace("namespaces/other/runs/none", "")
    );
    let cancel = CancelRunRequest { name: theirs.name.clone(), ..CancelRunRequest::default() };
    assert_eq!(ci.cancel_run(from(token, cancel)).await.unwrap_err().code(), Code::NotFound);

    let own = ci.submit_run(from(token, submit("namespaces/default", sql("select 1")))).await.expect("ci").into_inner();
    let own = own.run.expect("the run");
    assert_eq!(own.submitter, "ci");
    let listed = ci.list_runs(from(token, list("namespaces/-"))).await.expect("ci").into_inner();
    let names: Vec<_> = listed.runs.into_iter().map(|run| run.name).collect();
    assert_eq!(names, std::slice::from_ref(&own.name), "all that ci may see");
    let listed = alice.list_runs(list("namespaces/-")).await.expect("alice").into_inner();
    assert_eq!(listed.runs.len(), 2);

    // What one may see, but not do, is refused in so many words.
    let cancel = CancelRunRequest { name: own.name.clone(), ..CancelRunRequest::default() };
    let refused = ci.cancel_run(from(token, cancel)).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    assert_eq!(refused.message(), format!("you may not cancel {}", own.name));
    let logs = StreamLogsRequest { name: own.name.clone(), ..StreamLogsRequest::default() };
    let refused = ci.stream_logs(from(token, logs)).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    let refused = ci.submit_run(from(token, submit("namespaces/default", runner("other")))).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    let instead =
        "you may not submit runs of profile `other` to namespaces/default; you may submit runs of profile `sql`";
    assert_eq!(refused.message(), instead);
}

#[tokio::test]
async fn a_caller_that_may_submit_some_profiles_and_view_nothing_learns_which() {
    let guarded = Guarded::start().await;
    let reporter = guarded.clients.client("reporter", "nobody");
    let mut reporter = RunServiceClient::new(guarded.certified(&reporter));
    let refused = reporter.submit_run(submit("namespaces/default", runner("elsewhere"))).await.unwrap_err();
    let details = assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    assert!(refused.message().ends_with("; you may submit runs of the profiles `other`, `sql`"), "{refused:?}");
    assert!(format!("{details:?}").contains("other,sql"), "{details:?}");
    // Where they may submit nothing there is nothing, for them.
    let refused = reporter.submit_run(submit("namespaces/other", sql("select 1"))).await.unwrap_err();
    assert_error(&refused, Code::NotFound, ErrorReason::ResourceNotFound);
    reporter.submit_run(submit("namespaces/default", sql("select 1"))).await.expect("what they may");
}

#[tokio::test]
async fn a_batch_needs_the_right_to_all_of_it() {
    let guarded = Guarded::start().await;
    let mut ci = RunServiceClient::new(guarded.channel());
    let token = guarded.token.as_str();
    let batch = |id: &str, specs: Vec<longshore::proto::v1::RunSpec>| BatchSubmitRunsRequest {
        parent: "namespaces/default".to_owned(),
        batch_id: id.to_owned(),
        requests: specs.into_iter().map(|spec| SubmitRunRequest { spec: Some(spec), ..Default::default() }).collect(),
        ..BatchSubmitRunsRequest::default()
    };
    let mixed = batch("mixed", vec![sql("select 1"), runner("other")]);
    let refused = ci.batch_submit_runs(from(token, mixed)).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    let none = ci.list_runs(from(token, list("namespaces/default"))).await.unwrap().into_inner();
    assert_eq!(none.runs, []);
    let answer = ci.batch_submit_runs(from(token, batch("own", vec![sql("select 1"), sql("select 2")]))).await.unwrap();
    assert_eq!(answer.into_inner().items.len(), 2);
    let filter = Some(RunFilter { label_selector: "longshore.dev/batch=own".to_owned(), ..RunFilter::default() });
    let parent = "namespaces/default".to_owned();
    let cancel = CancelRunsRequest { parent: parent.clone(), filter: filter.clone(), ..CancelRunsRequest::default() };
    let refused = ci.cancel_runs(from(token, cancel)).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    let delete = DeleteRunsRequest { parent, filter, validate_only: true };
    let refused = ci.delete_runs(from(token, delete)).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    // A line for each workload up to the first that is refused, with what the runs' names have in common.
    let audit = guarded.audit();
    let of = |name: &str| audit.iter().filter(|line| line["resource"] == name).count();
    assert_eq!((of("namespaces/default/runs/mixed-*"), of("namespaces/default/runs/own-*")), (1, 1), "{audit:?}");
}

#[tokio::test]
async fn logs_alone_are_enough_to_read_output() {
    let guarded = Guarded::start().await;
    let mut ci = RunServiceClient::new(guarded.channel());
    let run = ci.submit_run(from(&guarded.token, submit("namespaces/default", sql("select 1")))).await.expect("ci");
    let name = run.into_inner().run.expect("the run").name;
    let shipper = guarded.clients.client("shipper", "nobody");
    let mut shipper = RunServiceClient::new(guarded.certified(&shipper));
    let logs = StreamLogsRequest { name: name.clone(), follow: true, ..StreamLogsRequest::default() };
    let mut events = shipper.stream_logs(logs).await.expect("the output").into_inner();
    while within("the output", events.message()).await.expect("the output").is_some() {}
    let get = GetRunRequest { name, ..GetRunRequest::default() };
    assert_eq!(shipper.get_run(get).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_name_that_would_be_a_line_of_the_log_is_a_value_in_one() {
    let guarded = Guarded::start().await;
    let nasty = guarded.clients.client(NASTY, NASTY);
    let mut runs = RunServiceClient::new(guarded.certified(&nasty));
    let refused = runs.list_runs(list("namespaces/default")).await.unwrap_err();
    assert_error(&refused, Code::NotFound, ErrorReason::ResourceNotFound);
    let token = guarded.token.as_str();
    let mut ci = RunServiceClient::new(guarded.channel());
    ci.submit_run(from(token, submit("namespaces/default", container(NASTY, [NASTY])))).await.unwrap_err();
    ci.submit_run(from(token, submit("namespaces/default", runner(NASTY)))).await.unwrap_err();
    let audit = until("three lines", async || Some(guarded.audit()).filter(|lines| lines.len() >= 3)).await;
    assert_eq!(audit[0]["user"], NASTY);
    assert_strict(&guarded.daemon.output());
}

#[tokio::test]
async fn a_certificate_of_two_names_is_of_nobody() {
    let guarded = Guarded::start().await;
    let two = guarded.clients.ambiguous(["reporter", "shipper"]);
    let mut server = ServerServiceClient::new(guarded.certified(&two));
    assert_unknown(&server.get_server_info(GetServerInfoRequest {}).await.unwrap_err());
    until("the reason", async || {
        let printed =
            |line: &serde_json::Value| line["reason"] == "a client certificate with more than one common name";
        guarded.audit().iter().any(printed).then_some(())
    })
    .await;
    server.get_server_info(from(&guarded.token, GetServerInfoRequest {})).await.expect("the token decides");
}

#[tokio::test]
async fn who_may_write_and_not_read_learns_nothing_of_others() {
    let guarded = Guarded::start().await;
    let writer = guarded.clients.client("writer", "nobody");
    let mut writer = RunServiceClient::new(guarded.certified(&writer));
    let mut ci = RunServiceClient::new(guarded.channel());
    let token = guarded.token.as_str();
    let named =
        |query: &str| SubmitRunRequest { run_id: "taken".to_owned(), ..submit("namespaces/default", sql(query)) };
    let run = ci.submit_run(from(token, named("select 1"))).await.expect("ci").into_inner().run.expect("the run");

    // The same payload, and another one: that the name is taken is all that is reported.
    for query in ["select 1", "select 2"] {
        let refused = writer.submit_run(named(query)).await.unwrap_err();
        let details = assert_error(&refused, Code::AlreadyExists, ErrorReason::NameTaken);
        assert!(!format!("{refused:?} {details:?}").contains("sha256"), "{refused:?}");
    }
    let cancel = CancelRunRequest { name: run.name.clone(), ..CancelRunRequest::default() };
    assert_eq!(writer.cancel_run(cancel).await.unwrap_err().code(), Code::NotFound);
    // One's own is reported, and reported again.
    for replayed in [false, true] {
        let own = SubmitRunRequest { run_id: "own".to_owned(), ..submit("namespaces/default", sql("select 3")) };
        let answer = writer.submit_run(own).await.expect("their own").into_inner();
        assert_eq!((answer.replayed, answer.run.expect("the run").submitter.as_str()), (replayed, "writer"));
    }
}

#[tokio::test]
async fn a_name_that_no_profile_can_have_is_neither_asked_about_nor_reported() {
    let guarded = Guarded::start().await;
    let mut ci = RunServiceClient::new(guarded.channel());
    let long = "x".repeat(100_000);
    let refused = ci.submit_run(from(&guarded.token, submit("namespaces/default", runner(&long)))).await.unwrap_err();
    assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied);
    let audit = until("the line", async || Some(guarded.audit()).filter(|lines| !lines.is_empty())).await;
    assert_eq!((audit[0].get("profile"), audit[0].get("image")), (None, None));
    assert!(!guarded.daemon.output().contains("xxxxx"));
}

const NO_RULE: &str = "no rule of the policy allows it";

#[tokio::test]
async fn every_decision_is_a_line_and_no_token_is_in_it() {
    let guarded = Guarded::start().await;
    let mut ci = RunServiceClient::new(guarded.channel());
    let token = guarded.token.as_str();
    let run = ci.submit_run(from(token, submit("namespaces/default", sql("select 1")))).await.expect("ci").into_inner();
    let name = run.run.expect("the run").name;
    let image = submit("namespaces/default", container("busybox:1.36", ["true"]));
    ci.submit_run(from(token, SubmitRunRequest { validate_only: true, ..image })).await.unwrap_err();
    let cancel = CancelRunRequest { name: name.clone(), ..CancelRunRequest::default() };
    ci.cancel_run(from(token, cancel)).await.unwrap_err();
    ci.list_runs(from("longshore_made-up", list("namespaces/default"))).await.unwrap_err();

    let audit = until("four lines", async || Some(guarded.audit()).filter(|lines| lines.len() >= 4)).await;
    assert_eq!(audit.len(), 4, "{audit:?}");
    let printed = |line: &serde_json::Value| {
        let words = ["user", "proof", "verb", "resource", "profile", "image", "allowed", "reason"];
        words.map(|key| match &line[key] {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let lines = [
        ["ci", "token_file", "submit", &name, "sql", "-", "true", "authorization.rules[0]"],
        // Nothing comes of it that it could be named by.
        ["ci", "token_file", "submit", "namespaces/default", "-", "busybox:1.36", "false", NO_RULE],
        ["ci", "token_file", "cancel", &name, "-", "-", "false", NO_RULE],
        [
            "-",
            "-",
            "authenticate",
            "-",
            "-",
            "-",
            "false",
            "a token that is not known, not for this server, or expired",
        ],
    ];
    assert_eq!([0, 1, 2, 3].map(|at| printed(&audit[at])), lines);
    let output = guarded.daemon.output();
    assert!(!output.contains(token) && !output.contains("longshore_made-up"), "a token is in the log");
}

#[tokio::test]
async fn tokens_and_certificates_change_without_a_restart() {
    let guarded = Guarded::start().await;
    let server = ServerServiceClient::new(guarded.channel());
    let knows = async |token: &str| match server.clone().get_server_info(from(token, GetServerInfoRequest {})).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::Unauthenticated => false,
        Err(status) => panic!("{status:?}"),
    };
    let file = guarded.path("tokens.toml");
    let second = create_token(&file, "ci");
    until("the second token", async || knows(&second).await.then_some(())).await;
    assert!(knows(&guarded.token).await, "the first is still good");
    // A file that can't be read changes nothing. Nobody waits for it to be looked at: it is on order.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "tokens = 1").unwrap();
    guarded.daemon.signal(rustix::process::Signal::HUP);
    until("the fault to be reported", async || guarded.daemon.output().contains("cannot be used").then_some(())).await;
    assert!(knows(&second).await);
    // Without its entry a token is nobody's.
    let kept = text.split("[[tokens]]").nth(2).unwrap();
    std::fs::write(&file, format!("[[tokens]]{kept}")).unwrap();
    until("the first token to go", async || (!knows(&guarded.token).await).then_some(())).await;
    assert!(knows(&second).await);

    let renewed = Authority::new();
    write_pair(guarded.dir.path(), &renewed.server("localhost"));
    until("the new certificate", async || {
        let channel = guarded.endpoint(&renewed.pem, None).connect().await.ok()?;
        let mut server = ServerServiceClient::new(channel);
        server.get_server_info(from(&second, GetServerInfoRequest {})).await.ok()
    })
    .await;
    assert!(knows(&second).await, "a connection that was there goes on");
}

#[tokio::test]
async fn the_command_line_shows_who_calls() {
    let guarded = Guarded::start().await;
    let query = ["run", "--runner", "sql", "--input", r#"{"dataset":"demo/shop","sql":"select 1 as one"}"#, "--detach"];
    let refused = guarded.cli(&query, None).await;
    assert_eq!(refused.code, 125, "{}", refused.stderr);
    assert!(refused.stderr.contains("UNAUTHENTICATED"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--token-file, LONGSHORE_TOKEN"), "{}", refused.stderr);
    let taken = guarded.cli(&query, Some(&guarded.token)).await;
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    // From a file, as a Pod has it, with its line end.
    let file = guarded.path("token");
    std::fs::write(&file, format!("{}\n", guarded.token)).unwrap();
    let listed = guarded.cli(&["ls", "--token-file", file.to_str().unwrap()], None).await;
    assert_eq!((listed.code, listed.stdout().contains("namespaces/other")), (0, false), "{}", listed.stderr);
    let alice = guarded.clients.client("alice", "team-a");
    write_pair(&guarded.path("state"), &alice);
    let (cert, key) = (guarded.path("state/tls.crt"), guarded.path("state/tls.key"));
    let flags = ["info", "--client-cert", cert.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    let info = guarded.cli(&flags, None).await;
    assert_eq!(info.code, 0, "{}", info.stderr);
    assert!(info.stdout().contains("other"), "{}", info.stdout());
    // An authority that is not the server's.
    std::fs::write(guarded.path("wrong.crt"), Authority::new().pem).unwrap();
    let wrong = guarded.path("wrong.crt");
    let refused = guarded.cli(&["info", "--ca-file", wrong.to_str().unwrap()], Some(&guarded.token)).await;
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("is --ca-file that of the authority"), "{}", refused.stderr);
    // What would be read by anybody on the way is not sent.
    let plain = guarded.cli(&["info", "--server", "http://longshore.example:7420"], Some(&guarded.token)).await;
    assert!(plain.stderr.contains("--ca-file needs a server whose URL begins with https://"), "{}", plain.stderr);
    let mut command = longshore(["info", "--server", "longshore.example:7420"]);
    let plain = printed(command.env("LONGSHORE_TOKEN", &guarded.token).output().await.unwrap());
    assert!(plain.stderr.contains("the token would travel in clear"), "{}", plain.stderr);
    // Neither side's silence about TLS is waited for: what to try instead is reported at once.
    let url = guarded.url().replace("https:", "http:");
    let mut command = longshore(["info", "--server", &url]);
    let plain = printed(within("the hint", command.env("LONGSHORE_TOKEN", &guarded.token).output()).await.unwrap());
    assert!(plain.stderr.contains("its address begins with https://"), "{}", plain.stderr);
    let health = format!("https://localhost:{}", guarded.daemon.health().port());
    let encrypted = guarded.cli(&["info", "--server", &health], None).await;
    assert!(encrypted.stderr.contains("its address begins with http://"), "{}", encrypted.stderr);
    // What is wrong is reported, not what could be done if nothing had been.
    let wrong = guarded.cli(&["info"], Some("longshore_wrong")).await;
    assert!(wrong.stderr.contains("the token of LONGSHORE_TOKEN is wrong"), "{}", wrong.stderr);
    std::fs::write(&file, "\n").unwrap();
    let empty = guarded.cli(&["info", "--token-file", file.to_str().unwrap()], None).await;
    assert!(empty.stderr.contains(&format!("the token file {} is empty", file.display())), "{}", empty.stderr);
    std::fs::write(&file, "no PEM").unwrap();
    let no_pem = guarded.cli(&["info", "--ca-file", file.to_str().unwrap()], None).await;
    assert!(no_pem.stderr.contains("it has no certificate in PEM"), "{}", no_pem.stderr);
    write_pair(&guarded.path("state"), &Authority::new().client("alice", "team-a"));
    let foreign = guarded.cli(&flags, None).await;
    assert!(foreign.stderr.contains("did it refuse --client-cert?"), "{}", foreign.stderr);
    until("the refusal to be in the audit", async || {
        let refused = |line: &serde_json::Value| line["reason"].to_string().contains("a client certificate");
        guarded.audit().iter().any(refused).then_some(())
    })
    .await;
    let missing = guarded.cli(&["info", "--token-file", "/nowhere/token"], None).await;
    assert!(missing.stderr.contains("the token file /nowhere/token cannot be read: "), "{}", missing.stderr);
}

#[tokio::test]
async fn nothing_is_served_beyond_loopback_in_the_open() {
    let dir = TempDir::with_prefix("longshore-access-").unwrap();
    let refused = async |config: &str, flags: &[&str]| {
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = longshore(["serve", "--backend", "local", "--admin-listen", "off", "--config"]);
        command.arg(&path).arg("--state-dir").arg(dir.path().join("state")).args(flags);
        let printed = printed(within("the refusal", command.output()).await.unwrap());
        assert_ne!(printed.code, 0);
        printed.stderr
    };
    let beyond = ["--listen", "0.0.0.0:0"];
    assert!(refused("", &beyond).await.contains("without authentication"));
    let tokens = dir.path().join("tokens.toml");
    create_token(&tokens, "ci");
    let authentication = format!("[authentication]\ntoken_file = {}\n", toml::Value::from(tokens.to_str().unwrap()));
    let rule = "[authorization]\nmode = \"policy\"\n";
    assert!(refused(&format!("{authentication}{rule}"), &beyond).await.contains("without TLS"));
    assert!(refused(&authentication, &beyond).await.contains("authorization.mode"));
    let review = format!("[authentication.token_review]\n{rule}");
    assert!(refused(&review, &[]).await.contains("authentication.token_review needs the kubernetes backend"));
    let kubernetes = format!("{authentication}[authorization]\nmode = \"kubernetes\"\n");
    assert!(refused(&kubernetes, &[]).await.contains("needs the kubernetes backend"));
    let policy = format!("{authentication}{rule}");
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o660)).unwrap();
    let loopback = refused(&policy, &["--listen", "127.0.0.1:0"]).await;
    assert!(loopback.contains("its group or others can write it"), "{loopback}");
    let missing = "[tls]\ncert_file = \"/nowhere/tls.crt\"\nkey_file = \"/nowhere/tls.key\"\n";
    assert!(refused(missing, &[]).await.contains("/nowhere/tls."));
}

/// What comes back over TLS from a client that offers these protocols and then sends `request`.
async fn spoken(guarded: &Guarded, protocols: &[&str], request: &str) -> String {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(guarded.authority.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(guarded.daemon.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.expect("a handshake");
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // However it is closed: what counts is what came.
    drop(within("the answer", tls.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn http1_gets_an_answer_under_tls_too() {
    let guarded = Guarded::start().await;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for protocols in [&["http/1.1"] as &[&str], &[]] {
        let answer = spoken(&guarded, protocols, request).await;
        assert!(answer.starts_with("HTTP/1.1 505 "), "{protocols:?}: {answer}");
        assert!(answer.contains("this is the gRPC port of longshore"), "{answer}");
        assert_eq!(answer.split("\r\n\r\n").nth(1).map(|body| body.lines().count()), Some(1), "{answer}");
    }
    // A client that speaks no TLS gets that answer.
    let mut plain = TcpStream::connect(guarded.daemon.address()).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", plain.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS: use https://"), "{answer}");
    // And the health port says that it is that.
    let mut health = TcpStream::connect(guarded.daemon.health()).await.unwrap();
    health.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within("the answer", health.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("grpc.health.v1"), "{answer}");
}
