//! The grammar of JSON (RFC 8259, and the words NaN, Infinity and -Infinity), one byte at a time.

/// Where in an object or array the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// After `{`.
    FirstKey,
    /// After `,` in an object.
    Key,
    /// After a key.
    Colon,
    /// After `[`.
    FirstValue,
    /// After `:`, or `,` in an array.
    Value,
    /// After a value.
    After,
    /// In a string.
    Text { key: bool },
    /// After `\` in a string.
    Escape { key: bool },
    /// After `\u` in a string, with so many hex digits to come.
    Hex { key: bool, left: u8 },
    /// In a number.
    Number(Number),
    /// In a word, of which `at` bytes were read.
    Word { word: &'static [u8], at: usize },
    /// After `N`.
    CapitalN,
}

/// Where in a number the reader stands: after what the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

/// What a byte does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is taken.
    To(State),
    /// It opens an object.
    OpenObject,
    /// It opens an array.
    OpenArray,
    /// It closes the innermost object or array.
    Close,
    /// It is what a Python literal has here.
    Python,
    /// It can't stand here; what could.
    Broken(&'static str),
}

/// Whether JSON counts it as white space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What `byte` does in `state`, `in_object` or in an array.
pub(super) fn step(state: State, in_object: bool, byte: u8) -> Step {
    match state {
        State::FirstKey | State::Key | State::Colon | State::FirstValue | State::Value | State::After
            if is_space(byte) =>
        {
            Step::To(state)
        }
        State::FirstKey | State::Key => key(state, byte),
        State::Colon if byte == b':' => Step::To(State::Value),
        State::Colon => Step::Broken("`:`"),
        State::FirstValue if byte == b']' => Step::Close,
        State::FirstValue | State::Value => value(byte),
        State::After => after(in_object, byte),
        State::Text { key } => text(key, byte),
        State::Escape { key } => match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Step::To(State::Text { key }),
            b'u' => Step::To(State::Hex { key, left: 4 }),
            _ => Step::Broken("one of \"\\/bfnrtu after the backslash"),
        },
        State::Hex { key, left } => match left {
            _ if !byte.is_ascii_hexdigit() => Step::Broken("four hex digits"),
            1 => Step::To(State::Text { key }),
            _ => Step::To(State::Hex { key, left: left - 1 }),
        },
        State::Number(number) => number_step(number, in_object, byte),
        State::Word { word, at } => word_step(word, at, byte),
        State::CapitalN => match byte {
            b'a' => Step::To(State::Word { word: b"NaN", at: 2 }),
            b'o' => Step::To(State::Word { word: b"None", at: 2 }),
            _ => Step::Broken("a value"),
        },
    }
}

fn key(state: State, byte: u8) -> Step {
    match byte {
        b'"' => Step::To(State::Text { key: true }),
        b'}' if state == State::FirstKey => Step::Close,
        b'\'' => Step::Python,
        _ if state == State::FirstKey => Step::Broken("a key in double quotes, or `}`"),
        _ => Step::Broken("a key in double quotes"),
    }
}

fn value(byte: u8) -> Step {
    let word = |word| Step::To(State::Word { word, at: 1 });
    match byte {
        b'"' => Step::To(State::Text { key: false }),
        b'{' => Step::OpenObject,
        b'[' => Step::OpenArray,
        b'-' => Step::To(State::Number(Number::Minus)),
        b'0' => Step::To(State::Number(Number::Zero)),
        b'1'..=b'9' => Step::To(State::Number(Number::Whole)),
        b't' => word(b"true"),
        b'f' => word(b"false"),
        b'n' => word(b"null"),
        b'I' => word(b"Infinity"),
        b'T' => word(b"True"),
        b'F' => word(b"False"),
        b'N' => Step::To(State::CapitalN),
        b'\'' | b'(' => Step::Python,
        _ => Step::Broken("a value"),
    }
}

fn after(in_object: bool, byte: u8) -> Step {
    match (byte, in_object) {
        (b',', true) => Step::To(State::Key),
        (b',', false) => Step::To(State::Value),
        (b'}', true) | (b']', false) => Step::Close,
        (_, true) => Step::Broken("`,` or `}`"),
        (_, false) => Step::Broken("`,` or `]`"),
    }
}

fn text(key: bool, byte: u8) -> Step {
    match byte {
        b'"' if key => Step::To(State::Colon),
        b'"' => Step::To(State::After),
        b'\\' => Step::To(State::Escape { key }),
        0..0x20 => Step::Broken("no control character in a string"),
        _ => Step::To(State::Text { key }),
    }
}

fn number_step(number: Number, in_object: bool, byte: u8) -> Step {
    let next = match (number, byte) {
        (Number::Minus, b'I') => return Step::To(State::Word { word: b"Infinity", at: 1 }),
        (Number::Minus, b'0') => Number::Zero,
        (Number::Minus | Number::Whole, b'0'..=b'9') => Number::Whole,
        (Number::Zero | Number::Whole, b'.') => Number::Point,
        (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
        (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::E,
        (Number::E, b'+' | b'-') => Number::Sign,
        (Number::E | Number::Sign | Number::Exponent, b'0'..=b'9') => Number::Exponent,
        (Number::Minus | Number::Point | Number::E | Number::Sign, _) => return Step::Broken("a digit"),
        (Number::Zero | Number::Whole | Number::Fraction | Number::Exponent, _) if is_space(byte) => {
            return Step::To(State::After);
        }
        (Number::Zero | Number::Whole | Number::Fraction | Number::Exponent, _) => return after(in_object, byte),
    };
    Step::To(State::Number(next))
}

fn word_step(word: &'static [u8], at: usize, byte: u8) -> Step {
    if word.get(at) != Some(&byte) {
        return Step::Broken("a value");
    }
    match (at + 1 == word.len(), word) {
        (false, _) => Step::To(State::Word { word, at: at + 1 }),
        (true, b"True" | b"False" | b"None") => Step::Python,
        (true, _) => Step::To(State::After),
    }
}
