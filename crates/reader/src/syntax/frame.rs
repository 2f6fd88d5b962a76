//! One open bracket: what stands in it so far, and what may follow.

use super::super::lex::{Call, In};

/// An open bracket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Where it begins among the searched bytes.
    pub(crate) start: u64,
    /// The same in the whole output.
    pub(crate) at: u64,
    pub(crate) kind: FrameKind,
    pub(super) state: State,
    pub(super) shape: BraceShape,
    /// The last object that closed directly in it.
    pub(crate) child: Option<Span>,
    /// What came last.
    last: Last,
    /// Whether there was a comma.
    comma: bool,
    /// A sign that waits for its number, and where it stands.
    sign: Option<(u8, u64)>,
    /// Whether an imaginary part has to follow.
    imaginary: bool,
}

/// What kind of bracket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Brace,
    List,
    Paren,
    Call(Call),
}

impl FrameKind {
    /// The kind that this byte opens.
    pub(crate) fn of(byte: u8) -> Self {
        match byte {
            b'{' => Self::Brace,
            b'(' => Self::Paren,
            _ => Self::List,
        }
    }

    /// The byte that closes it.
    pub(crate) fn closing(self) -> u8 {
        match self {
            Self::Brace => b'}',
            Self::List => b']',
            Self::Paren | Self::Call(_) => b')',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Just after the bracket.
    First,
    /// After a comma.
    Item,
    /// After a colon, or the `=` of a keyword.
    Value,
    /// In braces, after what may be a key.
    Key,
    /// After a value.
    After,
}

/// What braces turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BraceShape {
    Unknown,
    Dict,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Nothing,
    Text,
    /// A number without imaginary part.
    Real,
    Object,
    /// A list or set, which like an object is not a key.
    Array,
    Other,
}

/// Something that closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Among the searched bytes.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// In the whole output.
    pub(crate) range: (u64, u64),
    /// In which dialects it is right.
    pub(crate) valid: In,
    /// Whether as JSON it is known to be compact.
    pub(crate) compact: bool,
}

impl Frame {
    /// What stands for no frame at all.
    pub(super) const NONE: Self = Self::new(FrameKind::List, 0, 0);

    pub(crate) const fn new(kind: FrameKind, start: u64, at: u64) -> Self {
        Self {
            start,
            at,
            kind,
            state: State::First,
            shape: BraceShape::Unknown,
            child: None,
            last: Last::Nothing,
            comma: false,
            sign: None,
            imaginary: false,
        }
    }

    /// Whether it has a key and a colon, so that an object was meant.
    pub(crate) fn has_members(&self) -> bool {
        self.shape == BraceShape::Dict
    }

    /// Whether it is one of an object, if it closes as it should.
    pub(crate) fn is_object(&self) -> bool {
        match self.kind {
            FrameKind::Brace => self.shape != BraceShape::Set,
            FrameKind::Call(call) => call.is_mapping(),
            FrameKind::List | FrameKind::Paren => false,
        }
    }

    /// The object that it is, now that it closed.
    pub(super) fn object(&self, whole: Span) -> Option<Span> {
        match self.kind {
            FrameKind::Brace => (self.shape == BraceShape::Dict || self.state == State::First).then_some(whole),
            FrameKind::Call(call) => call.is_mapping().then_some(whole),
            FrameKind::Paren => self.child.filter(|_| !self.comma && self.last == Last::Object),
            FrameKind::List => None,
        }
    }

    /// Where any value may follow.
    pub(super) fn value(&self) -> In {
        if self.sign.is_some() || self.imaginary {
            return In::NONE;
        }
        self.place()
    }

    /// Where a bracket may follow. What is neither key nor in a set is not opened there.
    pub(super) fn bracket(&self, kind: FrameKind) -> In {
        let key = self.kind == FrameKind::Brace && matches!(self.state, State::First | State::Item);
        match kind {
            FrameKind::Brace | FrameKind::List if key => In::NONE,
            FrameKind::Brace | FrameKind::List => self.value(),
            FrameKind::Paren | FrameKind::Call(_) => self.value().and(In::PYTHON),
        }
    }

    fn place(&self) -> In {
        match (self.state, self.kind) {
            (State::First | State::Item, FrameKind::List) | (State::Value, FrameKind::Brace) => In::BOTH,
            (State::First | State::Item | State::Value, _) => In::PYTHON,
            (State::Key | State::After, _) => In::NONE,
        }
    }

    /// Where a string may follow.
    pub(super) fn text(&self) -> In {
        let key = matches!(self.state, State::First | State::Item)
            && self.kind == FrameKind::Brace
            && self.shape != BraceShape::Set;
        match self.sign.is_some() || self.imaginary {
            true => In::NONE,
            false if key => In::BOTH,
            // Strings side by side are one.
            false if self.is_after_text() => In::PYTHON,
            false => self.place(),
        }
    }

    /// Whether a string came last, which another one now would be part of.
    pub(super) fn is_after_text(&self) -> bool {
        self.last == Last::Text && matches!(self.state, State::Key | State::After)
    }

    /// Where a number may follow that begins at `start`.
    pub(super) fn number(&self, start: u64, imaginary: bool) -> In {
        if self.imaginary {
            return if imaginary { In::PYTHON } else { In::NONE };
        }
        self.signed(start).and(self.place())
    }

