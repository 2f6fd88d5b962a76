//! Digests of what was submitted: they distinguish a replay from another request under the same id.
//!
//! The encoding is our own, since protobuf's is not canonical. Every value goes in behind its
//! length, every field behind its name, and only if it is set, so that fields that are added
//! later leave the digests of older requests as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::spec::{
    ContainerWorkload, EnvSource, EnvVar, File, Input, Placement, Resources, ResultRule, RetryOn, RunSpec, Secret,
    Security, Toleration, VolumeMount, Workload,
};

/// Digests of a submitted [`super::spec::RunSpec`] as received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadDigest {
    /// SHA-256 over all, in hex.
    pub sha256: String,
    /// The first 8 bytes of each set top-level field's SHA-256, in hex, by the field's proto name:
    /// they show which fields differ.
    pub fields: BTreeMap<String, String>,
}

/// Bytes of a field's digest that are kept.
const FIELD_PREFIX: usize = 8;

impl PayloadDigest {
    /// The digests of `spec`. Values of `secret_env` don't count, their names do.
    #[must_use]
    pub fn of(spec: &RunSpec) -> Self {
        let mut whole = Sha256::new_with_prefix(b"longshore.dev/payload/v1\0");
        let mut fields = BTreeMap::new();
        for (name, encoded) in top_level(spec) {
            let digest = Sha256::new_with_prefix(b"longshore.dev/payload-field/v1\0").chain_update(&encoded).finalize();
            whole.update(Encoder::default().text(name).0);
            whole.update(digest);
            let prefix = digest.iter().copied().take(FIELD_PREFIX).collect::<Vec<_>>();
            fields.insert(name.to_owned(), data_encoding::HEXLOWER.encode(&prefix));
        }
        Self { sha256: data_encoding::HEXLOWER.encode(&whole.finalize()), fields }
    }

    /// Top-level fields that are set in one only, or to something else, by name.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.fields.keys().chain(other.fields.keys()).collect();
        names.into_iter().filter(|name| self.fields.get(*name) != other.fields.get(*name)).cloned().collect()
    }
}

/// Collects encoded values.
#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn number(self, number: impl Into<i128>) -> Self {
        self.bytes(&number.into().to_be_bytes())
    }

    fn duration(self, duration: Duration) -> Self {
        self.number(duration.as_secs()).number(duration.subsec_nanos())
    }

    fn texts(self, texts: &[String]) -> Self {
        texts.iter().fold(self, |out, text| out.text(text))
    }

    fn map(self, map: &BTreeMap<String, String>) -> Self {
        map.iter().fold(self, |out, (key, value)| out.text(key).text(value))
    }

    /// A field of a message, if it is set.
    fn field<T>(self, name: &str, value: Option<T>, encode: impl FnOnce(Encoder, T) -> Encoder) -> Self {
        match value {
            Some(value) => self.text(name).bytes(&encode(Encoder::default(), value).0),
            None => self,
        }
    }

    /// The elements of a list.
    fn each<T>(self, items: &[T], encode: impl Fn(Encoder, &T) -> Encoder) -> Self {
        items.iter().fold(self, |out, item| out.bytes(&encode(Encoder::default(), item).0))
    }
}

/// `Some` unless it is empty.
fn filled<T: ?Sized>(value: &T, is_empty: impl Fn(&T) -> bool) -> Option<&T> {
    (!is_empty(value)).then_some(value)
}

/// The set top-level fields with their encodings, in the order of their numbers in the proto.
/// Names every field, so that a new one can't be forgotten.
fn top_level(spec: &RunSpec) -> Vec<(&'static str, Vec<u8>)> {
    let RunSpec {
        workload,
        env,
        secret_env,
        input,
        files,
        resources,
        security,
        queue_timeout,
        start_timeout,
        run_timeout,
        termination_grace,
        max_retries,
        infra_retries,
        retention,
        volumes,
        network_mode,
        placement,
        queue_name,
        labels,
        annotations,
        result,
        tmp_size,
        retry_on,
        total_timeout,
    } = spec;
    let new = Encoder::default;
    let duration = |value: &Option<Duration>| value.map(|value| new().duration(value));
    let number = |value: &Option<i32>| value.map(|value| new().number(value));
    let text = |value: &Option<String>| value.as_ref().map(|value| new().text(value));
    let map = |value: &BTreeMap<String, String>| filled(value, BTreeMap::is_empty).map(|value| new().map(value));
    let container = match workload {
        Some(Workload::Container(container)) => Some(encode_container(container)),
        _ => None,
    };
    [
        ("container", container),
        ("runner", spec.profile().map(|profile| new().text(profile))),
        ("env", filled(env, Vec::is_empty).map(|env| new().each(env, encode_env))),
        ("secret_env", filled(secret_env, BTreeMap::is_empty).map(encode_secret_names)),
        ("input", input.as_ref().map(encode_input)),
        ("files", filled(files, Vec::is_empty).map(|files| new().each(files, encode_file))),
        ("resources", filled(resources, Resources::is_empty).map(encode_resources)),
        ("security", filled(security, Security::is_empty).map(encode_security)),
        ("queue_timeout", duration(queue_timeout)),
        ("start_timeout", duration(start_timeout)),
        ("run_timeout", duration(run_timeout)),
        ("termination_grace", duration(termination_grace)),
        ("max_retries", number(max_retries)),
        ("infra_retries", number(infra_retries)),
        ("retention", duration(retention)),
        ("volumes", filled(volumes, Vec::is_empty).map(|volumes| new().each(volumes, encode_volume))),
        ("network_mode", network_mode.map(|mode| new().text(mode.as_str()))),
        ("placement", filled(placement, Placement::is_empty).map(encode_placement)),
        ("queue_name", text(queue_name)),
        ("labels", map(labels)),
        ("annotations", map(annotations)),
        ("result", filled(result, ResultRule::is_empty).map(encode_result)),
        ("tmp_size", text(tmp_size)),
        ("retry_on", filled(retry_on, RetryOn::is_empty).map(encode_retry_on)),
        ("total_timeout", duration(total_timeout)),
    ]
    .into_iter()
    .filter_map(|(name, encoded)| encoded.map(|encoded| (name, encoded.0)))
    .collect()
}

