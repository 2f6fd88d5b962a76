//! Text for people: names, times, and what keeps a terminal whole.

use std::time::Duration;

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use longshore_api::enums::short_name;
use longshore_api::v1::{FailureClass, FailureReason, RunState};
use longshore_runtime::printable::is_bidi_control;

/// `text` on one line, without characters that a terminal would act upon.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            '\r' => {}
            c if c.is_control() || is_bidi_control(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// As [`clean`], but with its lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// `text` in at most `width` columns, cut with `…` if it is longer.
pub(crate) fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut out: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used < width
        })
        .collect();
    if width > 0 {
        out.push('…');
    }
    out
}

/// A time span, to be read at a glance: `0.4 s`, `12 s`, `3m05s`, `2h`, `7d`, `5d03h`. Parts that are zero are left out.
pub(crate) fn human(span: Duration) -> String {
    let seconds = span.as_secs();
    let parts = |large: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small:02}{small_unit}"),
    };
    match seconds {
        0..10 if span.subsec_millis() >= 50 => format!("{:.1} s", span.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3_600 => parts(seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => parts(seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => parts(seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    }
}

/// A time span in one unit, as kubectl prints ages: `45s`, `12m`, `5h`, `3d`.
pub(crate) fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time of the wire, if it is one.
pub(crate) fn time(wire: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    longshore_api::time::time(&wire?)
}

/// From one time to another; nothing if either is missing, zero if clocks disagree.
pub(crate) fn span(from: Option<prost_types::Timestamp>, to: Option<prost_types::Timestamp>) -> Option<Duration> {
    Some(time_span(time(from)?, time(to)?))
}

/// From one time to another; zero if clocks disagree.
pub(crate) fn time_span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A wire duration for people.
pub(crate) fn duration(wire: &prost_types::Duration) -> String {
    human(Duration::try_from(*wire).unwrap_or_default())
}

/// A number of bytes for people: `512 B`, `1.5 KiB`, `3.0 MiB`.
#[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
pub(crate) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    if value < 1024.0 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}

/// `RUNNING`.
pub(crate) fn state_name(state: i32) -> String {
    short_name::<RunState>(state)
}

/// `USER`.
pub(crate) fn class_name(class: i32) -> String {
    short_name::<FailureClass>(class)
}

/// `OOM_KILLED`.
pub(crate) fn reason_name(reason: i32) -> String {
    short_name::<FailureReason>(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(clean("a\nb\tc\r\x1b[31m\x07\u{202e}ü"), "a b c\\u{1b}[31m\\u{7}\\u{202e}ü");
    }

    #[test]
    fn long_text_is_cut_by_columns() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdef", 5), "abcd…");
        assert_eq!(clip("日本語日本語", 6), "日本…");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(clip("abc", 1), "…");
    }

    #[test]
    fn spans_at_a_glance() {
        let table = [
            (0.0, "0 s"),
            (0.02, "0 s"),
            (0.44, "0.4 s"),
            (5.0, "5 s"),
            (9.94, "9.9 s"),
            (59.9, "59 s"),
            (60.0, "1m"),
            (185.0, "3m05s"),
            (3600.0, "1h"),
            (3601.0, "1h"),
            (7620.0, "2h07m"),
            (86_400.0, "1d"),
            (604_800.0, "7d"),
            (615_600.0, "7d03h"),
        ];
        for (seconds, wanted) in table {
            assert_eq!(human(Duration::from_secs_f64(seconds)), wanted);
        }
        assert_eq!(human(Duration::MAX), "213503982334601d07h");
        assert_eq!(age(Duration::from_secs(119)), "119s");
        assert_eq!(age(Duration::from_secs(60 * 60 * 5)), "5h");
    }

    #[test]
    fn times_that_are_none() {
        let wire = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        assert_eq!(time(wire(i64::MAX, 0)), None);
        assert_eq!(span(wire(10, 0), wire(5, 0)), Some(Duration::ZERO));
        assert_eq!(span(wire(5, 0), wire(6, 500_000_000)), Some(Duration::from_millis(1500)));
        assert_eq!(duration(&prost_types::Duration { seconds: -3, nanos: -7 }), "0 s");
    }

    #[test]
    fn sizes() {
        for (bytes, wanted) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (-5, "-5 B")] {
            assert_eq!(size(bytes), wanted);
        }
    }
}