    /// Where a constant may follow that begins at `start`; one that is `infinite` may be negative.
    pub(super) fn constant(&self, start: u64, infinite: bool) -> In {
        match self.sign {
            _ if self.imaginary => In::NONE,
            Some((sign, _)) if !infinite || sign != b'-' => In::NONE,
            _ => self.signed(start).and(self.place()),
        }
    }

    fn signed(&self, start: u64) -> In {
        match self.sign {
            None => In::BOTH,
            Some((byte, at)) => In { json: byte == b'-' && at + 1 == start, python: true },
        }
    }

    /// Where a sign may follow.
    pub(super) fn sign(&self, byte: u8) -> In {
        match (self.state, self.last) {
            _ if self.sign.is_some() || self.imaginary => In::NONE,
            (State::Key | State::After, Last::Real) => In::PYTHON,
            _ => self.place().and(In { json: byte == b'-', python: true }),
        }
    }

    pub(super) fn take_sign(&mut self, byte: u8, pos: u64) {
        match self.state {
            State::Key | State::After => self.imaginary = true,
            State::First | State::Item | State::Value => self.sign = Some((byte, pos)),
        }
    }

    /// Whether a number now is the imaginary part of one before.
    pub(super) fn is_complex(&self) -> bool {
        self.imaginary
    }

    /// Where the name of a keyword may follow.
    pub(super) fn keyword(&self) -> In {
        match (self.kind, self.state, self.sign) {
            (FrameKind::Call(_), State::First | State::Item, None) => In::PYTHON,
            _ => In::NONE,
        }
    }

    /// Whether `<class 'int'>` may follow.
    pub(super) fn takes_angle(&self) -> bool {
        self.kind == FrameKind::Call(Call::DefaultDict) && self.state == State::First && self.sign.is_none()
    }

    /// Whether the name of a type may follow: as `dtype=` of an array, or another of its arguments.
    pub(super) fn takes_type(&self) -> bool {
        self.kind == FrameKind::Call(Call::Array) && self.state == State::Value && self.sign.is_none()
    }

    /// Where a comma may follow.
    pub(super) fn comma(&self) -> In {
        match (self.state, self.kind) {
            _ if self.imaginary => In::NONE,
            (State::After, FrameKind::Brace | FrameKind::List) => In::BOTH,
            (State::After, _) => In::PYTHON,
            (State::Key, _) if self.shape != BraceShape::Dict && self.hashable() => In::PYTHON,
            _ => In::NONE,
        }
    }

    /// Whether what came last may be a key or stand in a set.
    fn hashable(&self) -> bool {
        !matches!(self.last, Last::Object | Last::Array)
    }

    pub(super) fn take_comma(&mut self) {
        if self.state == State::Key {
            self.shape = BraceShape::Set;
        }
        self.comma = true;
        self.state = State::Item;
    }

    /// Where a colon may follow.
    pub(super) fn colon(&self) -> In {
        let key = self.state == State::Key && self.shape != BraceShape::Set && !self.imaginary && self.hashable();
        if key { In::BOTH } else { In::NONE }
    }

    /// Where `byte` may close it.
    pub(super) fn close(&self, byte: u8) -> In {
        if byte != self.kind.closing() || self.sign.is_some() || self.imaginary {
            return In::NONE;
        }
        let python_only = matches!(self.kind, FrameKind::Paren | FrameKind::Call(_));
        match self.state {
            State::First | State::After if !python_only => In::BOTH,
            State::First | State::After | State::Item => In::PYTHON,
            State::Key if self.shape != BraceShape::Dict && self.hashable() => In::PYTHON,
            State::Key | State::Value => In::NONE,
        }
    }

    /// A value stands in it.
    pub(super) fn take_value(&mut self, last: Last) {
        self.sign = None;
        self.imaginary = false;
        self.last = last;
        self.state = match (self.kind, self.state) {
            (FrameKind::Brace, State::First | State::Item | State::Key) => State::Key,
            _ => State::After,
        };
    }

    /// What it is, now that it closed.
    pub(super) fn as_last(&self, object: bool) -> Last {
        match self.kind {
            _ if object => Last::Object,
            FrameKind::List | FrameKind::Brace => Last::Array,
            FrameKind::Paren if !self.comma && self.last != Last::Nothing => {
                if self.hashable() {
                    Last::Other
                } else {
                    Last::Array
                }
            }
            FrameKind::Paren | FrameKind::Call(_) => Last::Other,
        }
    }

    /// What could follow, in words.
    pub(super) fn expected(&self) -> &'static str {
        match (self.state, self.kind) {
            _ if self.imaginary => "an imaginary number",
            _ if self.sign.is_some() => "a number",
            (State::First, FrameKind::Brace) => "a key or `}`",
            (State::Item, FrameKind::Brace) => "a key",
            (State::Key, _) if self.shape == BraceShape::Set => "`,` or `}`",
            (State::Key, _) if !self.hashable() => "a key that is not a list, dict or set",
            (State::Key, _) => "`:`",
            (State::After, FrameKind::Brace) => "`,` or `}`",
            (State::After, FrameKind::List) => "`,` or `]`",
            (State::After, _) => "`,` or `)`",
            (State::First | State::Item | State::Value, _) => "a value",
        }
    }
}
