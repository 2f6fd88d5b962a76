//! Label selectors in Kubernetes' notation (`k8s.io/apimachinery/pkg/labels`), without the
//! numeric operators `<` and `>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::name::shown;
use crate::notation::syntax::{is_label_key, is_label_value};

/// Longest selector, in bytes.
pub const SELECTOR_MAX: usize = 8192;
/// Most conditions of one selector: each is compared with every run.
pub const CONDITIONS_MAX: usize = 64;

/// A label selector; the default matches everything. Its text form reads back as the same
/// selector and is the same for selectors that were spaced differently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One of the conditions, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    /// Absent, or with another value.
    NotIn(BTreeSet<String>),
}

impl LabelSelector {
    /// Reads a selector: conditions joined by `,`, each one of `key`, `!key`, `key=value`,
    /// `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`. Blank text matches
    /// everything.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > SELECTOR_MAX {
            return Err(format!("the selector has {} bytes; at most {SELECTOR_MAX} are read", text.len()));
        }
        let mut parser = Parser { text, at: 0 };
        if parser.peek().0 == SelectorToken::End {
            return Ok(Self::default());
        }
        let mut requirements = vec![parser.requirement()?];
        loop {
            match parser.next() {
                (SelectorToken::End, _) => return Ok(Self { requirements }),
                (SelectorToken::Comma, at) if requirements.len() == CONDITIONS_MAX => {
                    return Err(format!("the selector has more than {CONDITIONS_MAX} conditions, at byte {at}"));
                }
                (SelectorToken::Comma, _) => requirements.push(parser.requirement()?),
                other => return Err(parser.unexpected(&other, "`,` or the end")),
            }
        }
    }

    /// Whether these labels match.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, test }) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let list = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
            match test {
                Test::Exists => write!(f, "{comma}{key}")?,
                Test::Absent => write!(f, "{comma}!{key}")?,
                // The empty value alone can't be distinguished from no value at all between
                // brackets.
                Test::In(values) if values.len() == 1 => write!(f, "{comma}{key}={}", list(values))?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{comma}{key}!={}", list(values))?,
                Test::In(values) => write!(f, "{comma}{key} in ({})", list(values))?,
                Test::NotIn(values) => write!(f, "{comma}{key} notin ({})", list(values))?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SelectorToken<'a> {
    Word(&'a str),
    Comma,
    Open,
    Close,
    Bang,
    Equals,
    NotEquals,
    End,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// The next token, and the byte at which it begins.
    fn next(&mut self) -> (SelectorToken<'a>, usize) {
        let (token, start, end) = self.scan();
        self.at = end;
        (token, start)
    }

    fn peek(&self) -> (SelectorToken<'a>, usize) {
        let (token, start, _) = self.scan();
        (token, start)
    }

    fn scan(&self) -> (SelectorToken<'a>, usize, usize) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let start = self.at + (rest.len() - trimmed.len());
        let (token, length) = match trimmed.as_bytes() {
            [] => (SelectorToken::End, 0),
            [b',', ..] => (SelectorToken::Comma, 1),
            [b'(', ..] => (SelectorToken::Open, 1),
            [b')', ..] => (SelectorToken::Close, 1),
            [b'!', b'=', ..] => (SelectorToken::NotEquals, 2),
            [b'!', ..] => (SelectorToken::Bang, 1),
            [b'=', b'=', ..] => (SelectorToken::Equals, 2),
            [b'=', ..] => (SelectorToken::Equals, 1),
            _ => {
                let end = trimmed.find([',', '(', ')', '!', '=', ' ', '\t', '\r', '\n']).unwrap_or(trimmed.len());
                (SelectorToken::Word(trimmed.get(..end).unwrap_or_default()), end)
            }
        };
        (token, start, start + length)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek().0 == SelectorToken::Bang;
        if absent {
            self.next();
        }
        let key = match self.next() {
            (SelectorToken::Word(word), at) if !is_label_key(word) => {
                return Err(format!("`{}` at byte {at} is not a valid label key", shown(word)));
            }
            (SelectorToken::Word(word), _) => word.to_owned(),
            other => return Err(self.unexpected(&other, "a label key")),
        };
        let test = if absent { Test::Absent } else { self.test()? };
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, String> {
        match self.peek() {
            (SelectorToken::End | SelectorToken::Comma, _) => Ok(Test::Exists),
            (SelectorToken::Equals, _) => self.value().map(Test::In),
            (SelectorToken::NotEquals, _) => self.value().map(Test::NotIn),
            (SelectorToken::Word("in"), _) => self.values().map(Test::In),
            (SelectorToken::Word("notin"), _) => self.values().map(Test::NotIn),
            other => Err(self.unexpected(&other, "`=`, `!=`, `in`, `notin`, `,` or the end")),
        }
    }

    /// An operator and one value, which may be empty.
    fn value(&mut self) -> Result<BTreeSet<String>, String> {
        self.next();
        match self.peek() {
            (SelectorToken::Word(word), at) => {
                self.next();
                checked_value(word, at).map(|value| BTreeSet::from([value]))
            }
            (SelectorToken::End | SelectorToken::Comma, _) => Ok(BTreeSet::from([String::new()])),
            other => Err(self.unexpected(&other, "a label value")),
        }
    }

    /// An operator and a list in brackets. As in Kubernetes, nothing beside a comma is the empty
    /// value, and nothing at all is an error.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        self.next();
        match self.next() {
            (SelectorToken::Open, _) => {}
            other => return Err(self.unexpected(&other, "`(`")),
        }
        if let (SelectorToken::Close, at) = self.peek() {
            return Err(format!("the list of values that ends at byte {at} is empty; name at least one"));
        }
        let mut values = BTreeSet::new();
        loop {
            match self.peek() {
                (SelectorToken::Word(word), at) => {
                    self.next();
                    values.insert(checked_value(word, at)?);
                }
                _ => {
                    values.insert(String::new());
                }
            }
            match self.next() {
                (SelectorToken::Comma, _) => {}
                (SelectorToken::Close, _) => return Ok(values),
                other => return Err(self.unexpected(&other, "`,` or `)`")),
            }
        }
    }

    fn unexpected(&self, (token, at): &(SelectorToken<'_>, usize), expected: &str) -> String {
        let found = match token {
            SelectorToken::End => return format!("the selector ends at byte {at} where {expected} is expected"),
            SelectorToken::Word(word) => word,
            SelectorToken::Comma => ",",
            SelectorToken::Open => "(",
            SelectorToken::Close => ")",
            SelectorToken::Bang => "!",
            SelectorToken::Equals => "=",
            SelectorToken::NotEquals => "!=",
        };
        format!("`{}` at byte {at} is not expected here; expected {expected}", shown(found))
    }
}

fn checked_value(word: &str, at: usize) -> Result<String, String> {
    if is_label_value(word) {
        Ok(word.to_owned())
    } else {
        Err(format!("`{}` at byte {at} is not a valid label value", shown(word)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split_terminator(',')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    fn matches(selector: &str, set: &str) -> bool {
        LabelSelector::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}")).matches(&labels(set))
    }

    #[test]
    fn what_matches_and_what_does_not() {
        for (selector, yes, no) in [
            ("a", &["a=", "a=1,b=2"][..], &["", "b=2"][..]),
            ("!a", &["", "b=1"], &["a=", "a=1"]),
            ("a=1", &["a=1", "a=1,b=2"], &["", "a=", "a=2", "b=1"]),
            ("a==1", &["a=1"], &["a=2", ""]),
            ("a=", &["a="], &["a=1", ""]),
            ("a!=1", &["a=2", "a=", ""], &["a=1"]),
            ("a!=", &["a=1", ""], &["a="]),
            ("a in (1,2)", &["a=1", "a=2"], &["a=3", "a=", ""]),
            ("a in (1,)", &["a=1", "a="], &["a=2", ""]),
            ("a in (,)", &["a="], &["a=1", ""]),
            ("a notin (1,2)", &["a=3", ""], &["a=1", "a=2"]),
            ("a,b", &["a=,b="], &["a=", "b="]),
            ("app=x,tier in (a,b),!beta", &["app=x,tier=a"], &["app=x,tier=a,beta=1", "app=x", "tier=a"]),
            ("in in (notin)", &["in=notin"], &["in=in"]),
            ("notin", &["notin=1"], &["in=1"]),
            ("example.com/a=v", &["example.com/a=v"], &["a=v"]),
            (" \t a  =\n1 , b ", &["a=1,b="], &["a=1"]),
            ("a in(1)", &["a=1"], &["a=2"]),
            ("", &["", "a=1"], &[]),
            ("  ", &["", "a=1"], &[]),
        ] {
            for set in yes {
                assert!(matches(selector, set), "{selector:?} should match {set:?}");
            }
            for set in no {
                assert!(!matches(selector, set), "{selector:?} should not match {set:?}");
            }
        }
        assert!(LabelSelector::default().matches(&labels("a=1")));
    }

    #[test]
    fn errors_say_what_and_where() {
        for (selector, expected) in [
            (",", "`,` at byte 0 is not expected here; expected a label key"),
            ("a,", "the selector ends at byte 2 where a label key is expected"),
            ("a b", "`b` at byte 2 is not expected here; expected `=`, `!=`, `in`, `notin`, `,` or the end"),
            ("a=b c", "`c` at byte 4 is not expected here; expected `,` or the end"),
            ("a=b=c", "`=` at byte 3 is not expected here; expected `,` or the end"),
            ("!a=b", "`=` at byte 2 is not expected here; expected `,` or the end"),
            ("!!a", "`!` at byte 1 is not expected here; expected a label key"),
            ("a in", "the selector ends at byte 4 where `(` is expected"),
            ("a in b", "`b` at byte 5 is not expected here; expected `(`"),
            ("a in ()", "the list of values that ends at byte 6 is empty; name at least one"),
            ("a in (b", "the selector ends at byte 7 where `,` or `)` is expected"),
            ("a in (b c)", "`c` at byte 8 is not expected here; expected `,` or `)`"),
            ("a=(b)", "`(` at byte 2 is not expected here; expected a label value"),
            ("-a=b", "`-a` at byte 0 is not a valid label key"),
            ("a=-b", "`-b` at byte 2 is not a valid label value"),
            ("a in (x,b/c)", "`b/c` at byte 8 is not a valid label value"),
            ("a>1", "`a>1` at byte 0 is not a valid label key"),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap_err(), expected, "{selector}");
        }
        assert!(LabelSelector::parse(&"a,".repeat(SELECTOR_MAX)).unwrap_err().contains("at most 8192"));
    }

    #[test]
    fn spacing_does_not_change_the_text() {
        let text = |selector| LabelSelector::parse(selector).unwrap().to_string();
        assert_eq!(text(" a == 1 ,b  in ( y ,x,y )"), "a=1,b in (x,y)");
        assert_eq!(text("!  a,c != ,d in (,)"), "!a,c!=,d=");
    }

    fn any_selector() -> impl Strategy<Value = String> {
        let key = "([a-z]{1,3}/)?[a-z]{1,3}";
        let value = "[a-z0-9]{0,3}";
        let requirement = prop_oneof![
            key.prop_map(|k| k),
            key.prop_map(|k| format!("!{k}")),
            (key, prop_oneof!["=", "==", "!="], value).prop_map(|(k, op, v)| format!("{k}{op}{v}")),
            (key, prop_oneof!["in", "notin"], prop::collection::vec(value, 2..4))
                .prop_map(|(k, op, v)| format!("{k} {op} ({})", v.join(", "))),
        ];
        prop::collection::vec(requirement, 0..4).prop_map(|all| all.join(","))
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn never_panics_near_the_grammar(text in "([a-c]|in|notin|[=!(), ]){0,20}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn its_text_reads_back_as_itself(text in any_selector()) {
            let selector = LabelSelector::parse(&text).unwrap();
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }

        #[test]
        fn a_value_is_in_or_not_in(value in "[a-c]?", set in "[a-c]") {
            let set_labels = labels(&format!("k={value}"));
            let is_in = LabelSelector::parse(&format!("k in ({set})")).unwrap().matches(&set_labels);
            let not_in = LabelSelector::parse(&format!("k notin ({set})")).unwrap().matches(&set_labels);
            prop_assert!(is_in != not_in);
        }
    }
}
