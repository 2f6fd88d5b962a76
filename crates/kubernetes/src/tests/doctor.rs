//! The doctor, against API servers that are not as they should be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::fake::{FakeApi, NAMESPACE, Reply, SeenRequest};
use crate::doctor::{Examination, Extent, Need, RIGHTS, examine};
use longshore_domain::run::profile::{KubernetesProfile, Limits, Profile};
use longshore_runtime::finding::{Finding, Status};

fn wanted(extent: Extent) -> Examination {
    let kubernetes = Some(KubernetesProfile { image: "i:1".to_owned(), ..KubernetesProfile::default() });
    let sql = Profile { name: "sql".to_owned(), kubernetes, ..Profile::default() };
    Examination {
        extent,
        token_review: false,
        access_review: false,
        profiles: BTreeMap::from([("sql".to_owned(), sql)]),
        limits: Limits::default(),
        network_policies_installed: true,
        canary_image: None,
        stop: CancellationToken::new(),
    }
}

async fn examined(api: &FakeApi, wanted: &Examination) -> Vec<Finding> {
    let (_dir, config) = api.config();
    examine(config, wanted, &|_| {}).await
}

fn version() -> Value {
    json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": ""})
}

fn now() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()).unwrap()
}

/// What a sound cluster says to everything that is only read.
fn sound(request: &SeenRequest) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    match path.rsplit('/').next().unwrap_or_default() {
        "version" => Reply::Dated(now(), version()),
        "selfsubjectreviews" => {
            Reply::Json(201, json!({"metadata": {}, "status": {"userInfo": {"username": "system:serviceaccount:l:l"}}}))
        }
        "selfsubjectaccessreviews" => {
            let mut review = request.json();
            review["status"] = json!({"allowed": true});
            Reply::Json(201, review)
        }
        "resourcequotas" | "limitranges" | "pods" if request.method == "GET" => Reply::list(&[]),
        NAMESPACE => {
            let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
            Reply::Json(200, json!({"metadata": {"name": NAMESPACE, "labels": labels}}))
        }
        _ => Reply::status(404, "NotFound", "no such path"),
    }
}

fn forbidden(resource: &str) -> Reply {
    let message = format!("{resource} is forbidden: User \"u\" cannot list resource \"{resource}\" in API group \"\"");
    Reply::status(403, "Forbidden", &message)
}

/// `jobs/status patch` of a review.
fn right(request: &SeenRequest) -> String {
    let attributes = request.json()["spec"]["resourceAttributes"].clone();
    let text = |key: &str| attributes[key].as_str().unwrap_or_default().to_owned();
    let subresource = attributes["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    format!("{}{subresource} {}", text("resource"), text("verb"))
}

fn of<'a>(findings: &'a [Finding], check: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.check == check).collect()
}

#[track_caller]
fn one<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let [finding] = of(findings, check)[..] else { panic!("not one {check}: {findings:#?}") };
    finding
}

#[tokio::test]
async fn a_sound_cluster_has_nothing_to_fix() {
    let api = FakeApi::start(sound);
    let findings = examined(&api, &wanted(Extent::Reads)).await;
    let reported: Vec<_> = findings.iter().map(|finding| (finding.check, finding.status)).collect();
    let ok = ["api-server", "clock", "rights", "namespace", "pod-security", "quota", "limit-range"]
        .map(|check| (check, Status::Ok));
    let skipped = ["network-policy", "image"].map(|check| (check, Status::Skipped));
    assert_eq!(reported, [&ok[..], &skipped].concat(), "{findings:#?}");
    assert_eq!(one(&findings, "api-server").message, "Kubernetes v1.36.3, as system:serviceaccount:l:l");
    assert!(
        api.seen().iter().all(|seen| seen.method == "GET" || seen.target.contains("selfsubject")),
        "{:?}",
        api.short()
    );
}

