//! What a request costs the daemon: no more than in proportion to its size, whatever it is full of.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use longshore::grpc::message_max;
use longshore::proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use crate::fixture::Local;
use crate::support::daemon::cpu_of;
use crate::support::wait::within;

/// A request of this size passes the limits of a spec, and all checks that come after them.
const ACCEPTED: usize = 100 * 1024;
/// How often the size is doubled between the two requests that are compared. Over one doubling, what grows in
/// proportion and what grows with the square differ by 2: no more than a busy machine's caches add.
const DOUBLINGS: i32 = 3;
/// What each doubling may multiply the cost with, on average.
const MOST: f64 = 3.0;
/// The least of what is measured counts: others use this machine too.
const REPEATS: usize = 3;
/// What is used beside the request, such as by timers.
const NOISE: Duration = Duration::from_millis(4);
/// Sizes of the texts in lists: many elements, and few large ones.
const TEXTS: [usize; 2] = [8, 2000];

/// A place in a request that can be filled, as the fields that lead there.
type Place = Vec<FieldDescriptor>;

#[tokio::test]
async fn what_a_request_costs_grows_in_proportion_to_its_size() {
    let local = Local::start().await;
    let channel = Channel::from_shared(format!("http://{}", local.daemon.address())).unwrap().connect().await.unwrap();
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut measured, mut worst) = (0, (0.0, String::new()));
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let limit = message_max(&path);
        for place in places(&method.input()) {
            for size in BTreeSet::from([limit, ACCEPTED.min(limit)]) {
                let is_text = place.last().is_some_and(|field| !field.is_list() && !field.is_map());
                for text in TEXTS.into_iter().take(if is_text { 1 } else { 2 }) {
                    let whole = filled(&method.input(), &place, size, text);
                    let part = filled(&method.input(), &place, size >> DOUBLINGS, text);
                    assert!(whole.len() <= limit && whole.len() > size * 4 / 5, "{} of {size}", whole.len());
                    let (whole, part) =
                        (cost(&local, &channel, &path, &whole).await, cost(&local, &channel, &path, &part).await);
                    let ratio = (whole.as_secs_f64() / part.max(NOISE).as_secs_f64()).powf(1.0 / f64::from(DOUBLINGS));
                    let names: Vec<_> = place.iter().map(FieldDescriptor::name).collect();
                    let what = format!("{path} {} of {size} bytes, {text} each", names.join("."));
                    eprintln!("{ratio:5.2}  {whole:10.1?} {part:10.1?}  {what}");
                    measured += 1;
                    if ratio > worst.0 {
                        worst = (ratio, what);
                    }
                }
            }
        }
    }
    eprintln!("CPU at a size over CPU at half of it, at most: {:.2} ({}); {measured} measured", worst.0, worst.1);
    assert!(measured > 50, "only {measured} were found");
    assert!(worst.0 <= MOST, "{worst:?}");
    local.finish().await;
}

/// Every list and map of a message, and of those in it.
fn places(message: &MessageDescriptor) -> Vec<Place> {
    let mut found = Vec::new();
    for field in message.fields() {
        match field.kind() {
            _ if field.is_list() || field.is_map() => found.push(vec![field]),
            Kind::Message(inner) => {
                let further = places(&inner).into_iter().map(|rest| [vec![field.clone()], rest].concat());
                found.extend(further);
            }
            // One text that is as large.
            Kind::String | Kind::Bytes => found.push(vec![field]),
            _ => {}
        }
    }
    found
}

/// A request that is fine but for what fills it, of at most `size` bytes.
fn filled(message: &MessageDescriptor, place: &[FieldDescriptor], size: usize, text: usize) -> Bytes {
    let base = with(message, place, 0, text).encode_to_vec();
    if place.last().is_some_and(|field| !field.is_list() && !field.is_map()) {
        let room = size - base.len() - 32;
        return with(message, place, room, text).encode_to_vec().into();
    }
    // Messages that follow each other are one. So one element is encoded, and repeated under other names.
    let mut alone = DynamicMessage::new(message.clone());
    fill(&mut alone, place, 1, text);
    let element = alone.encode_to_vec();
    let first = word(0, 0).into_bytes();
    let names: Vec<_> = (0..element.len()).filter(|at| element[*at..].starts_with(&first)).collect();
    let mut whole = base;
    for i in 0..(size - whole.len()) / element.len() {
        let at = whole.len();
        whole.extend_from_slice(&element);
        for name in &names {
            whole[at + name..at + name + first.len()].copy_from_slice(word(i, 0).as_bytes());
        }
    }
    whole.into()
}

