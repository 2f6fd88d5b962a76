//! Tables of what passes and what does not, one per rule.

use proptest::prelude::*;

use super::*;

fn table(rule: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(rule(text), "should pass: {text:?}");
    }
    for text in bad {
        assert!(!rule(text), "should be refused: {text:?}");
    }
}

#[test]
fn dns_labels() {
    table(
        is_dns_label,
        &["a", "0", "a-b", "a1-2", &"a".repeat(63)],
        &["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "a\0", &"a".repeat(64)],
    );
}

#[test]
fn dns_subdomains() {
    let long_part = "a".repeat(200);
    let longest = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    table(
        is_dns_subdomain,
        &["a", "a.b", "a-1.b-2.c", &long_part, &longest],
        &["", ".", "a.", ".a", "a..b", "a.-b", "a.b-", "A.b", "a_b", "a/b", &format!("{longest}c")],
    );
}

#[test]
fn label_keys() {
    table(
        is_label_key,
        &["a", "A", "a_b.c-D", "example.com/a", "a/b", &"x".repeat(63), &format!("{}/x", "a".repeat(253))],
        &[
            "",
            "/",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            "_a",
            "a.",
            "a b",
            "Example.com/a",
            "example_com/a",
            "é",
            &"x".repeat(64),
            &format!("{}/x", "a".repeat(254)),
        ],
    );
}

#[test]
fn label_values() {
    table(
        is_label_value,
        &["", "a", "A.b_c-9", &"x".repeat(63)],
        &["-a", "a-", ".", "a b", "a/b", "a=b", "ü", &"x".repeat(64)],
    );
}

#[test]
fn annotation_keys_ignore_the_case_of_the_prefix() {
    table(is_annotation_key, &["a", "Example.COM/Note"], &["", "a b", "/a", "a/b/c", "exa_mple.com/a"]);
}

#[test]
fn reserved_prefixes_and_their_subdomains() {
    for (key, expected) in [
        ("kubernetes.io/x", Some("kubernetes.io")),
        ("app.kubernetes.io/name", Some("kubernetes.io")),
        ("k8s.io/x", Some("k8s.io")),
        ("a.b.k8s.io/x", Some("k8s.io")),
        ("kueue.x-k8s.io/queue-name", Some("kueue.x-k8s.io")),
        ("longshore.dev/run", Some("longshore.dev")),
        ("Sub.Longshore.DEV/run", Some("longshore.dev")),
        ("notlongshore.dev/x", None),
        ("x-k8s.io/x", None),
        ("longshore.dev.example.com/x", None),
        ("longshore.dev", None),
        ("example.com/kubernetes.io", None),
    ] {
        assert_eq!(reserved_prefix(key), expected, "{key}");
    }
}

#[test]
fn env_names() {
    table(is_env_name, &["A", "_", "a1_B"], &["", "1A", "A-B", "A.B", "A B", "A=", "É", "A\0"]);
}

#[test]
fn file_paths() {
    let longest = ["a".repeat(255), "b".repeat(254), "c".to_owned()].join("/");
    table(
        is_file_path,
        &["a", "a/b.txt", ".hidden", "a/..b", "a/...", "ünï/日本", "a b", "a:b", &longest],
        &[
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "./a",
            "a/.",
            "..",
            "../a",
            "a/../b",
            "..a",
            "...",
            "a\0b",
            "a\nb",
            "a\\b",
            "a/\u{7f}",
            &"a".repeat(256),
            &format!("{longest}x"),
        ],
    );
    assert_eq!(longest.len(), 512, "the longest path that passes has the length that is promised");
}

#[test]
fn absolute_paths() {
    table(
        is_absolute_path,
        &["/", "/a", "/a/", "/a/b-c_d.e", "/a b"],
        &[
            "",
            "a",
            "a/b",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a\0",
            "/a\n",
            &format!("/{}", "a/".repeat(2100)),
        ],
    );
}

#[test]
fn secret_keys() {
    table(
        is_secret_key,
        &["a", ".a", "a..b", "A_b-c.d", "-", &"k".repeat(253)],
        &["", ".", "..", "..a", "a/b", "a b", "é", &"k".repeat(254)],
    );
}

#[test]
fn extended_resources() {
    table(
        is_extended_resource,
        &["example.com/gpu", "a/b"],
        &[
            "cpu",
            "gpu",
            "kubernetes.io/x",
            "sub.kubernetes.io/x",
            "requests.example.com/gpu",
            "example.com/",
            "/gpu",
            "a/b/c",
            "hugepages-2Mi",
        ],
    );
}

#[test]
fn image_references_that_runtimes_pull() {
    let digest = "a".repeat(64);
    for good in [
        "busybox",
        "busybox:1.36",
        "busybox:LATEST_x",
        "library/busybox",
        "registry.example/team/app:v1",
        "registry.example:5000/app",
        "registry.example:5000/app:v1",
        "localhost/app",
        "localhost:5000/app",
        "Registry.Example/app",
        "[fd00::1]:5000/app",
        "[fd00::1]/app",
        "10.0.0.1:5000/a/b/c",
        "a/b__c/d-e/f---g/h.i",
        "my_app",
        &format!("app@sha256:{digest}"),
        &format!("registry.example:5000/a/app:v1@sha256:{digest}"),
        &format!("app@sha512:{digest}{digest}"),
        &format!("{digest}:v1"),
        &digest[..63],
    ] {
        assert_eq!(check_image_reference(good), Ok(()), "{good}");
    }
}

#[test]
fn image_references_that_no_runtime_pulls() {
    use ImageFault as F;
    let digest = "a".repeat(64);
    for (bad, fault) in [
        ("", F::Empty),
        (&*"a".repeat(513), F::TooLong),
        (&*format!("{}/b", "a".repeat(255)), F::NameTooLong),
        ("app ", F::Character),
        ("a\tb", F::Character),
        ("app\0", F::Character),
        ("äpp", F::Character),
        ("App", F::Capitals),
        ("team/App:v1", F::Capitals),
        ("registry.example/Team/app", F::Capitals),
        ("registry..example/app", F::Domain),
        ("registry.example:/app", F::Domain),
        ("registry.example:port/app", F::Domain),
        ("-registry.example/app", F::Domain),
        ("https://registry.example/app", F::Domain),
        ("[fd00::1/app", F::Domain),
        ("[fd00::1]5000/app", F::Domain),
        ("/app", F::Repository),
        ("app/", F::Repository),
        ("a//b", F::Repository),
        ("-app", F::Repository),
        ("app-", F::Repository),
        ("a..b", F::Repository),
        ("a___b", F::Repository),
        ("a/b$c", F::Repository),
        (&*digest, F::ImageId),
        ("app:", F::Tag),
        ("app:-v", F::Tag),
        ("app:.v", F::Tag),
        ("app:v1:v2", F::Tag),
        (&*format!("app:{}", "v".repeat(129)), F::Tag),
        ("app@", F::Digest),
        ("app@sha256:abc", F::Digest),
        (&*format!("app@sha256:{}", "g".repeat(64)), F::Digest),
        (&*format!("app@{digest}"), F::Digest),
        (&*format!("app@sha256:{digest}a"), F::Digest),
    ] {
        assert_eq!(check_image_reference(bad), Err(fault), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_rule_panics(text in ".{0,80}") {
        let _ = is_dns_label(&text) | is_dns_subdomain(&text) | is_label_key(&text) | is_label_value(&text);
        let _ = is_annotation_key(&text) | is_env_name(&text) | is_file_path(&text) | is_absolute_path(&text);
        let _ = is_secret_key(&text) | is_extended_resource(&text) | reserved_prefix(&text).is_some();
        let _ = check_image_reference(&text);
    }

    #[test]
    fn image_references_survive_noise_without_a_panic(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,40}") {
        let _ = check_image_reference(&text);
    }

    #[test]
    fn every_part_of_a_good_file_path_stays_below(text in "[a.\\\\/]{1,12}") {
        if is_file_path(&text) {
            let mut depth = 0_i32;
            for part in text.split('/') {
                depth += match part { "" | "." => 0, ".." => -1, _ => 1 };
                prop_assert!(depth > 0);
            }
        }
    }
}
