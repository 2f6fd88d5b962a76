//! Checks brackets and what is in them against the grammars of JSON and of Python literals at once,
//! as the bytes come, without making values of them.
//!
//! Every open bracket is a frame. What is not JSON ends JSON for all frames that are open then, and
//! not for those that open later; the same with Python. A frame for which both have ended is dead:
//! the caller is notified, and decides what becomes of it.

use super::lex::{
    Constant, In, Name, Number, NumberKind, Prefix, Taken, Text, angle, angle_constant, color, may_become, name,
    short_number, short_text, space, undecided,
};
use super::offsets::Offsets;

mod frame;

use frame::{BraceShape, Last, State};
pub(super) use frame::{Frame, FrameKind, Span};

/// Open brackets and what is known of them.
#[derive(Debug)]
pub(super) struct Syntax {
    allowed: In,
    max_depth: usize,
    frames: Vec<Frame>,
    /// The first frame that may still be JSON.
    json_from: usize,
    /// The first frame that may still be a Python literal.
    python_from: usize,
    /// Open brackets beyond the depth that is read. While there are any, only brackets and strings
    /// are looked at.
    deep: u64,
    /// Where it became too deep.
    too_deep_at: Option<u64>,
    /// The string or number that is on its way, and where it began.
    token: Option<(SyntaxToken, u64)>,
    /// Just after the opening quote of the last string, or of the first of those that are side by side.
    last_text: Option<u64>,
    /// Whether there was a string in single quotes.
    single_quotes: bool,
    /// Whether there was something that compact JSON has not, so far.
    loose: bool,
}

#[derive(Debug)]
enum SyntaxToken {
    Text(Text, u64),
    Number(Number),
}

/// What came of the bytes that were taken.
#[derive(Debug)]
pub(super) enum SyntaxEvent {
    /// They are all good, and more are needed.
    More,
    /// The outermost bracket closed.
    Closed(Closed),
    /// Frames died.
    Failed(SyntaxFailure),
}

/// A value that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// From its first byte to its last.
    pub(super) whole: Span,
    /// The object that it is, if it is one, without parentheses around it.
    pub(super) object: Option<Span>,
}

/// What can't stand where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyntaxFailure {
    /// The byte; of a word of many that is refused as a whole, the one after it.
    pub(super) at: u64,
    /// Where the word begins that it is in.
    pub(super) token: u64,
    /// What could stand there.
    pub(super) expected: &'static str,
    /// How many frames died, from the outermost on.
    pub(super) dead: usize,
    /// Whether some frame could take the word, and has.
    pub(super) taken: bool,
}

/// One step.
enum Step {
    /// So many bytes were taken.
    On(usize),
    /// So many were taken, and the next ones are needed to go on.
    More(usize),
    /// So many were taken, and this came of it.
    Event(usize, SyntaxEvent),
}

impl Syntax {
    pub(super) fn new(allowed: In, max_depth: usize) -> Self {
        Self {
            allowed,
            max_depth,
            frames: Vec::new(),
            json_from: 0,
            python_from: 0,
            deep: 0,
            too_deep_at: None,
            token: None,
            last_text: None,
            single_quotes: false,
            loose: false,
        }
    }

    /// Open frames, the outermost first.
    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Where it became too deep, if it did.
    pub(super) fn too_deep_at(&self) -> Option<u64> {
        self.too_deep_at
    }

    /// Just after the opening quote of the last string that began after `start`.
    pub(super) fn last_text(&self, start: u64) -> Option<u64> {
        self.last_text.filter(|at| *at > start)
    }

    /// Lets go of the string that is on its way, if there is one: where it began.
    pub(super) fn drop_text(&mut self) -> Option<u64> {
        let (_, start) = self.token.take_if(|(token, _)| matches!(token, SyntaxToken::Text(..)))?;
        Some(start)
    }

    /// Whether strings stood in single quotes.
    pub(super) fn has_single_quotes(&self) -> bool {
        self.single_quotes
    }