fn with(message: &MessageDescriptor, place: &[FieldDescriptor], count: usize, text: usize) -> DynamicMessage {
    let mut request = DynamicMessage::new(message.clone());
    for (name, value) in [
        ("parent", Value::String("namespaces/default".to_owned())),
        ("name", Value::String("namespaces/default/runs/none".to_owned())),
        ("validate_only", Value::Bool(true)),
    ] {
        if message.get_field_by_name(name).is_some() {
            request.set_field_by_name(name, value);
        }
    }
    if let Some(field) = message.get_field_by_name("spec") {
        let Kind::Message(spec) = field.kind() else { panic!("a spec is a message") };
        let runner = spec.get_field_by_name("runner").expect("a spec has a runner");
        let Kind::Message(inner) = runner.kind() else { panic!("a runner is a message") };
        let (mut spec, mut workload) = (DynamicMessage::new(spec), DynamicMessage::new(inner));
        workload.set_field_by_name("profile", Value::String("sh".to_owned()));
        spec.set_field(&runner, Value::Message(workload));
        request.set_field(&field, Value::Message(spec));
    }
    fill(&mut request, place, count, text);
    request
}

fn fill(message: &mut DynamicMessage, place: &[FieldDescriptor], count: usize, text: usize) {
    let [field, rest @ ..] = place else { return };
    if !rest.is_empty() {
        let Value::Message(inner) = message.get_field_mut(field) else { panic!("{field:?} is a message") };
        return fill(inner, rest, count, text);
    }
    let value = match field.kind() {
        _ if field.is_list() => Value::List((0..count).map(|i| element(&field.kind(), i, text)).collect()),
        Kind::Message(entry) if field.is_map() => {
            let value = entry.map_entry_value_field().kind();
            let each = |i| (MapKey::String(word(i, text.min(60))), element(&value, i, text));
            Value::Map((0..count).map(each).collect())
        }
        Kind::Bytes => Value::Bytes(vec![b'a'; count].into()),
        _ => Value::String("a".repeat(count)),
    };
    message.set_field(field, value);
}

/// A word that differs from all others, and that many rules find to be a name.
fn word(i: usize, length: usize) -> String {
    format!("{:a<length$}", format!("k{i:07}"))
}

fn element(kind: &Kind, i: usize, text: usize) -> Value {
    match kind {
        Kind::String => Value::String(word(i, text)),
        Kind::Bytes => Value::Bytes(word(i, text).into_bytes().into()),
        Kind::Message(message) => {
            let mut element = DynamicMessage::new(message.clone());
            let texts: Vec<_> = message.fields().filter(|field| field.kind() == Kind::String).collect();
            if let (Some(first), Some(last)) = (texts.first(), texts.last()) {
                element.set_field(last, Value::String(word(i, text)));
                element.set_field(first, Value::String(word(i, text.min(60))));
            }
            Value::Message(element)
        }
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Int32 => Value::I32(1),
        other => panic!("no request has a list of {other:?}"),
    }
}

/// CPU time of the daemon until the first answer.
async fn cost(local: &Local, channel: &Channel, path: &str, request: &Bytes) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..REPEATS {
        let mut client = Grpc::new(channel.clone());
        client.ready().await.expect("a connection");
        let before = cpu_of(&local.daemon);
        let method = PathAndQuery::try_from(path).expect("a path");
        let answer = async {
            let mut answers =
                client.server_streaming(tonic::Request::new(request.clone()), method, Raw).await?.into_inner();
            answers.message().await
        };
        let answer: Result<Option<Bytes>, Status> = within("an answer", answer).await;
        if let Err(status) = answer {
            let own = [tonic::Code::InvalidArgument, tonic::Code::NotFound, tonic::Code::OutOfRange];
            assert!(own.contains(&status.code()), "{path}: {status:?}");
        }
        least = least.min(cpu_of(&local.daemon).saturating_sub(before));
    }
    least
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}
