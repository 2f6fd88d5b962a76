//! What the options of the proto files say is so: which verb each method requires of its caller, and which fields are
//! not shown. Whatever is added to the proto files is called here too.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use longshore::proto::v1::run_service_client::RunServiceClient;
use longshore::proto::v1::{ErrorReason, WaitRunRequest};
use longshore::proto::{DESCRIPTORS, required_verb, v1};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};
use tempfile::TempDir;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::access::{assert_unknown, create_token, from, plain, ready, submit};
use crate::cost::Raw;
use crate::support::daemon::Daemon;
use crate::support::errors::assert_error;
use crate::support::spec::sql;
use crate::support::wait::within;

/// The verbs as a policy has them.
const VERBS: [&str; 5] = ["submit", "get", "logs", "cancel", "delete"];

/// A daemon that knows a user `but-VERB` for each verb, who may do all but that; a user `only-VERB`, who may do that
/// and see it; `all`, who may do everything; and `none`.
struct Guarded {
    daemon: Daemon,
    tokens: BTreeMap<String, String>,
    _dir: TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let dir = TempDir::with_prefix("longshore-rights-").unwrap();
        let mut rules = String::new();
        let mut tokens = BTreeMap::new();
        let mut user = |user: String, verbs: &[&str]| {
            tokens.insert(user.clone(), create_token(&dir.path().join("tokens.toml"), &user));
            if !verbs.is_empty() {
                rules.push_str(&format!(
                    "[[authorization.rules]]\nusers = [{user:?}]\nnamespaces = [\"*\"]\nverbs = {verbs:?}\n"
                ));
            }
        };
        for verb in VERBS {
            let others: Vec<_> = VERBS.into_iter().filter(|other| *other != verb).collect();
            user(format!("but-{verb}"), &others);
            // Stopping and deleting is of what one sees.
            let needed: &[&str] = if ["cancel", "delete"].contains(&verb) { &[verb, "get"] } else { &[verb] };
            user(format!("only-{verb}"), needed);
        }
        user("all".to_owned(), &["*"]);
        user("none".to_owned(), &[]);
        let daemon = start(dir.path(), &rules).await;
        Self { daemon, tokens, _dir: dir }
    }

    fn token(&self, user: &str) -> &str {
        &self.tokens[user]
    }

    /// A run of its own that has ended.
    async fn run(&self) -> String {
        let token = self.token("all");
        let mut client = RunServiceClient::new(plain(self.daemon.address()));
        let submitted = client.submit_run(from(token, submit("namespaces/default", sql("select 1 as one")))).await;
        let name = submitted.expect("a run").into_inner().run.expect("the run").name;
        let wait = WaitRunRequest { name: name.clone(), ..WaitRunRequest::default() };
        let ended = within("the end of the run", client.wait_run(from(token, wait))).await.expect("the run");
        assert_eq!(ended.into_inner().run.expect("the run").state(), v1::RunState::Succeeded);
        name
    }
}

/// A daemon with the tokens of `dir/tokens.toml` and these rules, whose log is full.
async fn start(dir: &Path, rules: &str) -> Daemon {
    let at = |name: &str| dir.join(name).into_os_string();
    let tokens = toml::Value::from(dir.join("tokens.toml").to_str().unwrap());
    let config = format!(
        "[profiles.plain.local]\ncommand = [\"true\"]\n[authentication]\ntoken_file = {tokens}\n[authorization]\n\
         mode = \"policy\"\n{rules}"
    );
    std::fs::write(at("config.toml"), config).unwrap();
    let mut args: Vec<std::ffi::OsString> = Vec::new();
    args.extend(["--backend", "local", "--listen", "127.0.0.1:0", "--admin-listen", "off"].map(Into::into));
    args.extend(["--log-format".into(), "json".into()]);
    args.extend(["--state-dir".into(), at("state"), "--config".into(), at("config.toml")]);
    let daemon = Daemon::start_logging("debug", args).await;
    ready(daemon.address()).await;
    daemon
}

/// The first answer to a request, and nothing for a stream without one.
async fn call(channel: &Channel, path: &str, token: Option<&str>, request: Bytes) -> Result<Option<Bytes>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let method = PathAndQuery::try_from(path).expect("a path");
    let request = match token {
        Some(token) => from(token, request),
        None => Request::new(request),
    };
    let answer = async { client.server_streaming(request, method, Raw).await?.into_inner().message().await };
    within("an answer", answer).await
}