#[tokio::test]
async fn a_start_asks_for_less() {
    let api = FakeApi::start(sound);
    let findings = examined(&api, &wanted(Extent::Start)).await;
    let checks: Vec<_> = findings.iter().map(|finding| finding.check).collect();
    // None of what takes Pods, not even that it was not tried.
    assert_eq!(checks, ["api-server", "clock", "rights", "namespace", "pod-security", "quota", "limit-range"]);
    assert!(findings.iter().all(|finding| !finding.unanswered), "{findings:#?}");
}

#[tokio::test]
async fn what_was_not_answered_is_marked() {
    for path in ["version", "selfsubjectaccessreviews", "/namespaces/longshore-runs", "resourcequotas", "limitranges"] {
        let api = FakeApi::start(move |request| match request.target.split('?').next().unwrap_or_default() {
            asked if asked.ends_with(path) => Reply::status(503, "ServiceUnavailable", "later"),
            _ => sound(request),
        });
        let findings = examined(&api, &wanted(Extent::Start)).await;
        let marked: Vec<_> = findings.iter().filter(|finding| finding.unanswered).collect();
        let [finding] = marked[..] else { panic!("{path}: {findings:#?}") };
        assert!(finding.status >= Status::Warning, "{finding:?}");
        let said = |finding: &Finding| finding.status == Status::Ok || !finding.fix.is_empty();
        assert!(findings.iter().all(said), "{findings:#?}");
    }
}

#[tokio::test]
async fn each_right_is_asked_for_and_named_when_it_is_missing() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let every: Vec<String> = RIGHTS
        .iter()
        .filter(|rule| rule.need != Need::Doctor)
        .flat_map(|rule| rule.verbs.iter().map(move |verb| format!("{} {verb}", rule.resource)))
        .collect();
    for missing in &every {
        let (log, missed) = (Arc::clone(&asked), missing.clone());
        let api = FakeApi::start(move |request| {
            if !request.target.contains("selfsubjectaccessreviews") {
                return sound(request);
            }
            log.lock().unwrap().push(right(request));
            let mut review = request.json();
            review["status"] = json!({"allowed": right(request) != missed});
            Reply::Json(201, review)
        });
        let wanted = Examination { token_review: true, access_review: true, ..wanted(Extent::Start) };
        let findings = examined(&api, &wanted).await;
        let failed: Vec<_> = findings.iter().filter(|finding| finding.status == Status::Failed).collect();
        let [finding] = failed[..] else { panic!("{missing}: {findings:#?}") };
        let place = if missing.starts_with("tokenreviews") { "the cluster" } else { NAMESPACE };
        assert_eq!((finding.check, finding.subject.as_str()), ("rights", format!("{missing} in {place}").as_str()));
        let (resource, verb) = missing.split_once(' ').unwrap();
        assert!(finding.fix.contains(&format!("resources: [\"{resource}\"]")), "{}", finding.fix);
        assert!(finding.fix.contains(&format!("verbs: [\"{verb}\"]")), "{}", finding.fix);
        assert!(finding.message.contains("system:serviceaccount:l:l"), "{}", finding.message);
    }
    let asked: std::collections::BTreeSet<String> = asked.lock().unwrap().drain(..).collect();
    assert_eq!(asked, every.into_iter().collect());
}

#[tokio::test]
async fn rights_are_asked_for_with_group_and_namespace() {
    let api = FakeApi::start(sound);
    examined(&api, &wanted(Extent::Start)).await;
    let reviews: Vec<_> =
        api.seen().into_iter().filter(|seen| seen.target.contains("selfsubjectaccessreviews")).collect();
    let status = reviews.iter().find(|seen| right(seen) == "jobs/status patch").unwrap();
    assert_eq!(
        status.json()["spec"]["resourceAttributes"],
        json!({"group": "batch", "resource": "jobs", "subresource": "status", "verb": "patch", "namespace": NAMESPACE})
    );
}

