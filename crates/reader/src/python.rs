//! Makes compact JSON of a Python literal that the syntax accepts.
//!
//! Tuples and sets become arrays. A key that is no string becomes its JSON text. `nan` and `inf`
//! become null. Halves of surrogate pairs become U+FFFD, each. Integers keep their digits, in base
//! 10. Complex numbers become the string that Python prints. Bytes and `...` have no form in JSON,
//! so that what holds them can't be read. Calls: see [`calls`].

use super::compact::{Changes, unique};
use super::lex::{
    Call, Constant, In, Name, Number, NumberKind, Prefix, Taken, Text, angle, angle_constant, color, name,
    short_number, short_text, space,
};

mod calls;
mod numbers;
mod strings;
mod times;

use calls::Argument;

/// Stands for the opening parenthesis of what turned out to be no tuple. No JSON text has it.
const DROPPED: u8 = 0x01;

/// Why a literal can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// What stands at this byte of it has no form in JSON, or is no such value.
    At(usize, &'static str),
    /// Its JSON has more bytes than are kept.
    TooLarge,
}

/// JSON of `raw`, an object, of at most `max_bytes`.
pub(super) fn rewrite(raw: &[u8], max_bytes: usize) -> Result<(String, Changes), Unreadable> {
    let mut writer = Writer::new(max_bytes, str::from_utf8(raw).is_ok());
    writer.out.reserve_exact(raw.len().min(max_bytes));
    let mut at = 0;
    while at < raw.len() {
        let rest = raw.get(at..).unwrap_or_default();
        writer.at = at;
        at += writer.step(rest)?.max(1);
        if writer.out.len() > max_bytes {
            return Err(Unreadable::TooLarge);
        }
    }
    let Writer { mut out, mut changes, dropped, .. } = writer;
    if dropped {
        out.retain(|byte| *byte != DROPPED);
    }
    let text = String::from_utf8(out).map_err(|_| Unreadable::At(0, "text that is not Unicode"))?;
    Ok((unique(text, &mut changes), changes))
}

/// What a value is, as far as what it stands in cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueClass {
    Text,
    Integer,
    Number,
    Constant,
    /// An array that may be a key, or not.
    Array {
        hashable: bool,
    },
    Object,
}

impl ValueClass {
    fn hashable(self) -> bool {
        !matches!(self, Self::Object | Self::Array { hashable: false })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LiteralKind {
    /// Braces; whether they are known to be a dict's or a set's.
    Brace {
        dict: bool,
        set: bool,
    },
    List,
    Paren,
    /// The list of pairs in `OrderedDict([…])`, which is written as an object.
    Pairs,
    /// One of them.
    Pair,
    Call(Call),
}

#[derive(Debug)]
struct LiteralFrame {
    kind: LiteralKind,
    /// Where it begins in the literal.
    at: usize,
    /// Where it begins in what is written.
    open: usize,
    /// Where the present item begins there.
    item: usize,
    commas: usize,
    /// The present item, if there is one.
    value: Option<ValueClass>,
    /// Whether all items so far may be keys.
    hashable: bool,
    arguments: Vec<Argument>,
    keyword: Option<&'static str>,
}

#[derive(Debug)]
struct Writer {
    out: Vec<u8>,
    /// Whether all of the literal is UTF-8.
    is_utf8: bool,
    max_bytes: usize,
    /// Where the present word begins in the literal.
    at: usize,
    frames: Vec<LiteralFrame>,
    /// The sign before a number.
    sign: Option<u8>,
    /// Whether the last word was a string.
    after_text: bool,
    /// The sign after a real part, before an imaginary one.
    after_sign: Option<u8>,
    /// Where an integer stands in what is written that was a negative zero: as a real part it is one.
    negative_zero: Option<usize>,
    changes: Changes,
    dropped: bool,
}

impl Writer {
    fn new(max_bytes: usize, is_utf8: bool) -> Self {
        Self {
            out: Vec::new(),
            is_utf8,
            max_bytes,
            at: 0,
            frames: Vec::new(),
            sign: None,
            after_text: false,
            after_sign: None,
            negative_zero: None,
            changes: Changes::default(),
            dropped: false,
        }
    }

    fn error<T>(&self, what: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable::At(self.at, what))
    }

    /// Takes the word that `rest` begins with; says how long it is.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Unreadable> {
        let Some(&byte) = rest.first() else { return Ok(0) };
        if byte == b' ' {
            return Ok(1);
        }
        if matches!(byte, b'"' | b'\'' | b'r' | b'R' | b'u' | b'U' | b'b' | b'B')
            && let Some(prefix) = Prefix::of(rest)
        {
            return self.text(rest, prefix);
        }
        if space(byte).is_some() {
            return Ok(rest.iter().take_while(|byte| space(**byte).is_some()).count());
        }
        if byte == 0x1b {
            let (Taken::End(len) | Taken::More(len) | Taken::Broken(len)) = color(rest);
            return Ok(len);
        }
        self.after_text = false;
        match byte {
            b'{' | b'[' | b'(' => self.open(byte),
            b'}' | b']' | b')' => self.close()?,
            b',' => self.comma()?,
            b':' => self.colon()?,
            b'+' | b'-' => self.take_sign(byte),
            b'<' => return self.angle(rest),
            b'0'..=b'9' => return self.number(rest),
            b'.' if rest.get(1) != Some(&b'.') => return self.number(rest),
            _ => return self.word(rest),
        }
        Ok(1)
    }

