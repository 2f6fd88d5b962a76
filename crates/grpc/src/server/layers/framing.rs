//! Where messages begin and end in a body, in whatever pieces it comes (Length-Prefixed-Message of gRPC over HTTP/2).

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How far a body was read.
#[derive(Debug, Default)]
pub(super) struct Framing {
    prefix: Vec<u8>,
    /// Bytes of the present message that are still to come.
    left: usize,
}

/// A message whose prefix is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) compressed: bool,
    /// In bytes, as it is sent.
    pub(super) length: usize,
}

impl Framing {
    /// Takes `data` up to where a message begins; all of it, if none does.
    pub(super) fn next(&mut self, data: &mut &[u8]) -> Option<Begun> {
        let passed = self.left.min(data.len());
        self.left -= passed;
        *data = data.get(passed..).unwrap_or_default();
        let missing = (PREFIX - self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(data.split_off(..missing).unwrap_or_default());
        let [compressed, length @ ..] = self.prefix.as_slice() else { return None };
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let begun = Begun { compressed: *compressed != 0, length: usize::try_from(length).unwrap_or(usize::MAX) };
        self.prefix.clear();
        self.left = begun.length;
        Some(begun)
    }

    /// Whether part of a prefix came, and not all of it.
    pub(super) fn is_in_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Whether part of a message came, and not all of it.
    pub(super) fn is_in_message(&self) -> bool {
        self.left > 0 || self.is_in_prefix()
    }
}