#[tokio::test]
async fn reviews_that_are_refused_say_nothing_of_rights() {
    let api = FakeApi::start(|request| match request.target.contains("selfsubjectaccessreviews") {
        true => forbidden("selfsubjectaccessreviews"),
        false => sound(request),
    });
    let findings = examined(&api, &wanted(Extent::Start)).await;
    let rights = one(&findings, "rights");
    assert_eq!(rights.status, Status::Warning);
    assert!(rights.message.contains("20 of 20") && rights.fix.contains("system:basic-user"), "{rights:?}");
}

#[tokio::test]
async fn what_the_doctor_may_not_read_is_skipped_with_the_right_that_is_short() {
    for (path, check, resource) in [
        ("/namespaces/longshore-runs", "namespace", "namespaces"),
        ("/resourcequotas", "quota", "resourcequotas"),
        ("/limitranges", "limit-range", "limitranges"),
    ] {
        let api = FakeApi::start(move |request| {
            if request.target.split('?').next().unwrap_or_default().ends_with(path) {
                forbidden(resource)
            } else {
                sound(request)
            }
        });
        let findings = examined(&api, &wanted(Extent::Reads)).await;
        let finding = one(&findings, check);
        assert_eq!(finding.status, Status::Skipped, "{finding:?}");
        assert!(finding.fix.contains(&format!("resources: [\"{resource}\"]")), "{finding:?}");
    }
}

#[tokio::test]
async fn a_namespace_that_cannot_take_runs() {
    let reported = async |answer: fn() -> Reply| {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "GET /api/v1/namespaces/longshore-runs" => answer(),
            _ => sound(request),
        });
        examined(&api, &wanted(Extent::Reads)).await
    };
    let missing = reported(|| Reply::status(404, "NotFound", "namespaces \"longshore-runs\" not found")).await;
    assert_eq!(one(&missing, "namespace").status, Status::Failed);
    assert!(one(&missing, "namespace").fix.contains("kubectl create namespace longshore-runs"));
    assert_eq!(of(&missing, "quota").len(), 0, "there is nothing that could have room");
    let ending = reported(|| {
        Reply::Json(200, json!({"metadata": {"name": NAMESPACE, "deletionTimestamp": "2026-01-01T00:00:00Z"}}))
    })
    .await;
    assert_eq!(one(&ending, "namespace").status, Status::Failed);
    assert!(
        one(&ending, "namespace").fix.contains("release --instance longshore --kubernetes-namespace longshore-runs")
    );
    let bare = reported(|| Reply::Json(200, json!({"metadata": {"name": NAMESPACE}}))).await;
    assert_eq!(one(&bare, "pod-security").status, Status::Warning);
}