    fn push(&mut self, kind: LiteralKind) {
        let open = self.out.len();
        self.frames.push(LiteralFrame {
            kind,
            at: self.at,
            open,
            item: open,
            commas: 0,
            value: None,
            hashable: true,
            arguments: Vec::new(),
            keyword: None,
        });
    }

    fn open(&mut self, bracket: u8) {
        let parent = self.frames.last().map(|frame| (frame.kind, frame.commas));
        let (kind, written) = match (parent, bracket) {
            (Some((LiteralKind::Call(Call::OrderedDict), 0)), b'[') => (LiteralKind::Pairs, Some(b'{')),
            (Some((LiteralKind::Pairs, _)), b'[' | b'(') => (LiteralKind::Pair, None),
            (_, b'{') => (LiteralKind::Brace { dict: false, set: false }, Some(b'{')),
            (_, b'(') => (LiteralKind::Paren, Some(b'[')),
            _ => (LiteralKind::List, Some(b'[')),
        };
        self.push(kind);
        self.out.extend(written);
        if let Some(frame) = self.frames.last_mut() {
            frame.item = self.out.len();
        }
    }

    /// A value is written.
    fn value(&mut self, value: ValueClass) -> Result<(), Unreadable> {
        self.sign = None;
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.value = Some(value);
        frame.hashable &= value.hashable();
        if frame.kind == LiteralKind::Pairs {
            return self.error("an OrderedDict of something other than pairs");
        }
        Ok(())
    }

    fn take_sign(&mut self, byte: u8) {
        match self.frames.last() {
            Some(LiteralFrame { value: Some(_), .. }) => self.after_sign = Some(byte),
            _ => self.sign = Some(byte),
        }
    }

    fn comma(&mut self) -> Result<(), Unreadable> {
        self.end_item()?;
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.commas += 1;
        match frame.kind {
            LiteralKind::Pair if frame.commas == 1 => return self.key(),
            LiteralKind::Pair => {}
            LiteralKind::Brace { dict: false, .. } => {
                frame.kind = LiteralKind::Brace { dict: false, set: true };
                self.out.push(b',');
            }
            LiteralKind::Call(_) => {}
            LiteralKind::Brace { .. } | LiteralKind::List | LiteralKind::Paren | LiteralKind::Pairs => {
                self.out.push(b',')
            }
        }
        let len = self.out.len();
        if let Some(frame) = self.frames.last_mut() {
            frame.item = len;
            frame.value = None;
        }
        Ok(())
    }

