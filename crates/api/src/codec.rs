//! Messages on the wire, as `tonic_prost` reads and writes them; of a request the elements of its lists and maps are
//! counted before anything is made of them.
//!
//! An empty element takes 2 bytes on the wire and up to a hundred in memory, so the size of a message alone bounds
//! neither what it holds nor what it costs.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::LazyLock;

use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Most elements of all lists and maps of one request together. The longest list that can pass the limits of a run's
/// spec, arguments of one byte each in 128 KiB of JSON, has some 30,000.
pub const ELEMENTS_MAX: usize = 32_768;

/// Deepest message in a message that is looked into. None of ours is that deep.
const DEPTH_MAX: usize = 16;

/// The codec of the generated services and clients.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder(ProstCodec::<T, U>::default().decoder())
    }
}

/// Counts, then decodes.
#[derive(Debug)]
pub struct CountedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Name + Default> Decoder for CountedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if let Some(shape) = REQUESTS.get(U::full_name().as_str()) {
            // tonic hands a message over in one piece.
            // The services make of it what is sent.
            shape.check(bytes::Buf::chunk(buf)).map_err(|many| Status::from_error(many.into()))?;
        }
        self.0.decode(buf)
    }
}

/// A request has more elements in its lists and maps than any that is fine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lists and maps of the request have more than {ELEMENTS_MAX} elements, most of them in {field}")]
pub struct TooManyElements {
    /// The list or map with most of them, as a path such as `spec.env`.
    pub field: String,
}

/// The requests of every method, by full name.
static REQUESTS: LazyLock<BTreeMap<String, MessageShape>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(super::DESCRIPTORS).unwrap_or_default();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| method.input()).map(|input| (input.full_name().to_owned(), MessageShape::of(&input))).collect()
});

/// What of a request is counted.
#[derive(Debug, Default)]
struct MessageShape {
    /// Paths of its lists and maps.
    lists: Vec<String>,
    fields: FieldShapes,
}

type FieldShapes = BTreeMap<u32, FieldShape>;

#[derive(Debug)]
struct FieldShape {
    /// The list or map that it is, as a place in [`MessageShape::lists`].
    list: Option<usize>,
    /// How its elements stand in one piece of the wire, if it is a list of numbers.
    packed: Option<Packed>,
    /// Its own fields, if it is a message.
    fields: FieldShapes,
}

#[derive(Clone, Copy, Debug)]
enum Packed {
    Varints,
    Bytes(usize),
}

impl MessageShape {
    fn of(message: &MessageDescriptor) -> Self {
        let mut lists = Vec::new();
        let fields = fields_of(message, "", 0, &mut lists);
        Self { lists, fields }
    }

    /// Counts the elements in an encoded message. Says nothing about one that is malformed: the decoder does.
    fn check(&self, encoded: &[u8]) -> Result<(), TooManyElements> {
        let mut counts = vec![0_usize; self.lists.len()];
        let _malformed = count(encoded, &self.fields, &mut counts);
        if counts.iter().sum::<usize>() <= ELEMENTS_MAX {
            return Ok(());
        }
        let fullest = counts.iter().zip(&self.lists).max_by_key(|(count, _)| **count);
        Err(TooManyElements { field: fullest.map(|(_, path)| path.clone()).unwrap_or_default() })
    }
}

fn fields_of(message: &MessageDescriptor, at: &str, depth: usize, lists: &mut Vec<String>) -> FieldShapes {
    let mut fields = FieldShapes::new();
    for field in message.fields() {
        let path = if at.is_empty() { field.name().to_owned() } else { format!("{at}.{}", field.name()) };
        let list = (field.is_list() || field.is_map()).then(|| {
            lists.push(path.clone());
            lists.len() - 1
        });
        let inner = match field.kind() {
            Kind::Message(inner) if depth < DEPTH_MAX => fields_of(&inner, &path, depth + 1, lists),
            _ => FieldShapes::new(),
        };
        // What holds no list is passed over whole.
        if list.is_some() || !inner.is_empty() {
            fields.insert(field.number(), FieldShape { list, packed: packed(&field), fields: inner });
        }
    }
    fields
}

