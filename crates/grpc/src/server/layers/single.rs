//! The body of a request that has one message: further ones are an error before anything is done,
//! where tonic would read them, for as long as they come, and pass over them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::framing::Framing;
use crate::status;

/// Services some of whose methods take more than one message; a test compares it with the
/// descriptors.
const STREAMING: [&str; 2] = ["/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// The body of a request to the method at `path`.
pub(super) fn body_of(path: &str, body: Body) -> Body {
    match STREAMING.iter().any(|service| path.starts_with(service)) {
        true => body,
        false => Body::new(SingleBody { inner: Some(body), message: MessageProgress::default() }),
    }
}

/// How far the message was read.
#[derive(Debug, Default)]
struct MessageProgress {
    framing: Framing,
    begun: bool,
}

impl MessageProgress {
    /// Takes note of bytes; whether they belong to one message.
    fn read(&mut self, mut data: &[u8]) -> bool {
        while self.framing.next(&mut data).is_some() {
            if self.begun {
                return false;
            }
            self.begun = true;
        }
        !(self.begun && self.framing.is_in_prefix())
    }

    /// Whether any of it came.
    fn came(&self) -> bool {
        self.begun || self.framing.is_in_prefix()
    }
}

/// See the module.
#[derive(Debug)]
struct SingleBody {
    /// `None` once it was refused.
    inner: Option<Body>,
    message: MessageProgress,
}

impl http_body::Body for SingleBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = http_body::Body::poll_frame(Pin::new(inner), cx);
        let fits = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().is_none_or(|data| self.message.read(data)),
            // A request that ends before its message began.
            Poll::Ready(None) => self.message.came(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => true,
        };
        if fits {
            return polled;
        }
        self.inner = None;
        Poll::Ready(Some(Err(status::not_one_message())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    #[test]
    fn methods_that_take_more_are_those_of_the_descriptors() {
        let sets = [
            longshore_api::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut streaming = BTreeSet::new();
        for set in sets {
            for file in prost_types::FileDescriptorSet::decode(set).unwrap().file {
                for service in &file.service {
                    let path = format!("/{}.{}/", file.package(), service.name());
                    let modes: BTreeSet<_> =
                        service.method.iter().map(prost_types::MethodDescriptorProto::client_streaming).collect();
                    assert_eq!(modes.len(), 1, "{path} has methods of both kinds");
                    if modes.contains(&true) {
                        streaming.insert(path);
                    }
                }
            }
        }
        assert_eq!(streaming.iter().map(String::as_str).collect::<Vec<_>>(), STREAMING);
    }

    proptest! {
        /// However it comes in pieces: all bytes of one message fit, and not one more.
        #[test]
        fn one_message_fits(length in 0_usize..300, cuts in prop::collection::vec(0_usize..300, 0..6)) {
            let mut bytes = vec![0];
            bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, 7);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut message = MessageProgress::default();
            for window in cuts.windows(2) {
                prop_assert!(message.read(&bytes[window[0]..window[1]]));
            }
            prop_assert!(message.read(&[]));
            prop_assert!(!message.read(&[0]));
        }
    }
}