    /// What has to be right of an item that is complete.
    fn end_item(&mut self) -> Result<(), Unreadable> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let Some(value) = frame.value else { return Ok(()) };
        match frame.kind {
            LiteralKind::Call(_) => {
                let argument = Argument { name: frame.keyword.take(), start: frame.item, end: self.out.len(), value };
                frame.arguments.push(argument);
                if frame.arguments.len() > calls::MOST_ARGUMENTS {
                    return self.error("a call with so many arguments");
                }
            }
            LiteralKind::Brace { dict: false, .. } if !value.hashable() => {
                return self.error("a list, dict or set in a set");
            }
            _ => {}
        }
        Ok(())
    }

    fn colon(&mut self) -> Result<(), Unreadable> {
        if let Some(frame) = self.frames.last_mut() {
            frame.kind = LiteralKind::Brace { dict: true, set: false };
        }
        self.key()
    }

    /// What was written last is a key.
    fn key(&mut self) -> Result<(), Unreadable> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let (item, value) = (frame.item, frame.value.take());
        if value.is_some_and(|value| !value.hashable()) {
            return self.error("a list, dict or set as a key");
        }
        if self.out.get(item) != Some(&b'"') {
            let key: Vec<u8> = self.out.split_off(item.min(self.out.len()));
            let key: Vec<u8> = key.into_iter().filter(|byte| *byte != DROPPED).collect();
            if key.first() == Some(&b'"') {
                self.out.extend(key);
            } else {
                self.out.push(b'"');
                for byte in key {
                    if matches!(byte, b'"' | b'\\') {
                        self.out.push(b'\\');
                    }
                    self.out.push(byte);
                }
                self.out.push(b'"');
            }
        }
        self.out.push(b':');
        let len = self.out.len();
        if let Some(frame) = self.frames.last_mut() {
            frame.item = len;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        self.end_item()?;
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let trailing = frame.value.is_none() && frame.commas > 0;
        if trailing && !matches!(frame.kind, LiteralKind::Call(_) | LiteralKind::Pair) {
            self.out.pop();
        }
        let value = match frame.kind {
            LiteralKind::Brace { set: false, dict } if dict || frame.value.is_none() => {
                self.out.push(b'}');
                ValueClass::Object
            }
            LiteralKind::Brace { .. } => {
                self.patch(frame.open, b'[');
                self.out.push(b']');
                ValueClass::Array { hashable: false }
            }
            LiteralKind::List => {
                self.out.push(b']');
                ValueClass::Array { hashable: false }
            }
            LiteralKind::Paren => match frame.value {
                Some(value) if frame.commas == 0 => {
                    self.patch(frame.open, DROPPED);
                    self.dropped = true;
                    value
                }
                _ => {
                    self.out.push(b']');
                    ValueClass::Array { hashable: frame.hashable }
                }
            },
            LiteralKind::Pairs => {
                self.out.push(b'}');
                ValueClass::Object
            }
            LiteralKind::Pair => return self.close_pair(&frame),
            LiteralKind::Call(call) => self.close_call(call, &frame)?,
        };
        self.value(value)
    }

    fn close_pair(&mut self, frame: &LiteralFrame) -> Result<(), Unreadable> {
        let whole = match (frame.commas, frame.value) {
            (1, Some(_)) => true,
            // A comma after the second.
            (2, None) => true,
            _ => false,
        };
        if !whole {
            return self.error("an OrderedDict of something other than pairs");
        }
        if let Some(pairs) = self.frames.last_mut() {
            pairs.value = Some(ValueClass::Object);
        }
        Ok(())
    }

    fn patch(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.out.get_mut(at) {
            *place = byte;
        }
    }

    /// `<NA>`; or `<class 'int'>`, of which nothing is written.
    fn angle(&mut self, rest: &[u8]) -> Result<usize, Unreadable> {
        if let Some((constant, len @ 1..)) = angle_constant(rest) {
            return self.constant(constant).map(|()| len);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.value = Some(ValueClass::Constant);
        }
        let (Taken::End(len) | Taken::Broken(len) | Taken::More(len)) = angle(rest);
        Ok(len)
    }

    fn word(&mut self, rest: &[u8]) -> Result<usize, Unreadable> {
        let Some((name, len, _)) = name(rest) else { return self.error("a name") };
        match name {
            Name::Constant(constant) => self.constant(constant)?,
            Name::Call(call) => self.push(LiteralKind::Call(call)),
            Name::Keyword => {
                let keyword = calls::keyword(rest.get(..len - 1).unwrap_or_default());
                let Some(keyword) = keyword else { return self.error("an argument of this name") };
                let item = self.out.len();
                if let Some(frame) = self.frames.last_mut() {
                    frame.keyword = Some(keyword);
                    frame.item = item;
                }
            }
        }
        Ok(len)
    }

    fn constant(&mut self, constant: Constant) -> Result<(), Unreadable> {
        let (text, value) = match constant {
            Constant::Null | Constant::Missing => ("null", ValueClass::Constant),
            Constant::Type => ("", ValueClass::Constant),
            Constant::True => ("true", ValueClass::Constant),
            Constant::False => ("false", ValueClass::Constant),
            Constant::Nan | Constant::Infinite => {
                self.changes.nans += 1;
                ("null", ValueClass::Number)
            }
            Constant::Utc => ("\"UTC\"", ValueClass::Text),
            Constant::Ellipsis => return self.error("`...`, which has no form in JSON"),
        };
        self.out.extend_from_slice(text.as_bytes());
        self.value(value)
    }

    fn number(&mut self, rest: &[u8]) -> Result<usize, Unreadable> {
        if let Some(len) = short_number(rest) {
            let digits = rest.get(..len).unwrap_or_default();
            let value = if digits.contains(&b'.') { ValueClass::Number } else { ValueClass::Integer };
            self.minus(digits == b"0");
            self.out.extend_from_slice(digits);
            self.value(value)?;
            return Ok(len);
        }
        let mut number = Number::new(In::PYTHON);
        let (Taken::End(len) | Taken::More(len) | Taken::Broken(len)) = number.take(rest, true);
        let digits = rest.get(..len).unwrap_or_default();
        let value = match number.kind() {
            NumberKind::Imaginary => return self.imaginary(digits).map(|()| len),
            NumberKind::Float => {
                self.minus(false);
                numbers::float(digits, &mut self.out);
                ValueClass::Number
            }
            NumberKind::Integer => {
                self.minus(digits.iter().all(|digit| matches!(digit, b'0' | b'_')));
                numbers::integer(digits, &mut self.out);
                ValueClass::Integer
            }
            NumberKind::Radix(base) => {
                let Some(text) = numbers::radix(digits, base) else {
                    return self.error("an integer of so many digits that are not decimal");
                };
                self.minus(text == "0");
                self.out.extend_from_slice(text.as_bytes());
                ValueClass::Integer
            }
        };
        self.value(value)?;
        Ok(len)
    }

    /// Writes the sign of a negative number; an integer that is zero has none.
    fn minus(&mut self, zero: bool) {
        let negative = self.sign == Some(b'-');
        self.out.extend((negative && !zero).then_some(b'-'));
        if negative && zero {
            self.negative_zero = Some(self.out.len());
        }
    }

    /// The imaginary part of a complex number, after its real part or alone.
    fn imaginary(&mut self, digits: &[u8]) -> Result<(), Unreadable> {
        let item = self.frames.last().map_or(0, |frame| frame.item);
        let mut text = Vec::with_capacity(digits.len() + 4);
        text.push(b'"');
        if let Some(sign) = self.after_sign.take() {
            text.push(b'(');
            text.extend((self.negative_zero == Some(item)).then_some(b'-'));
            text.extend(self.out.split_off(item.min(self.out.len())).into_iter().filter(|byte| *byte != DROPPED));
            text.push(sign);
        }
        text.extend((self.sign == Some(b'-')).then_some(b'-'));
        text.extend(digits.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase));
        if text.get(1) == Some(&b'(') {
            text.push(b')');
        }
        text.push(b'"');
        self.out.extend(text);
        self.value(ValueClass::Text)
    }

    fn text(&mut self, rest: &[u8], prefix: Prefix) -> Result<usize, Unreadable> {
        let quoted = rest.get(prefix.len..).unwrap_or_default();
        if prefix.len == 0
            && let Some(&quote) = quoted.first()
            && let Ok(len) = short_text(quoted, quote)
        {
            return self.push_text(quoted.get(1..len - 1).unwrap_or_default(), false, 1).map(|()| len);
        }
        let Some((mut text, quotes)) = Text::open(quoted, prefix, In::PYTHON, true) else {
            return self.error("a string");
        };
        if text.bytes {
            return self.error("bytes, which have no form in JSON: decode them, or write them as base64");
        }
        let content = quoted.get(quotes..).unwrap_or_default();
        let Taken::End(len) = text.take(content, true) else { return self.error("a string") };
        let content = content.get(..len - text.quotes()).unwrap_or_default();
        self.push_text(content, text.raw, prefix.len + quotes)?;
        Ok(prefix.len + quotes + len)
    }

    /// Writes what stands between quotes, `before` bytes after the present word's beginning.
    fn push_text(&mut self, content: &[u8], raw: bool, before: usize) -> Result<(), Unreadable> {
        if self.after_text && self.out.last() == Some(&b'"') {
            self.out.pop();
        } else {
            self.out.push(b'"');
        }
        strings::write(content, raw, self.is_utf8, self.max_bytes, &mut self.out, &mut self.changes)
            .map_err(|error| error.moved(self.at + before))?;
        self.out.push(b'"');
        self.after_text = true;
        self.value(ValueClass::Text)
    }
}

impl Unreadable {
    fn moved(self, by: usize) -> Self {
        match self {
            Self::At(at, what) => Self::At(at + by, what),
            Self::TooLarge => Self::TooLarge,
        }
    }
}
