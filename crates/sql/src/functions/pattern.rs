//! Functions of regular expressions, in the syntax of the crate `regex`.

use std::cell::RefCell;

use longshore_sqlite::{Output, Value};
use regex::{Captures, Regex, RegexBuilder};

use super::shown;

/// The most bytes that a compiled pattern may have.
const PATTERN_BYTES: usize = 1024 * 1024;

/// Patterns are constants nearly always, so a few are kept for the next row.
const KEPT: usize = 8;

thread_local! {
    static COMPILED: RefCell<Vec<(String, Regex)>> = const { RefCell::new(Vec::new()) };
}

fn with_pattern<T>(pattern: &str, work: impl FnOnce(&Regex) -> T) -> Result<T, String> {
    COMPILED.with_borrow_mut(|kept| {
        if let Some(place) = kept.iter().position(|(text, _)| text == pattern) {
            return kept.get(place).map(|(_, regex)| work(regex)).ok_or_else(String::new);
        }
        let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
        let regex =
            built.map_err(|error| format!("{} is not a valid pattern: {error}", shown(Value::Text(pattern))))?;
        let result = work(&regex);
        kept.truncate(KEPT - 1);
        kept.insert(0, (pattern.to_owned(), regex));
        Ok(result)
    })
}

/// The value as text, which numbers are too.
fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Null | Value::Blob(_) => None,
    }
}

fn texts<const N: usize>(values: &[Value<'_>]) -> Option<[String; N]> {
    let texts: Vec<String> = values.iter().take(N).map(|value| text(*value)).collect::<Option<_>>()?;
    texts.try_into().ok()
}

/// `regexp(pattern, text)`, which is `text REGEXP pattern`.
pub(super) fn regexp(arguments: &[Value<'_>]) -> Result<Output, String> {
    let Some([pattern, text]) = texts(arguments) else { return Ok(Output::Null) };
    with_pattern(&pattern, |regex| Output::Integer(i64::from(regex.is_match(&text))))
}

/// `regexp_like(text, pattern)`
pub(super) fn regexp_like(arguments: &[Value<'_>]) -> Result<Output, String> {
    match arguments {
        [text, pattern] => regexp(&[*pattern, *text]),
        _ => Ok(Output::Null),
    }
}

/// `regexp_replace(text, pattern, replacement[, flags])`: replaces the first match, or all with the flag `g`; `i`
/// ignores case. `\1` stands for the first group, `\0` or `\&` for the match.
pub(super) fn regexp_replace(arguments: &[Value<'_>]) -> Result<Output, String> {
    let Some([text, pattern, replacement]) = texts(arguments) else { return Ok(Output::Null) };
    let flags = match arguments.get(3) {
        None => "",
        Some(Value::Text(flags)) if flags.chars().all(|flag| matches!(flag, 'g' | 'i' | 'c')) => flags,
        Some(Value::Null) => return Ok(Output::Null),
        Some(other) => return Err(format!("regexp_replace: {} are not flags (known: g, i, c)", shown(*other))),
    };
    let pattern = if flags.contains('i') { format!("(?i){pattern}") } else { pattern };
    let limit = usize::from(!flags.contains('g'));
    with_pattern(&pattern, |regex| {
        let replaced = regex.replacen(&text, limit, |found: &Captures<'_>| expand(&replacement, found));
        Output::Text(replaced.into_owned())
    })
}

fn expand(replacement: &str, found: &Captures<'_>) -> String {
    let group = |index: usize| found.get(index).map_or("", |group| group.as_str());
    let mut text = String::with_capacity(replacement.len());
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some('&')) => text.push_str(group(0)),
            ('\\', Some(digit @ '0'..='9')) => text.push_str(group(digit as usize - '0' as usize)),
            ('\\', Some('\\')) => text.push('\\'),
            _ => {
                text.push(character);
                continue;
            }
        }
        characters.next();
    }
    text
}

/// `regexp_extract(text, pattern[, group])`: the first match or a group of it; NULL if there is none.
pub(super) fn regexp_extract(arguments: &[Value<'_>]) -> Result<Output, String> {
    let Some([text, pattern]) = texts(arguments) else { return Ok(Output::Null) };
    let group = match arguments.get(2) {
        None => 0,
        Some(Value::Integer(group)) => usize::try_from(*group).map_err(|_| "regexp_extract: a group counts from 0")?,
        Some(other) => return Err(format!("regexp_extract: {} is not the number of a group", shown(*other))),
    };
    with_pattern(&pattern, |regex| {
        let found = regex.captures(&text).and_then(|found| Some(found.get(group)?.as_str().to_owned()));
        found.map_or(Output::Null, Output::Text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::Text as T;

    #[test]
    fn replacements() {
        let url = "https://www.example.com/x";
        for (arguments, expected) in [
            (vec![T(url), T(r"^https?://(?:www\.)?([^/]+)/.*$"), T(r"\1")], "example.com"),
            (vec![T("a-b-c"), T("-"), T("+")], "a+b-c"),
            (vec![T("a-b-c"), T("-"), T(r"\\$1"), T("g")], r"a\$1b\$1c"),
            (vec![T("AbA"), T("a"), T("[\\&]"), T("gi")], "[A]b[A]"),
            (vec![T("abc"), T("(x)?b"), T(r"<\1\9>")], "a<>c"),
            (vec![Value::Integer(2026), T("2"), T("x")], "x026"),
        ] {
            assert_eq!(regexp_replace(&arguments), Ok(Output::Text(expected.into())), "{arguments:?}");
        }
        assert_eq!(regexp_replace(&[Value::Null, T("a"), T("b")]), Ok(Output::Null));
        assert!(regexp_replace(&[T("a"), T("("), T("b")]).unwrap_err().contains("not a valid pattern"));
        assert!(regexp_replace(&[T("a"), T("a"), T("b"), T("q")]).unwrap_err().contains("flags"));
    }

    #[test]
    fn matches() {
        assert_eq!(regexp(&[T("^a.c$"), T("abc")]), Ok(Output::Integer(1)));
        assert_eq!(regexp_like(&[T("abc"), T("^b")]), Ok(Output::Integer(0)));
        assert_eq!(regexp_extract(&[T("id=42"), T(r"\d+")]), Ok(Output::Text("42".into())));
        assert_eq!(regexp_extract(&[T("id=42"), T(r"(\w+)=(\d+)"), Value::Integer(1)]), Ok(Output::Text("id".into())));
        assert_eq!(regexp_extract(&[T("id"), T(r"\d+")]), Ok(Output::Null));
        for _ in 0..2 {
            for n in 0..20 {
                assert_eq!(regexp(&[T(&format!("^{n}$")), T(&n.to_string())]), Ok(Output::Integer(1)));
            }
        }
    }
}
