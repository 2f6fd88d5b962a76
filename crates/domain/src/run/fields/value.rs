//! What values of fields take as stored, and how they count for the digest.
//!
//! The encoding is our own, since protobuf's is not canonical. Every value goes in behind its length, every field
//! behind its name, and only if it is set, so that fields that are added later leave the digests of older requests as
//! they are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::run::spec::{
    ContainerWorkload, EnvSource, EnvVar, File, Input, NetworkMode, Placement, Resources, ResultRule, RetryOn, Secret,
    Security, Toleration, VolumeMount, Workload,
};

/// Least that an element of a list or map takes as stored beside its text: a comma and quotes.
const ELEMENT: usize = 3;

/// The value of a field of a spec.
pub(crate) trait FieldValue {
    /// Which member is set, by its name in the proto, if the field is a oneof.
    fn member(&self) -> Option<&'static str> {
        None
    }

    /// Its encoding for the digest; `None`: it is unset.
    fn encode(&self) -> Option<Encoder>;

    /// Bytes that it takes as stored at least. Numbers don't count.
    fn stored_bytes(&self) -> usize {
        0
    }
}

/// Collects encoded values.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn number(self, number: impl Into<i128>) -> Self {
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

fn new() -> Encoder {
    Encoder::default()
}

/// Bytes of all words.
pub(crate) fn bytes_of(words: &[String]) -> usize {
    words.iter().map(String::len).sum()
}

fn map_bytes(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len() + ELEMENT).sum()
}

fn text_bytes(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

impl FieldValue for Option<Duration> {
    fn encode(&self) -> Option<Encoder> {
        self.map(|value| new().duration(value))
    }
}

impl FieldValue for Option<i32> {
    fn encode(&self) -> Option<Encoder> {
        self.map(|value| new().number(value))
    }
}

impl FieldValue for Option<String> {
    fn encode(&self) -> Option<Encoder> {
        self.as_ref().map(|value| new().text(value))
    }

    fn stored_bytes(&self) -> usize {
        text_bytes(self)
    }
}

impl FieldValue for BTreeMap<String, String> {
    fn encode(&self) -> Option<Encoder> {
        filled(self, Self::is_empty).map(|value| new().map(value))
    }

    fn stored_bytes(&self) -> usize {
        map_bytes(self)
    }
}

impl FieldValue for Option<Workload> {
    fn member(&self) -> Option<&'static str> {
        self.as_ref().map(|workload| match workload {
            Workload::Container(_) => "container",
            Workload::Runner { .. } => "runner",
        })
    }

    fn encode(&self) -> Option<Encoder> {
        self.as_ref().map(|workload| match workload {
            Workload::Container(ContainerWorkload { image, command, args, working_dir }) => new()
                .field("image", Some(image), |out, image| out.text(image))
                .field("command", filled(command, Vec::is_empty), |out, command| out.texts(command))
                .field("args", filled(args, Vec::is_empty), |out, args| out.texts(args))
                .field("working_dir", working_dir.as_ref(), |out, dir| out.text(dir)),
            Workload::Runner { profile } => new().text(profile),
        })
    }

    fn stored_bytes(&self) -> usize {
        match self {
            Some(Workload::Container(ContainerWorkload { image, command, args, working_dir })) => {
                let words = bytes_of(command) + bytes_of(args) + (command.len() + args.len()) * ELEMENT;
                image.len() + words + text_bytes(working_dir)
            }
            Some(Workload::Runner { profile }) => profile.len(),
            None => 0,
        }
    }
}

impl FieldValue for Vec<EnvVar> {
    fn encode(&self) -> Option<Encoder> {
        let one = |out: Encoder, EnvVar { name, source }: &EnvVar| match source {
            EnvSource::Value(value) => out.text(name).text("value").text(value),
            EnvSource::SecretKeyRef { name: secret, key } => {
                out.text(name).text("secret_key_ref").text(secret).text(key)
            }
        };
        filled(self, Self::is_empty).map(|env| new().each(env, one))
    }

    fn stored_bytes(&self) -> usize {
        let source = |source: &EnvSource| match source {
            EnvSource::Value(value) => value.len(),
            EnvSource::SecretKeyRef { name, key } => name.len() + key.len(),
        };
        self.iter().map(|variable| ELEMENT + variable.name.len() + source(&variable.source)).sum()
    }
}

/// Their values don't count, their names do. They are not stored.
impl FieldValue for BTreeMap<String, Secret> {
    fn encode(&self) -> Option<Encoder> {
        filled(self, Self::is_empty).map(|secrets| secrets.keys().fold(new(), |out, name| out.text(name)))
    }
}