fn packed(field: &FieldDescriptor) -> Option<Packed> {
    if !field.is_list() {
        return None;
    }
    match field.kind() {
        Kind::Message(_) | Kind::String | Kind::Bytes => None,
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Some(Packed::Bytes(8)),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Some(Packed::Bytes(4)),
        _ => Some(Packed::Varints),
    }
}

/// Adds the elements of one message; `None` where it ceases to be one.
fn count(mut encoded: &[u8], fields: &FieldShapes, counts: &mut [usize]) -> Option<()> {
    while !encoded.is_empty() {
        let (number, wire) = decode_key(&mut encoded).ok()?;
        let piece: &[u8] = match wire {
            WireType::Varint => {
                decode_varint(&mut encoded).ok()?;
                &[]
            }
            WireType::ThirtyTwoBit => encoded.split_off(..4)?,
            WireType::SixtyFourBit => encoded.split_off(..8)?,
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut encoded).ok()?).ok()?;
                encoded.split_off(..length)?
            }
            // Their ends are marks among the fields, which are passed over in the same way.
            WireType::StartGroup | WireType::EndGroup => continue,
        };
        let Some(field) = fields.get(&number) else { continue };
        if let Some(list) = field.list.and_then(|list| counts.get_mut(list)) {
            *list += match (wire, field.packed) {
                (WireType::LengthDelimited, Some(Packed::Varints)) => piece.iter().filter(|byte| **byte < 0x80).count(),
                (WireType::LengthDelimited, Some(Packed::Bytes(size))) => piece.len() / size,
                _ => 1,
            };
        }
        if wire == WireType::LengthDelimited && !field.fields.is_empty() {
            count(piece, &field.fields, counts)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    fn check<M: Message + Name>(request: &M) -> Result<(), String> {
        REQUESTS[M::full_name().as_str()].check(&request.encode_to_vec()).map_err(|many| many.field)
    }

    fn submit(spec: v1::RunSpec) -> v1::SubmitRunRequest {
        v1::SubmitRunRequest { spec: Some(spec), ..Default::default() }
    }

    #[test]
    fn every_list_and_map_of_a_request_is_counted() {
        let env = |count| v1::RunSpec { env: vec![v1::EnvVar::default(); count], ..Default::default() };
        assert_eq!(check(&submit(env(ELEMENTS_MAX))), Ok(()));
        assert_eq!(check(&submit(env(ELEMENTS_MAX + 1))), Err("spec.env".to_owned()));

        let labels = (0..=ELEMENTS_MAX).map(|i| (i.to_string(), String::new())).collect();
        assert_eq!(check(&submit(v1::RunSpec { labels, ..Default::default() })), Err("spec.labels".to_owned()));

        let container = v1::ContainerWorkload { args: vec![String::new(); ELEMENTS_MAX + 1], ..Default::default() };
        let workload = Some(v1::run_spec::Workload::Container(container));
        let args = submit(v1::RunSpec { workload, ..Default::default() });
        assert_eq!(check(&args), Err("spec.container.args".to_owned()));

        // In one piece of the wire.
        let filter = v1::RunFilter { states: vec![1000; ELEMENTS_MAX + 1], ..Default::default() };
        let list = v1::ListRunsRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(check(&list), Err("filter.states".to_owned()));
    }

    #[test]
    fn what_is_sent_in_parts_is_counted_as_one() {
        let half = v1::RunSpec { env: vec![v1::EnvVar::default(); ELEMENTS_MAX / 2 + 1], ..Default::default() };
        let encoded = submit(half).encode_to_vec();
        let shape = &REQUESTS["longshore.v1.SubmitRunRequest"];
        assert_eq!(shape.check(&encoded), Ok(()));
        assert!(shape.check(&[encoded.as_slice(), &encoded].concat()).is_err());
    }

    #[test]
    fn answers_are_not_counted_and_what_is_malformed_is_reported_elsewhere() {
        assert!(!REQUESTS.contains_key("longshore.v1.ListRunsResponse"));
        let shape = &REQUESTS["longshore.v1.SubmitRunRequest"];
        for malformed in [&[0xff; 20][..], &[0x0a, 0x7f], &[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x0b, 0x0b, 0x0c]] {
            assert_eq!(shape.check(malformed), Ok(()));
        }
    }
}