    /// Opens the outermost bracket, which begins at `start`.
    pub(super) fn open(&mut self, kind: FrameKind, start: u64, at: u64) {
        self.clear();
        self.frames.push(Frame::new(kind, start, at));
    }

    /// Forgets all frames.
    pub(super) fn clear(&mut self) {
        *self = Self { frames: std::mem::take(&mut self.frames), ..Self::new(self.allowed, self.max_depth) };
        self.frames.clear();
    }

    /// Forgets the `dead` outermost frames.
    pub(super) fn bury(&mut self, dead: usize) {
        self.frames.drain(..dead.min(self.frames.len()));
        self.json_from = self.json_from.saturating_sub(dead);
        self.python_from = self.python_from.saturating_sub(dead);
        if self.frames.is_empty() {
            self.clear();
        }
    }

    /// Takes bytes, of which the first is at `pos`, up to the first event; says how many.
    pub(super) fn take(&mut self, bytes: &[u8], pos: u64, end: bool, offsets: &Offsets) -> (usize, SyntaxEvent) {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let here = pos + at as u64;
            // One space is what stands between most words, and a branch that is mostly guessed right.
            if rest.first() == Some(&b' ') && self.token.is_none() && self.deep == 0 {
                self.loose = true;
                at += 1;
                continue;
            }
            let step =
                if self.token.is_some() { self.go_on(rest, here, end) } else { self.next(rest, here, end, offsets) };
            match step {
                Step::On(len) => at += len,
                Step::More(len) => return (at + len, SyntaxEvent::More),
                Step::Event(len, event) => return (at + len, event),
            }
        }
    }

    /// How deep brackets may be nested.
    pub(super) fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// In which dialects the innermost frame is right so far.
    fn live(&self) -> In {
        let open = self.frames.len();
        In { json: self.json_from < open, python: self.python_from < open }.and(self.allowed)
    }

    fn next(&mut self, rest: &[u8], pos: u64, end: bool, offsets: &Offsets) -> Step {
        let Some(&byte) = rest.first() else { return Step::More(0) };
        if self.deep > 0 {
            return self.next_deep(byte, rest, pos, end);
        }
        match byte {
            b'"' | b'\'' => self.quote(byte, rest, pos, end),
            b'0'..=b'9' => self.digits(rest, pos),
            b',' => self.judge(pos, 1, self.top().comma(), Self::pass_comma),
            b':' => self.judge(pos, 1, self.top().colon(), Self::pass_colon),
            b' ' | b'\n' | b'\r' | b'\t' => {
                self.loose = true;
                Step::On(rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count())
            }
            b'{' | b'[' | b'(' => self.open_bracket(byte, pos, offsets),
            b'}' | b']' | b')' => self.close_bracket(byte, pos, offsets),
            b'-' | b'+' => self.sign(byte, pos),
            b'.' if rest.len() == 1 => Step::More(0),
            b'.' if rest.get(1) != Some(&b'.') => self.open_number(pos),
            b'<' if self.top().takes_angle() => self.angle(rest, pos),
            b'<' => self.angle_constant(rest, pos),
            0x1b => match color(rest) {
                Taken::End(len) => {
                    self.loose = true;
                    Step::On(len)
                }
                Taken::More(_) => Step::More(0),
                Taken::Broken(_) => self.judge(pos, 1, In::NONE, |_, _| ()),
            },
            b'.' | b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.word(rest, pos, end, offsets),
            _ => match space(byte) {
                Some(valid) => self.judge(pos, 1, valid, |_, _| ()),
                None => self.judge(pos, 1, In::NONE, |_, _| ()),
            },
        }
    }

    /// Beyond the depth that is read.
    fn next_deep(&mut self, byte: u8, rest: &[u8], pos: u64, end: bool) -> Step {
        match byte {
            b'"' | b'\'' => return self.open_text(rest, pos, end),
            b'{' | b'[' | b'(' => self.deep += 1,
            b'}' | b']' | b')' => self.deep -= 1,
            _ => {
                match color(rest) {
                    Taken::End(len) => return Step::On(len),
                    Taken::More(_) if byte == 0x1b && !end => return Step::More(0),
                    Taken::More(_) | Taken::Broken(_) => {}
                }
                let brackets =
                    |byte: &u8| matches!(byte, 0x1b | b'{' | b'[' | b'(' | b'}' | b']' | b')' | b'"' | b'\'');
                return Step::On(rest.iter().skip(1).take_while(|byte| !brackets(byte)).count() + 1);
            }
        }
        if self.deep == 0 {
            self.value(Last::Other);
        }
        Step::On(1)
    }

    fn open_text(&mut self, rest: &[u8], pos: u64, end: bool) -> Step {
        let Some(prefix) = Prefix::of(rest) else { return Step::More(0) };
        let quoted = rest.get(prefix.len..).unwrap_or_default();
        let Some((mut text, quotes)) = Text::open(quoted, prefix, self.live(), end) else { return Step::More(0) };
        if self.deep == 0 {
            text.valid = text.valid.and(self.top().text());
        }
        let len = prefix.len + quotes;
        if !text.valid.any() {
            return self.judge(pos, len, In::NONE, |_, _| ());
        }
        self.single_quotes |= quoted.first() == Some(&b'\'');
        self.token = Some((SyntaxToken::Text(text, pos + len as u64), pos));
        Step::On(len)
    }

    /// A string without prefix.
    fn quote(&mut self, quote: u8, rest: &[u8], pos: u64, end: bool) -> Step {
        let text = Text::single(quote, self.live().and(self.top().text()));
        if !text.valid.any() {
            return self.judge(pos, 1, In::NONE, |_, _| ());
        }
        self.single_quotes |= quote == b'\'';
        match short_text(rest, quote) {
            Ok(len) => self.end_text(text, pos + 1, pos, (pos, len)),
            Err(0) => self.open_text(rest, pos, end),
            Err(plain) => {
                // What is plain needs no second look.
                self.token = Some((SyntaxToken::Text(text, pos + 1), pos));
                Step::On(1 + plain)
            }
        }
    }

    /// A number that begins with a digit.
    fn digits(&mut self, rest: &[u8], pos: u64) -> Step {
        let valid = self.top().number(pos, false);
        match short_number(rest) {
            Some(len) if valid.and(self.live()).any() => {
                self.judge(pos, len, valid, |syntax, _| syntax.value(Last::Real))
            }
            _ => self.open_number(pos),
        }
    }

    fn open_number(&mut self, pos: u64) -> Step {
        let place = self.top().number(pos, self.top().is_complex());
        let live = self.live().and(place);
        if !live.any() {
            return self.judge(pos, 1, In::NONE, |_, _| ());
        }
        self.token = Some((SyntaxToken::Number(Number::new(live)), pos));
        Step::On(0)
    }

    /// Goes on with a string or number.
    fn go_on(&mut self, rest: &[u8], pos: u64, end: bool) -> Step {
        let Some((token, start)) = &mut self.token else { return Step::On(0) };
        let start = *start;
        let taken = match token {
            SyntaxToken::Text(text, _) => text.take(rest, end),
            SyntaxToken::Number(number) => number.take(rest, end),
        };
        match taken {
            Taken::More(len) => Step::More(len),
            Taken::Broken(len) => {
                let expected = match (&self.token, rest.get(len)) {
                    (Some((SyntaxToken::Number(_), _)), _) => "a number",
                    (_, Some(b'\\')) => "an escape that is known",
                    (_, Some(b'\n' | b'\r')) => "the end of the string before the end of the line",
                    (_, Some(0..0x20)) => "no control character in a string",
                    _ => "a string",
                };
                self.token = None;
                let dead = self.kill(In::NONE);
                let at = pos + len as u64;
                let failure = SyntaxFailure { at, token: start, expected, dead, taken: false };
                Step::Event(len, SyntaxEvent::Failed(failure))
            }
            Taken::End(len) => match self.token.take() {
                Some((SyntaxToken::Text(text, content), _)) => self.end_text(text, content, start, (pos, len)),
                Some((SyntaxToken::Number(number), _)) => self.end_number(number, start, (pos, len)),
                None => Step::On(len),
            },
        }
    }

    fn end_text(&mut self, text: Text, content: u64, start: u64, (pos, len): (u64, usize)) -> Step {
        if self.deep > 0 {
            return Step::On(len);
        }
        self.judged(start, pos + len as u64, len, text.valid, |syntax, _| {
            syntax.loose |= text.has_surrogates;
            // Strings side by side are one: if a quote opened where it seemed to close, it was the first.
            if !syntax.top().is_after_text() {
                syntax.last_text = Some(content);
            }
            syntax.value(Last::Text);
        })
    }

    fn end_number(&mut self, number: Number, start: u64, (pos, len): (u64, usize)) -> Step {
        let imaginary = number.kind() == NumberKind::Imaginary;
        let valid = number.valid.and(self.top().number(start, imaginary));
        let last = if imaginary || self.top().is_complex() { Last::Other } else { Last::Real };
        self.judged(start, pos + len as u64, len, valid, |syntax, _| syntax.value(last))
    }

    fn sign(&mut self, byte: u8, pos: u64) -> Step {
        let valid = self.top().sign(byte);
        self.judge(pos, 1, valid, |syntax, pos| {
            if let Some(top) = syntax.frames.last_mut() {
                top.take_sign(byte, pos);
            }
        })
    }

    /// A name, or a string with a prefix.
    fn word(&mut self, rest: &[u8], pos: u64, end: bool, offsets: &Offsets) -> Step {
        if matches!(rest.first(), Some(b'r' | b'R' | b'b' | b'B' | b'u' | b'U')) && Prefix::of(rest).is_some() {
            return self.open_text(rest, pos, end);
        }
        if undecided(rest) && (!end || may_become(rest)) {
            return Step::More(0);
        }
        match name(rest) {
            Some((Name::Constant(Constant::Type), len, _)) if self.top().takes_type() => {
                self.judge(pos, len, In::PYTHON, |syntax, _| syntax.value(Last::Other))
            }
            Some((Name::Constant(constant), len, valid)) if constant != Constant::Type => {
                let valid = valid.and(self.top().constant(pos, constant == Constant::Infinite));
                self.judge(pos, len, valid, |syntax, _| {
                    syntax.loose |= matches!(constant, Constant::Nan | Constant::Infinite);
                    syntax.value(Last::Other);
                })
            }
            Some((Name::Call(call), len, valid)) => {
                let (valid, at) = (valid.and(self.top().value()), offsets.at(pos));
                self.judge(pos, len, valid, |syntax, pos| syntax.push(FrameKind::Call(call), pos, at))
            }
            Some((Name::Keyword, len, valid)) => {
                let valid = valid.and(self.top().keyword());
                self.judge(pos, len, valid, |syntax, _| {
                    if let Some(top) = syntax.frames.last_mut() {
                        top.state = State::Value;
                    }
                })
            }
            Some((Name::Constant(_), ..)) | None => self.judge(pos, 1, In::NONE, |_, _| ()),
        }
    }

    /// `<NA>` and the like.
    fn angle_constant(&mut self, rest: &[u8], pos: u64) -> Step {
        match angle_constant(rest) {
            Some((_, 0)) => Step::More(0),
            None => self.judge(pos, 1, In::NONE, |_, _| ()),
            Some((_, len)) => {
                let valid = In::PYTHON.and(self.top().constant(pos, false));
                self.judge(pos, len, valid, |syntax, _| syntax.value(Last::Other))
            }
        }
    }

    /// `<class 'int'>` and the like, as the first thing in `defaultdict(`.
    fn angle(&mut self, rest: &[u8], pos: u64) -> Step {
        match angle(rest) {
            Taken::End(len) => self.judge(pos, len, In::PYTHON, |syntax, _| syntax.value(Last::Other)),
            Taken::Broken(_) => self.judge(pos, 1, In::NONE, |_, _| ()),
            Taken::More(_) => Step::More(0),
        }
    }

    fn open_bracket(&mut self, byte: u8, pos: u64, offsets: &Offsets) -> Step {
        let kind = FrameKind::of(byte);
        let valid = self.top().bracket(kind);
        let at = offsets.at(pos);
        self.judge(pos, 1, valid, |syntax, pos| syntax.push(kind, pos, at))
    }

    fn push(&mut self, kind: FrameKind, pos: u64, at: u64) {
        if self.frames.len() >= self.max_depth {
            self.deep = 1;
            self.too_deep_at.get_or_insert(pos);
        } else {
            self.frames.push(Frame::new(kind, pos, at));
        }
    }

    fn close_bracket(&mut self, byte: u8, pos: u64, offsets: &Offsets) -> Step {
        let valid = self.top().close(byte);
        let dead = self.kill(valid);
        if dead == self.frames.len() {
            return self.refused(pos, pos, dead);
        }
        let live = self.live();
        let range_end = offsets.at(pos) + 1;
        let Some(frame) = self.frames.pop() else { return Step::On(1) };
        self.json_from = self.json_from.min(self.frames.len());
        self.python_from = self.python_from.min(self.frames.len());
        let whole =
            Span { start: frame.start, end: pos + 1, range: (frame.at, range_end), valid: live, compact: !self.loose };
        let object = frame.object(whole);
        let Some(parent) = self.frames.last_mut() else {
            return Step::Event(1, SyntaxEvent::Closed(Closed { whole, object }));
        };
        if object.is_some() {
            parent.child = object;
        }
        self.value(frame.as_last(object.is_some()));
        self.step_to(pos, 1, dead)
    }

    /// What can follow, by the innermost frame.
    fn top(&self) -> &Frame {
        self.frames.last().unwrap_or(&Frame::NONE)
    }

    /// The innermost frame has a value.
    fn value(&mut self, last: Last) {
        if let Some(top) = self.frames.last_mut() {
            top.take_value(last);
        }
    }

    fn pass_comma(&mut self, _: u64) {
        if let Some(top) = self.frames.last_mut() {
            top.take_comma();
        }
    }

    fn pass_colon(&mut self, _: u64) {
        if let Some(top) = self.frames.last_mut() {
            top.shape = BraceShape::Dict;
            top.state = State::Value;
        }
    }

    /// Ends dialects for all open frames; says how many frames are dead now.
    fn kill(&mut self, valid: In) -> usize {
        if valid == In::BOTH {
            // The dead of before are buried.
            return 0;
        }
        let open = self.frames.len();
        if !valid.json {
            self.json_from = open;
        }
        if !valid.python {
            self.python_from = open;
        }
        let json = if self.allowed.json { self.json_from } else { open };
        let python = if self.allowed.python { self.python_from } else { open };
        json.min(python).min(open)
    }

    fn judge(&mut self, pos: u64, len: usize, valid: In, take: impl FnOnce(&mut Self, u64)) -> Step {
        self.judged(pos, pos, len, valid, take)
    }

    /// Takes a word that began at `token`, of which `len` bytes are new, if a frame can.
    fn judged(&mut self, token: u64, seen: u64, len: usize, valid: In, take: impl FnOnce(&mut Self, u64)) -> Step {
        let dead = self.kill(valid);
        if dead == self.frames.len() {
            // A word of many bytes is refused with its last.
            return self.refused(seen, token, dead);
        }
        take(self, token);
        self.step_to(token, len, dead)
    }

    fn step_to(&self, pos: u64, len: usize, dead: usize) -> Step {
        if dead == 0 {
            return Step::On(len);
        }
        let failure = SyntaxFailure { at: pos, token: pos, expected: "the same dialect as before", dead, taken: true };
        Step::Event(len, SyntaxEvent::Failed(failure))
    }

    fn refused(&self, at: u64, token: u64, dead: usize) -> Step {
        let expected = self.frames.last().map_or("a value", Frame::expected);
        Step::Event(0, SyntaxEvent::Failed(SyntaxFailure { at, token, expected, dead, taken: false }))
    }
}
