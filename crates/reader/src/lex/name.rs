//! Names: the constants of both dialects, and the few calls that are read.

use super::{In, Taken};

/// A name with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Constant(Constant),
    /// What is called, its opening parenthesis included in the length.
    Call(Call),
    /// A keyword of a call, its `=` included in the length.
    Keyword,
}

/// A name that is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constant {
    Null,
    True,
    False,
    /// Not a number.
    Nan,
    /// Infinite; the only one that may have a sign.
    Infinite,
    /// `...`
    Ellipsis,
    /// `datetime.timezone.utc`, `<UTC>`
    Utc,
    /// A value that is missing: `NaT`, `<NA>`.
    Missing,
    /// The name of a NumPy type, such as `float32`: only as the `dtype` of an array.
    Type,
}

/// What prints itself as a call and can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Gives an object; may hold pairs: `OrderedDict([('a', 1)])`.
    OrderedDict,
    /// Gives an object: `Counter({'a': 1})`, `mappingproxy({…})`.
    Mapping,
    /// Gives an object: `defaultdict(<class 'int'>, {…})`.
    DefaultDict,
    /// Gives an array: `set()`, `deque([…], maxlen=3)`.
    Sequence,
    /// Gives an array that may be a key.
    FrozenSet,
    /// Gives a number.
    Decimal,
    /// Gives the string in it: `UUID('…')`, `PosixPath('…')`.
    Named,
    /// Gives the value in it: `np.float64(1.5)`.
    Scalar,
    /// Gives the number that is a string in it: `np.longdouble('1.5')`.
    LongDouble,
    /// Gives an array, or the value in it: `array([1, 2], dtype=int32)`, `array('i', [1, 2])`.
    Array,
    /// Gives the string of `isoformat()`: `Timestamp('2026-01-02 00:00:00+0100', tz='Europe/Paris')`.
    Timestamp,
    /// Gives seconds: `Timedelta('1 days 02:00:00')`.
    PandasDelta,
    /// Gives the string in it: `np.datetime64('2026-01-02')`.
    DateTime64,
    /// Gives seconds: `np.timedelta64(5,'m')`.
    TimeDelta64,
    /// Gives its name: `zoneinfo.ZoneInfo(key='UTC')`.
    ZoneInfo,
    /// Gives `UTC`: `tzutc()`.
    TzUtc,
    Date,
    Time,
    DateTime,
    TimeDelta,
    TimeZone,
}

impl Call {
    /// Whether it gives an object.
    pub(crate) fn is_mapping(self) -> bool {
        matches!(self, Self::OrderedDict | Self::Mapping | Self::DefaultDict)
    }

    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"OrderedDict" => Self::OrderedDict,
            b"Counter" | b"mappingproxy" => Self::Mapping,
            b"defaultdict" => Self::DefaultDict,
            b"set" | b"deque" => Self::Sequence,
            b"frozenset" => Self::FrozenSet,
            b"Decimal" => Self::Decimal,
            b"UUID" | b"PosixPath" | b"WindowsPath" | b"PurePosixPath" | b"PureWindowsPath" => Self::Named,
            b"datetime.date" => Self::Date,
            b"datetime.time" => Self::Time,
            b"datetime.datetime" => Self::DateTime,
            b"datetime.timedelta" => Self::TimeDelta,
            b"datetime.timezone" => Self::TimeZone,
            b"np.float16" | b"np.float32" | b"np.float64" | b"np.int8" | b"np.int16" | b"np.int32" | b"np.int64"
            | b"np.uint8" | b"np.uint16" | b"np.uint32" | b"np.uint64" | b"np.longlong" | b"np.ulonglong"
            | b"np.complex64" | b"np.complex128" | b"np.str_" => Self::Scalar,
            b"np.longdouble" => Self::LongDouble,
            b"np.datetime64" => Self::DateTime64,
            b"np.timedelta64" => Self::TimeDelta64,
            b"array" => Self::Array,
            b"Timestamp" => Self::Timestamp,
            b"Timedelta" => Self::PandasDelta,
            b"zoneinfo.ZoneInfo" => Self::ZoneInfo,
            b"tzutc" => Self::TzUtc,
            _ => return None,
        })
    }
}

/// Longest name with a meaning, and some more.
pub(crate) const NAME_MAX_BYTES: usize = 32;