/// Not stored.
impl FieldValue for Option<Input> {
    fn encode(&self) -> Option<Encoder> {
        self.as_ref().map(|input| {
            let kind = match input {
                Input::Json(_) => "json",
                Input::Raw(_) => "raw",
            };
            new().text(kind).bytes(input.as_bytes())
        })
    }
}

/// Not stored.
impl FieldValue for Vec<File> {
    fn encode(&self) -> Option<Encoder> {
        let one = |out: Encoder, File { path, mode, content }: &File| {
            out.text(path).field("mode", *mode, |out, mode| out.number(mode)).bytes(content)
        };
        filled(self, Self::is_empty).map(|files| new().each(files, one))
    }
}

impl FieldValue for Resources {
    fn encode(&self) -> Option<Encoder> {
        let Self { requests, limits } = filled(self, Self::is_empty)?;
        let out = new().field("requests", filled(requests, BTreeMap::is_empty), |out, map| out.map(map));
        Some(out.field("limits", filled(limits, BTreeMap::is_empty), |out, map| out.map(map)))
    }

    fn stored_bytes(&self) -> usize {
        map_bytes(&self.requests) + map_bytes(&self.limits)
    }
}

impl FieldValue for Security {
    fn encode(&self) -> Option<Encoder> {
        let Self { run_as_user, run_as_group, fs_group, read_only_root_filesystem, runtime_class_name } =
            filled(self, Self::is_empty)?;
        Some(
            new()
                .field("run_as_user", *run_as_user, |out, id| out.number(id))
                .field("run_as_group", *run_as_group, |out, id| out.number(id))
                .field("fs_group", *fs_group, |out, id| out.number(id))
                .field("read_only_root_filesystem", *read_only_root_filesystem, |out, on| out.number(i32::from(on)))
                .field("runtime_class_name", runtime_class_name.as_ref(), |out, name| out.text(name)),
        )
    }

    fn stored_bytes(&self) -> usize {
        text_bytes(&self.runtime_class_name)
    }
}

impl FieldValue for Vec<VolumeMount> {
    fn encode(&self) -> Option<Encoder> {
        let one = |out: Encoder, VolumeMount { volume, mount_path, read_only }: &VolumeMount| {
            out.text(volume).text(mount_path).field("read_only", *read_only, |out, on| out.number(i32::from(on)))
        };
        filled(self, Self::is_empty).map(|volumes| new().each(volumes, one))
    }

    fn stored_bytes(&self) -> usize {
        self.iter().map(|mount| ELEMENT + mount.volume.len() + mount.mount_path.len()).sum()
    }
}

impl FieldValue for Option<NetworkMode> {
    fn encode(&self) -> Option<Encoder> {
        self.map(|mode| new().text(mode.as_str()))
    }
}

impl FieldValue for Placement {
    fn encode(&self) -> Option<Encoder> {
        let Self { node_selector, tolerations, priority_class_name } = filled(self, Self::is_empty)?;
        let toleration = |out: Encoder, Toleration { key, match_operator, value, effect }: &Toleration| {
            out.text(key).text(match_operator).text(value).text(effect)
        };
        Some(
            new()
                .field("node_selector", filled(node_selector, BTreeMap::is_empty), |out, map| out.map(map))
                .field("tolerations", filled(tolerations, Vec::is_empty), |out, all| out.each(all, toleration))
                .field("priority_class_name", priority_class_name.as_ref(), |out, name| out.text(name)),
        )
    }

    fn stored_bytes(&self) -> usize {
        let Self { node_selector, tolerations, priority_class_name } = self;
        let tolerations: usize = tolerations
            .iter()
            .map(|each| ELEMENT + each.key.len() + each.match_operator.len() + each.value.len() + each.effect.len())
            .sum();
        map_bytes(node_selector) + tolerations + text_bytes(priority_class_name)
    }
}

impl FieldValue for ResultRule {
    fn encode(&self) -> Option<Encoder> {
        let Self { mode, scan, dialect } = filled(self, Self::is_empty)?;
        Some(
            new()
                .field("mode", *mode, |out, mode| out.text(mode.into()))
                .field("scan", *scan, |out, scan| out.text(scan.into()))
                .field("dialect", *dialect, |out, dialect| out.text(dialect.into())),
        )
    }
}

impl FieldValue for RetryOn {
    fn encode(&self) -> Option<Encoder> {
        let Self { reasons, exit_codes } = filled(self, Self::is_empty)?;
        let reasons = filled(reasons, Vec::is_empty);
        let out = new().field("reasons", reasons, |out, reasons| out.each(reasons, |out, it| out.text(it.as_str())));
        let exit_codes = filled(exit_codes, Vec::is_empty);
        Some(out.field("exit_codes", exit_codes, |out, codes| out.each(codes, |out, it| out.number(*it))))
    }
}