/// A request that is fine, about this run.
fn request(message: &MessageDescriptor, run: &str) -> DynamicMessage {
    let mut request = DynamicMessage::new(message.clone());
    for (name, value) in [("parent", "namespaces/default"), ("name", run)] {
        if message.get_field_by_name(name).is_some() {
            request.set_field_by_name(name, Value::String(value.to_owned()));
        }
    }
    for (name, value) in
        [("batch_id", Value::String(format!("b{}", run.rsplit("u-").next().unwrap()))), ("count", Value::I32(1))]
    {
        if message.get_field_by_name(name).is_some() {
            request.set_field_by_name(name, value);
        }
    }
    if let Some(field) = message.get_field_by_name("filter") {
        let filter = v1::RunFilter { profile: "none".to_owned(), ..v1::RunFilter::default() }.encode_to_vec();
        let Kind::Message(of) = field.kind() else { panic!("a filter is a message") };
        request.set_field(&field, Value::Message(DynamicMessage::decode(of, filter.as_slice()).unwrap()));
    }
    if let Some(field) = message.get_field_by_name("spec") {
        let spec = sql("select 1 as one").encode_to_vec();
        let Kind::Message(of) = field.kind() else { panic!("a spec is a message") };
        request.set_field(&field, Value::Message(DynamicMessage::decode(of, spec.as_slice()).unwrap()));
    }
    request
}

#[tokio::test]
async fn every_method_requires_the_verb_that_it_names() {
    let guarded = Guarded::start().await;
    let channel = plain(guarded.daemon.address());
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let mut required = BTreeMap::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let run = guarded.run().await;
        let body: Bytes = request(&method.input(), &run).encode_to_vec().into();
        let from =
            async |user: Option<&str>| call(&channel, &path, user.map(|user| guarded.token(user)), body.clone()).await;
        assert_unknown(&from(None).await.expect_err(&path));

        let verb = required_verb(&path).unwrap_or_else(|| panic!("{path} does not say which verb it requires"));
        let verb = verb.as_str_name().strip_prefix("VERB_").expect("its prefix").to_lowercase();
        if verb == "none" {
            from(Some("none")).await.unwrap_or_else(|status| panic!("{path} requires nothing: {status:?}"));
        } else {
            let hidden = from(Some("none")).await.expect_err(&path);
            assert_error(&hidden, Code::NotFound, ErrorReason::ResourceNotFound);
            let refused = from(Some(&format!("but-{verb}"))).await.expect_err(&path);
            match verb.as_str() {
                "get" => assert_error(&refused, Code::NotFound, ErrorReason::ResourceNotFound),
                _ => assert_error(&refused, Code::PermissionDenied, ErrorReason::PermissionDenied),
            };
            let answered = from(Some(&format!("only-{verb}"))).await;
            answered.unwrap_or_else(|status| panic!("{path} requires {verb} and nothing else: {status:?}"));
        }
        *required.entry(verb).or_insert(0) += 1;
    }
    assert_eq!(
        required.keys().map(String::as_str).collect::<Vec<_>>(),
        ["cancel", "delete", "get", "logs", "none", "submit"]
    );
}

/// The fields below `message` that are not to be shown, as the fields that lead there.
fn redacted(message: &MessageDescriptor) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in message.fields() {
        let options = field.options();
        if options.get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true)) {
            found.push(vec![field]);
        } else if let Kind::Message(inner) = field.kind()
            && !field.is_map()
            && inner.package_name() == message.package_name()
        {
            found.extend(redacted(&inner).into_iter().map(|rest| [vec![field.clone()], rest].concat()));
        }
    }
    found
}

fn set(message: &mut DynamicMessage, place: &[FieldDescriptor], text: &str) {
    let [field, rest @ ..] = place else { return };
    let value = match field.kind() {
        Kind::Message(inner) if !rest.is_empty() => {
            let before = message.has_field(field).then(|| message.get_field(field).into_owned());
            let before = match before {
                Some(Value::List(before)) => before.into_iter().next(),
                before => before,
            };
            let mut inner = match before {
                Some(Value::Message(before)) => before,
                _ => DynamicMessage::new(inner),
            };
            if inner.descriptor().get_field_by_name("path").is_some() {
                inner.set_field_by_name("path", Value::String("a/b".to_owned()));
            }
            set(&mut inner, rest, text);
            if field.is_list() { Value::List(vec![Value::Message(inner)]) } else { Value::Message(inner) }
        }
        _ if field.is_map() => {
            Value::Map([(MapKey::String("TOKEN".to_owned()), Value::String(text.to_owned()))].into())
        }
        Kind::Bytes => Value::Bytes(text.to_owned().into()),
        Kind::String => Value::String(text.to_owned()),
        other => panic!("{} is {other:?}: say here how it is filled", field.full_name()),
    };
    message.set_field(field, value);
}