#[tokio::test]
async fn an_api_server_that_cannot_be_used_is_reported_by_its_cause() {
    let reported = async |reply: fn() -> Reply, path: &'static str| {
        let api = FakeApi::start(move |request| if request.target.contains(path) { reply() } else { sound(request) });
        let findings = examined(&api, &wanted(Extent::Start)).await;
        one(&findings, "api-server").clone()
    };
    let unauthorized = || Reply::status(401, "Unauthorized", "Unauthorized");
    for path in ["version", "selfsubjectreviews"] {
        let finding = reported(unauthorized, path).await;
        assert_eq!(finding.status, Status::Failed);
        assert!(finding.message.contains("401"), "{finding:?}");
    }
    assert!(reported(|| Reply::status(503, "ServiceUnavailable", ""), "version").await.message.contains("503"));
    assert!(reported(|| Reply::Nothing, "version").await.message.contains("no usable answer"));
    let silent = FakeApi::start(|_| Reply::status(404, "NotFound", ""));
    let (_dir, mut config) = silent.config();
    config.kubeconfig = Some("/nonexistent/kubeconfig".into());
    let findings = examine(config, &wanted(Extent::Reads), &|_| {}).await;
    assert!(one(&findings, "api-server").message.contains("/nonexistent/kubeconfig"));
    assert!(findings[1..].iter().all(|finding| finding.status == Status::Skipped), "{findings:#?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_no_riddle() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = FakeApi::start(|_| Reply::Nothing);
    let (dir, mut config) = api.config();
    // As if the kubeconfig said https for a port of plain HTTP.
    let path = dir.path().join("other");
    let server = format!("https://{}", listener.local_addr().unwrap());
    let text = std::fs::read_to_string(config.kubeconfig.as_ref().unwrap()).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    kubeconfig["clusters"][0]["cluster"] = json!({"server": server});
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    config.kubeconfig = Some(path);
    std::thread::spawn(move || {
        use std::io::Write;
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let findings = examine(config, &wanted(Extent::Start), &|_| {}).await;
    let finding = one(&findings, "api-server");
    assert!(finding.message.contains("no TLS with it"), "{finding:?}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_reported() {
    let api = FakeApi::start(|request| match request.target.contains("version") {
        true => Reply::Dated("Thu, 01 Jan 2026 00:00:00 GMT".to_owned(), version()),
        false => sound(request),
    });
    let findings = examined(&api, &wanted(Extent::Start)).await;
    assert_eq!(one(&findings, "clock").status, Status::Failed);
}

#[tokio::test]
async fn a_quota_without_room_is_reported() {
    let api = FakeApi::start(|request| match request.is_list("resourcequotas") {
        true => Reply::list(&[
            json!({"metadata": {"name": "q"}, "spec": {}, "status": {"hard": {"pods": "2"}, "used": {"pods": "2"}}}),
        ]),
        false => sound(request),
    });
    // A start may find it full of runs that go on.
    for (extent, status) in [(Extent::Start, Status::Warning), (Extent::Reads, Status::Failed)] {
        let findings = examined(&api, &wanted(extent)).await;
        let quota = one(&findings, "quota");
        assert_eq!((quota.status, quota.subject.as_str()), (status, "pods of longshore-runs/q"));
    }
}

/// A cluster that makes Pods; `state` says what becomes of the container of the Pod with this role
/// and network mode.
fn with_pods(state: impl Fn(&str, &str) -> Value + Send + 'static) -> FakeApi {
    let mut made: BTreeMap<String, Value> = BTreeMap::new();
    FakeApi::start(move |request| {
        let short = request.short();
        let Some(name) = short.split_once(" pods/").map(|(_, name)| name.to_owned()) else {
            if short != "POST pods" {
                return sound(request);
            }
            let pod = request.json();
            made.insert(pod["metadata"]["name"].as_str().unwrap().to_owned(), pod.clone());
            return Reply::Json(201, pod);
        };
        if request.method == "DELETE" {
            return match made.remove(&name) {
                Some(pod) => Reply::Json(200, pod),
                None => Reply::status(404, "NotFound", "no such Pod"),
            };
        }
        let Some(mut pod) = made.get(&name).cloned() else { return Reply::status(404, "NotFound", "no such Pod") };
        let labels = pod["metadata"]["labels"].clone();
        let label = |key: &str| labels[key].as_str().unwrap_or_default().to_owned();
        let state = state(&label("longshore.dev/canary"), &label("longshore.dev/network"));
        let container =
            json!({"name": "run", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [container]});
        Reply::Json(200, pod)
    })
}

/// Every Pod that was made was deleted.
fn all_deleted(api: &FakeApi) -> usize {
    let names = |method: &str| -> std::collections::BTreeSet<String> {
        let seen = api.seen().into_iter().filter(|seen| seen.method == method);
        seen.map(|seen| match method {
            "POST" => seen.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            _ => seen.short().rsplit('/').next().unwrap_or_default().to_owned(),
        })
        .filter(|name| name.starts_with("longshore-canary-"))
        .collect()
    };
    assert_eq!(names("POST"), names("DELETE"));
    names("POST").len()
}

#[tokio::test]
async fn canaries_report_and_are_deleted() {
    let api = with_pods(|role, network| match (role, network) {
        ("connect", "none") => json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
        ("connect", _) => json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        ("image", _) => json!({"waiting": {"reason": "ErrImagePull", "message": "no such host"}}),
        _ => json!({"running": {}}),
    });
    let findings = examined(&api, &wanted(Extent::Canaries)).await;
    assert_eq!(one(&findings, "network-policy").status, Status::Ok, "{findings:#?}");
    let image = one(&findings, "image");
    assert_eq!(image.status, Status::Failed);
    assert!(image.message.contains("no such host"), "{image:?}");
    assert_eq!(all_deleted(&api), 4);
    assert!(api.short().iter().any(|request| request.starts_with("GET pods")), "what was left is looked for");
}

#[tokio::test]
async fn canaries_that_may_not_be_made_are_skipped_and_others_refused() {
    for (refusal, status) in [
        ("pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\"", Status::Skipped),
        ("pods \"x\" is forbidden: exceeded quota: q, requested: pods=1", Status::Failed),
    ] {
        let api = FakeApi::start(move |request| match request.short().as_str() {
            "POST pods" => Reply::status(403, "Forbidden", refusal),
            _ => sound(request),
        });
        let findings = examined(&api, &wanted(Extent::Canaries)).await;
        for check in ["network-policy", "image"] {
            assert_eq!(one(&findings, check).status, status, "{refusal}: {findings:#?}");
        }
        assert!(!api.short().iter().any(|request| request.starts_with("DELETE")), "nothing was made");
    }
}

#[tokio::test]
async fn canaries_that_could_not_be_deleted_are_not_made() {
    let api = FakeApi::start(|request| {
        if request.target.contains("selfsubjectaccessreviews") && right(request) == "pods delete" {
            let mut review = request.json();
            review["status"] = json!({"allowed": false});
            return Reply::Json(201, review);
        }
        sound(request)
    });
    let findings = examined(&api, &wanted(Extent::Canaries)).await;
    assert_eq!(one(&findings, "rights").subject, "pods delete in longshore-runs");
    for check in ["network-policy", "image"] {
        assert_eq!(one(&findings, check).status, Status::Skipped);
    }
    assert!(!api.short().contains(&"POST pods".to_owned()), "{:?}", api.short());
}

#[tokio::test]
async fn an_interrupt_leaves_no_canary() {
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let api = with_pods(move |_, _| {
        stopper.cancel();
        json!({"waiting": {"reason": "ContainerCreating"}})
    });
    let wanted = Examination { stop, ..wanted(Extent::Canaries) };
    let findings = examined(&api, &wanted).await;
    assert_eq!(one(&findings, "network-policy").status, Status::Skipped, "{findings:#?}");
    assert_eq!(one(&findings, "image").status, Status::Skipped, "{findings:#?}");
    assert!(["network-policy", "image"].iter().all(|check| !one(&findings, check).fix.is_empty()), "{findings:#?}");
    assert_eq!(all_deleted(&api), 1);
}

#[tokio::test]
async fn a_canary_that_stays_is_reported() {
    let api = FakeApi::start(|request| match (request.method.as_str(), request.short().contains(" pods/")) {
        ("DELETE", true) => forbidden("pods"),
        ("GET", true) => {
            Reply::Json(200, json!({"metadata": {"name": "x"}, "status": {"phase": "Failed", "reason": "OutOfcpu"}}))
        }
        _ if request.short() == "POST pods" => Reply::Json(201, request.json()),
        _ => sound(request),
    });
    let findings = examined(&api, &wanted(Extent::Canaries)).await;
    let left = of(&findings, "canary");
    assert_eq!(left.len(), 2, "{findings:#?}");
    assert!(
        left.iter().all(|finding| finding.fix.starts_with("kubectl -n longshore-runs delete pod longshore-canary-"))
    );
}
