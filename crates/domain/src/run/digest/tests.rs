//! What counts for a digest, and that it stays what it is.

use std::time::Duration;

use super::*;
use crate::name::BatchId;
use crate::run::failure::FailureReason;
use crate::run::resolve::tests::{container, env, map, runner, secret_env};
use crate::run::spec::{Input, NetworkMode, OneDialect, Secret};
use crate::testing::everything;

/// The spec that the hashes are of.
fn full() -> RunSpec {
    let mut spec = everything();
    spec.result.dialect = None;
    spec
}

/// Digests live as long as runs do: if one of these changes, every replay across the update would
/// be taken for another payload. Change the tag `v1` with them, and read both.
#[test]
fn the_encoding_does_not_change_by_accident() {
    let hash = |spec: &RunSpec| PayloadDigest::of(spec).sha256;
    assert_eq!(hash(&RunSpec::default()), "8dd092396c9a343c5f3e217edf75877b031c900bbf1ff05efa3c616a26226601");
    assert_eq!(hash(&container()), "996be56ba3a968e94816cc04313bc967ffce5bb7494a32f317aa4e92c54ce667");
    assert_eq!(hash(&runner("sql")), "4a29e5c9ceb349a4a31067d14a4c889e737edff96c4e2e80765df2e95f9ae995");
    assert_eq!(hash(&full()), "3c22321eb7985508bbd0693923c3089c461c6df163c2503f8a210da2ff17c45b");
    assert_eq!(PayloadDigest::of(&container()).fields, map(&[("container", "572cb890ccf12f9d")]));
}

#[test]
fn every_field_counts_and_differs_by_its_name() {
    type Change = (fn(&mut RunSpec), &'static [&'static str]);
    let rows: &[Change] = &[
        (|s| s.workload = None, &["container"]),
        (|s| s.workload = runner("sql").workload, &["container", "runner"]),
        (|s| s.env.reverse(), &["env"]),
        (|s| s.env[0] = env("A", "2"), &["env"]),
        (|s| s.env[0] = env("A1", ""), &["env"]),
        (|s| s.env[1] = secret_env("B", "credsp", "ass"), &["env"]),
        (|s| s.env[1] = env("B", "creds"), &["env"]),
        (|s| s.env.clear(), &["env"]),
        (|s| drop(s.secret_env.insert("TOKEN2".into(), Secret("hidden".into()))), &["secret_env"]),
        (|s| s.input = Some(Input::Json("{\"n\": 1}".into())), &["input"]),
        (|s| s.input = Some(Input::Raw(b"{\"n\":1}".to_vec())), &["input"]),
        (|s| s.input = None, &["input"]),
        (|s| s.files[0].mode = None, &["files"]),
        (|s| s.files[0].content = b"byte".to_vec(), &["files"]),
        (|s| s.files.reverse(), &["files"]),
        (|s| drop(s.files.pop()), &["files"]),
        (|s| s.resources.limits = map(&[("memory", "1Gi")]), &["resources"]),
        (|s| std::mem::swap(&mut s.resources.limits, &mut s.resources.requests), &["resources"]),
        (|s| s.security.run_as_user = None, &["security"]),
        (|s| s.security.fs_group = s.security.run_as_group, &["security"]),
        (|s| s.security.read_only_root_filesystem = Some(true), &["security"]),
        (|s| s.queue_timeout = None, &["queue_timeout"]),
        (|s| s.start_timeout = Some(Duration::from_millis(2001)), &["start_timeout"]),
        (|s| s.run_timeout = Some(Duration::from_secs(3)), &["run_timeout"]),
        (|s| s.termination_grace = None, &["termination_grace"]),
        (|s| s.max_retries = None, &["max_retries"]),
        (|s| s.infra_retries = Some(1), &["infra_retries"]),
        (|s| s.retention = Some(Duration::from_secs(61)), &["retention"]),
        (|s| s.volumes[0].read_only = None, &["volumes"]),
        (|s| s.volumes.reverse(), &["volumes"]),
        (|s| s.network_mode = Some(NetworkMode::None), &["network_mode"]),
        (|s| s.placement.priority_class_name = None, &["placement"]),
        (|s| s.placement.tolerations[0].effect = "NoExecute".into(), &["placement"]),
        (|s| s.placement.node_selector.clear(), &["placement"]),
        (|s| s.queue_name = None, &["queue_name"]),
        (|s| s.labels = map(&[("a", "1b"), ("2", "")]), &["labels"]),
        (|s| drop(s.labels.insert("c".into(), String::new())), &["labels"]),
        (|s| s.annotations.clear(), &["annotations"]),
        (|s| s.result.scan = None, &["result"]),
        (|s| s.result.dialect = Some(OneDialect::Json), &["result"]),
        (|s| s.tmp_size = Some("1".into()), &["tmp_size"]),
        (|s| s.retry_on.reasons[0] = FailureReason::Signalled, &["retry_on"]),
        (|s| s.retry_on.exit_codes.clear(), &["retry_on"]),
        (|s| s.total_timeout = None, &["total_timeout"]),
    ];
    let base = PayloadDigest::of(&full());
    assert_eq!(base.fields.len(), fields::FIELDS.len(), "every field is set in the base");
    for (i, (change, names)) in rows.iter().enumerate() {
        let mut spec = full();
        change(&mut spec);
        let changed = PayloadDigest::of(&spec);
        assert_ne!(base.sha256, changed.sha256, "row {i}");
        assert_eq!(base.differing(&changed), *names, "row {i}");
        assert_eq!(changed.differing(&base), *names, "row {i}");
    }
}

#[test]
fn values_of_secrets_do_not_count() {
    let mut spec = full();
    spec.secret_env.insert("TOKEN".to_owned(), Secret("other".to_owned()));
    assert_eq!(PayloadDigest::of(&spec), PayloadDigest::of(&full()));
    assert_eq!(PayloadDigest::of(&full()).differing(&PayloadDigest::of(&full())), [] as [&str; 0]);
}

#[test]
fn the_order_of_a_map_does_not_count() {
    let with = |pairs: &[(&str, &str)]| RunSpec { labels: map(pairs), ..RunSpec::default() };
    let one = PayloadDigest::of(&with(&[("a", "1"), ("b", "2")]));
    assert_eq!(one, PayloadDigest::of(&with(&[("b", "2"), ("a", "1")])));
}

#[test]
fn a_run_of_a_batch_has_a_further_field() {
    let spec = SpecDigest::of(&full());
    let of = |id: &str, index, count| spec.payload(Some(&BatchItem { id: BatchId::parse(id).unwrap(), index, count }));
    let item = of("b", 1, 3);
    assert_eq!(item, of("b", 1, 3));
    let alone = SpecDigest::of(&RunSpec::default()).payload(Some(&BatchItem {
        id: BatchId::parse("b").unwrap(),
        index: 1,
        count: 3,
    }));
    assert_eq!(alone.sha256, "c528202bee7968bb6d8e5a599ff7437eca51edc7b17e4243b2cad7819e0a0845");
    assert_eq!(item.differing(&PayloadDigest::of(&full())), ["batch"]);
    for other in [of("c", 1, 3), of("b", 2, 3), of("b", 1, 4)] {
        assert_ne!(item.sha256, other.sha256);
        assert_eq!(item.differing(&other), ["batch"]);
    }
    let other =
        SpecDigest::of(&container()).payload(Some(&BatchItem { id: BatchId::parse("b").unwrap(), index: 1, count: 3 }));
    assert!(item.differing(&other).contains(&"container".to_owned()));
    assert!(!item.differing(&other).contains(&"batch".to_owned()));
}