#[tokio::test]
async fn what_is_not_to_be_shown_is_in_no_preview_error_or_log() {
    let dir = TempDir::with_prefix("longshore-redacted-").unwrap();
    let token = create_token(&dir.path().join("tokens.toml"), "all");
    let rules = "[[authorization.rules]]\nusers = [\"all\"]\nnamespaces = [\"*\"]\nverbs = [\"*\"]\n";
    let daemon = start(dir.path(), rules).await;
    let channel = plain(daemon.address());
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let canary = "canary-7420";
    let shows = |bytes: &[u8]| bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
    let places = |method: &'static str| {
        let message = pool.get_message_by_name(&format!("longshore.v1.{method}Request")).unwrap();
        redacted(&message).into_iter().map(move |place| (method, message.clone(), place))
    };
    let (single, batched): (Vec<_>, Vec<_>) = (places("SubmitRun").collect(), places("BatchSubmitRuns").collect());
    assert!(single.len() > 4 && batched.len() == 2 * single.len(), "{single:?}, {batched:?}");
    let (mut answered, mut sent) = (0, 0);
    for (method, message, place) in single.iter().chain(&batched) {
        let path = format!("/longshore.v1.RunService/{method}");
        let what: Vec<_> = place.iter().map(FieldDescriptor::name).collect();
        // As JSON, for where that is asked for; where a schema asks for an object; where it is not even JSON.
        for (profile, text) in [
            ("plain", format!("{{\"a\": \"{canary}\"}}")),
            ("sql", format!("\"{canary}\"")),
            ("plain", canary.to_owned()),
        ] {
            for validate_only in [true, false] {
                sent += 1;
                let mut request = request(message, &format!("u-{sent}"));
                request.set_field_by_name("validate_only", Value::Bool(validate_only));
                let spec = v1::RunSpec {
                    workload: Some(v1::run_spec::Workload::Runner(v1::RunnerWorkload { profile: profile.to_owned() })),
                    ..v1::RunSpec::default()
                };
                let of = pool.get_message_by_name("longshore.v1.RunSpec").unwrap();
                let spec = DynamicMessage::decode(of, spec.encode_to_vec().as_slice()).unwrap();
                if place.first().is_some_and(|field| field.name() == "requests") {
                    let of = pool.get_message_by_name("longshore.v1.SubmitRunRequest").unwrap();
                    let mut one = DynamicMessage::new(of);
                    one.set_field_by_name("spec", Value::Message(spec));
                    request.set_field_by_name("requests", Value::List(vec![Value::Message(one)]));
                    request.clear_field_by_name("spec");
                    request.clear_field_by_name("count");
                } else {
                    request.set_field_by_name("spec", Value::Message(spec));
                }
                set(&mut request, place, &text);
                let body = request.encode_to_vec();
                assert!(shows(&body), "{what:?}");
                match call(&channel, &path, Some(&token), body.into()).await {
                    Ok(answer) => {
                        assert!(!shows(&answer.expect("an answer")), "{what:?} of {profile}");
                        answered += 1;
                    }
                    // To anyone who sent it, an input is quoted where it breaks its schema: that is how they find the
                    // place.
                    Err(status) if place.iter().any(|field| field.name() == "input") => {
                        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                    }
                    Err(status) => {
                        assert!(!status.message().contains(canary), "{what:?} of {profile}: {status:?}");
                        assert!(!shows(status.details()), "{what:?} of {profile}: {status:?}");
                    }
                }
            }
        }
    }
    assert!(answered > single.len() + batched.len(), "hardly any was taken");
    let log = daemon.output();
    assert!(log.contains("\"rpc\""), "the log is full");
    assert!(
        !log.contains(canary),
        "{}",
        log.lines().filter(|line| line.contains(canary)).collect::<Vec<_>>().join("\n")
    );
}