fn encode_container(container: &ContainerWorkload) -> Encoder {
    let ContainerWorkload { image, command, args, working_dir } = container;
    Encoder::default()
        .field("image", Some(image), |out, image| out.text(image))
        .field("command", filled(command, Vec::is_empty), |out, command| out.texts(command))
        .field("args", filled(args, Vec::is_empty), |out, args| out.texts(args))
        .field("working_dir", working_dir.as_ref(), |out, dir| out.text(dir))
}

fn encode_env(out: Encoder, EnvVar { name, source }: &EnvVar) -> Encoder {
    let out = out.text(name);
    match source {
        EnvSource::Value(value) => out.text("value").text(value),
        EnvSource::SecretKeyRef { name, key } => out.text("secret_key_ref").text(name).text(key),
    }
}

fn encode_secret_names(secrets: &BTreeMap<String, Secret>) -> Encoder {
    secrets.keys().fold(Encoder::default(), |out, name| out.text(name))
}

fn encode_input(input: &Input) -> Encoder {
    let kind = match input {
        Input::Json(_) => "json",
        Input::Raw(_) => "raw",
    };
    Encoder::default().text(kind).bytes(input.as_bytes())
}

fn encode_file(out: Encoder, File { path, mode, content }: &File) -> Encoder {
    out.text(path).field("mode", *mode, |out, mode| out.number(mode)).bytes(content)
}

fn encode_resources(Resources { requests, limits }: &Resources) -> Encoder {
    Encoder::default().field("requests", filled(requests, BTreeMap::is_empty), |out, map| out.map(map)).field(
        "limits",
        filled(limits, BTreeMap::is_empty),
        |out, map| out.map(map),
    )
}

fn encode_security(security: &Security) -> Encoder {
    let Security { run_as_user, run_as_group, fs_group, read_only_root_filesystem, runtime_class_name } = security;
    Encoder::default()
        .field("run_as_user", *run_as_user, |out, id| out.number(id))
        .field("run_as_group", *run_as_group, |out, id| out.number(id))
        .field("fs_group", *fs_group, |out, id| out.number(id))
        .field("read_only_root_filesystem", *read_only_root_filesystem, |out, on| out.number(i32::from(on)))
        .field("runtime_class_name", runtime_class_name.as_ref(), |out, name| out.text(name))
}

fn encode_volume(out: Encoder, VolumeMount { volume, mount_path, read_only }: &VolumeMount) -> Encoder {
    out.text(volume).text(mount_path).field("read_only", *read_only, |out, on| out.number(i32::from(on)))
}

fn encode_placement(Placement { node_selector, tolerations, priority_class_name }: &Placement) -> Encoder {
    Encoder::default()
        .field("node_selector", filled(node_selector, BTreeMap::is_empty), |out, map| out.map(map))
        .field("tolerations", filled(tolerations, Vec::is_empty), |out, all| out.each(all, encode_toleration))
        .field("priority_class_name", priority_class_name.as_ref(), |out, name| out.text(name))
}

fn encode_toleration(out: Encoder, Toleration { key, match_operator, value, effect }: &Toleration) -> Encoder {
    out.text(key).text(match_operator).text(value).text(effect)
}

fn encode_retry_on(RetryOn { reasons, exit_codes }: &RetryOn) -> Encoder {
    Encoder::default()
        .field("reasons", filled(reasons, Vec::is_empty), |out, reasons| {
            out.each(reasons, |out, it| out.text(it.as_str()))
        })
        .field("exit_codes", filled(exit_codes, Vec::is_empty), |out, codes| out.each(codes, |out, it| out.number(*it)))
}

fn encode_result(ResultRule { mode, scan, dialect }: &ResultRule) -> Encoder {
    Encoder::default()
        .field("mode", *mode, |out, mode| out.text(mode.into()))
        .field("scan", *scan, |out, scan| out.text(scan.into()))
        .field("dialect", *dialect, |out, dialect| out.text(dialect.into()))
}

#[cfg(test)]
pub(crate) mod tests;
