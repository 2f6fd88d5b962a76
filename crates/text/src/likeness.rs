//! Names that may have been meant: by one metric, at one threshold.

/// Longest name that is compared, in characters: the cost grows with the product of the lengths, and a name may come
/// from anybody.
const COMPARED_MAX: usize = 64;

/// How many letters have to be inserted, left out, replaced or swapped with their neighbour to make `known` of `typed`,
/// without regard to case (Damerau-Levenshtein). Only their first 64 characters are compared.
#[must_use]
pub fn edits(typed: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&compared(typed), &compared(known))
}

/// Those of `known` that may have been meant by `typed`, the most alike first: they differ by at most a third of its
/// letters (one of two letters), or one begins with the other.
#[must_use]
pub fn alike<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = compared(typed);
    let letters = wanted.chars().count();
    if letters < 2 || typed.chars().nth(COMPARED_MAX).is_some() {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in known {
        let other = compared(name);
        let begins = other.len() > 1 && (other.starts_with(&wanted) || wanted.starts_with(&other));
        let distance = strsim::damerau_levenshtein(&wanted, &other);
        if begins || distance <= (letters / 3).max(1) {
            found.push((distance, name));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// The most alike of [`alike`].
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    alike(typed, known).into_iter().next()
}

/// All of `known`, the most alike to `typed` first.
#[must_use]
pub fn nearest_first<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = known.into_iter().collect();
    names.sort_by_cached_key(|name| edits(typed, name));
    names
}

fn compared(name: &str) -> String {
    name.chars().take(COMPARED_MAX).map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        let known =
            ["dataset", "files", "sql", "max_rows", "timeout_seconds", "run", "logs", "mount_path", "completion"];
        for (typed, meant) in [
            ("dataset_id", "dataset"),
            ("datset", "dataset"),
            ("timeout", "timeout_seconds"),
            ("maxRows", "max_rows"),
            ("file", "files"),
            ("FILES", "files"),
            ("rnu", "run"),
            ("lgos", "logs"),
            ("mount", "mount_path"),
            ("comp", "completion"),
        ] {
            assert_eq!(nearest(typed, known), Some(meant), "{typed}");
        }
        for typed in ["", "r", "zzz", "date", &"s".repeat(100_000)] {
            assert_eq!(nearest(typed, known), None, "{typed:.10}");
        }
    }

    #[test]
    fn the_most_alike_comes_first() {
        let known = ["orders", "order", "order_items", "boarder", "x"];
        assert_eq!(alike("order", known), ["order", "orders", "order_items"]);
        assert_eq!(nearest_first("order", known), ["order", "orders", "boarder", "x", "order_items"]);
    }

    #[test]
    fn an_edit_is_one_letter_or_two_that_are_swapped() {
        for (typed, known, count) in [("cancle", "cancel", 1), ("delet", "delete", 1), ("DELETES", "delete", 1)] {
            assert_eq!(edits(typed, known), count, "{typed}");
        }
        assert_eq!(edits("delete-all", "delete"), 4);
    }
}