/// The name that `bytes` begins with, its length, and where it is one. `None`: it has no meaning, or
/// more bytes are needed, which [`undecided`] knows.
pub(crate) fn name(bytes: &[u8]) -> Option<(Name, usize, In)> {
    if let Some((constant, len, valid)) = common(bytes) {
        return Some((Name::Constant(constant), len, valid));
    }
    let len = len(bytes);
    let word = bytes.get(..len)?;
    let constant = |constant, valid| Some((Name::Constant(constant), len, valid));
    match word {
        b"true" => return constant(Constant::True, In::JSON),
        b"false" => return constant(Constant::False, In::JSON),
        b"null" => return constant(Constant::Null, In::JSON),
        b"NaN" => return constant(Constant::Nan, In::JSON),
        b"Infinity" => return constant(Constant::Infinite, In::JSON),
        b"True" | b"np.True_" => return constant(Constant::True, In::PYTHON),
        b"False" | b"np.False_" => return constant(Constant::False, In::PYTHON),
        b"None" => return constant(Constant::Null, In::PYTHON),
        b"nan" => return constant(Constant::Nan, In::PYTHON),
        b"inf" => return constant(Constant::Infinite, In::PYTHON),
        b"..." => return constant(Constant::Ellipsis, In::PYTHON),
        b"datetime.timezone.utc" => return constant(Constant::Utc, In::PYTHON),
        b"NaT" => return constant(Constant::Missing, In::PYTHON),
        b"bool" | b"object" | b"int8" | b"int16" | b"int32" | b"int64" | b"uint8" | b"uint16" | b"uint32"
        | b"uint64" | b"float16" | b"float32" | b"float64" | b"float128" | b"longdouble" | b"complex64"
        | b"complex128" => return constant(Constant::Type, In::PYTHON),
        _ => {}
    }
    match bytes.get(len) {
        Some(b'(') => Call::of(word).map(|call| (Name::Call(call), len + 1, In::PYTHON)),
        Some(b'=') if len > 0 && !word.contains(&b'.') => Some((Name::Keyword, len + 1, In::PYTHON)),
        _ => None,
    }
}

/// The constants that are everywhere, if what follows can't be part of a name.
fn common(bytes: &[u8]) -> Option<(Constant, usize, In)> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    let (constant, len, valid) = match (word, rest.first()) {
        (b"null", _) => (Constant::Null, 4, In::JSON),
        (b"None", _) => (Constant::Null, 4, In::PYTHON),
        (b"true", _) => (Constant::True, 4, In::JSON),
        (b"True", _) => (Constant::True, 4, In::PYTHON),
        (b"fals", Some(b'e')) => (Constant::False, 5, In::JSON),
        (b"Fals", Some(b'e')) => (Constant::False, 5, In::PYTHON),
        _ => return None,
    };
    matches!(bytes.get(len), Some(b',' | b']' | b'}' | b')')).then_some((constant, len, valid))
}

/// Whether more bytes are needed to know which name `bytes` begins with.
pub(crate) fn undecided(bytes: &[u8]) -> bool {
    let len = len(bytes);
    len == bytes.len() && len < NAME_MAX_BYTES
}

/// A value in angle brackets: the constant, and how many bytes it takes; no bytes if more are
/// needed. `None`: it is another, or none.
pub(crate) fn angle_constant(bytes: &[u8]) -> Option<(Constant, usize)> {
    let known = [(b"<NA>".as_slice(), Constant::Missing), (b"<UTC>".as_slice(), Constant::Utc)];
    known.into_iter().find_map(|(text, constant)| match bytes.starts_with(text) {
        true => Some((constant, text.len())),
        false if text.starts_with(bytes) => Some((constant, 0)),
        false => None,
    })
}

/// Longest `<class 'int'>`, in bytes.
const ANGLE_MAX_BYTES: usize = 256;

/// `<class 'int'>` and the like: brackets that close one another on one line.
pub(crate) fn angle(bytes: &[u8]) -> Taken {
    let mut depth = 0_usize;
    for (index, byte) in bytes.iter().take(ANGLE_MAX_BYTES).enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth -= 1,
            b'\n' | b'\r' | 0 => return Taken::Broken(index),
            _ => {}
        }
        if depth == 0 {
            return Taken::End(index + 1);
        }
    }
    if bytes.len() < ANGLE_MAX_BYTES { Taken::More(0) } else { Taken::Broken(ANGLE_MAX_BYTES) }
}

/// Whether all of `bytes` may be the beginning of a name with a meaning, or of a string's prefix.
pub(crate) fn may_become(bytes: &[u8]) -> bool {
    let prefix = bytes.len() <= 2 && bytes.iter().all(|byte| matches!(byte.to_ascii_lowercase(), b'r' | b'u' | b'b'));
    prefix || NAMES.iter().any(|name| name.as_bytes().starts_with(bytes))
}

/// Names with a meaning, or their first letters.
const NAMES: [&str; 42] = [
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "True",
    "False",
    "None",
    "nan",
    "inf",
    "...",
    "np.True_",
    "np.False_",
    "np.float",
    "np.long",
    "np.int",
    "np.uint",
    "np.ulonglong",
    "np.complex",
    "np.str_",
    "np.datetime64",
    "np.timedelta64",
    "OrderedDict",
    "Counter",
    "mappingproxy",
    "defaultdict",
    "set",
    "deque",
    "frozenset",
    "Decimal",
    "UUID",
    "PosixPath",
    "WindowsPath",
    "PurePosixPath",
    "datetime.",
    "NaT",
    "array",
    "Timestamp",
    "Timedelta",
    "PureWindowsPath",
    "zoneinfo.ZoneInfo",
    "tzutc",
];

/// The call whose name `bytes` ends with.
pub(crate) fn call_before(bytes: &[u8]) -> Option<(Call, usize)> {
    let len = bytes.iter().rev().take(NAME_MAX_BYTES).take_while(|byte| name_byte(**byte)).count();
    Call::of(bytes.get(bytes.len() - len..)?).map(|call| (call, len))
}

pub(crate) fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')
}

fn len(bytes: &[u8]) -> usize {
    bytes.iter().take(NAME_MAX_BYTES).take_while(|byte| name_byte(**byte)).count()
}
