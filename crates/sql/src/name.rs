//! Names: of tables, of data sets, and what somebody probably meant.

/// The most bytes a table name may have.
const TABLE_NAME_BYTES: usize = 64;

/// The table that a file called `file_name` becomes: its name without the extension, `.gz` apart.
///
/// # Errors
/// The rest of a sentence that begins with the field, if that is not a usable table name.
pub(super) fn table_name(file_name: &str) -> Result<String, String> {
    let name = file_name.strip_suffix(".gz").unwrap_or(file_name);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let head = stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let tail = stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !head || !tail || stem.len() > TABLE_NAME_BYTES {
        return Err(format!(
            "{stem:?} can't be a table name; use letters, digits and _, no digit first, at most {TABLE_NAME_BYTES}"
        ));
    }
    if is_reserved_table(stem) {
        return Err(format!("{stem:?} can't be a table name: sqlite_ and pragma_ are SQLite's own prefixes"));
    }
    Ok(stem.to_owned())
}

/// What the names of the built-in data sets begin with.
pub(super) const DEMO: &str = "demo/";

/// Whether `name` may be a data set, an operator's or a built-in one.
pub(super) fn is_dataset(name: &str) -> bool {
    is_dataset_name(name.strip_prefix(DEMO).unwrap_or(name))
}

/// Whether `name` may be a data set of the operator's: one path component without surprises.
pub(super) fn is_dataset_name(name: &str) -> bool {
    name.len() <= TABLE_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn is_reserved_table(name: &str) -> bool {
    has_prefix(name, "sqlite_") || is_pragma(name)
}

/// Whether `name` is one of the table-valued functions by which SQLite gives access to its PRAGMAs.
pub(super) fn is_pragma(name: &str) -> bool {
    has_prefix(name, "pragma_")
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// The member of `known` that may have been meant, as the rest of a sentence: `; did you mean …?`, or nothing.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    longshore_text::nearest(name, known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names() {
        for (file, table) in [
            ("orders.csv", "orders"),
            ("orders", "orders"),
            ("_x9.CSV", "_x9"),
            ("Orders.txt", "Orders"),
            ("a.csv.gz", "a"),
        ] {
            assert_eq!(table_name(file).as_deref(), Ok(table));
        }
        let long = "x".repeat(65);
        for file in [
            "",
            ".csv",
            "9lives.csv",
            "my-data.csv",
            "a.b.csv",
            "x;drop.csv",
            "tête.csv",
            "a b.csv",
            "../a.csv",
            "sqlite_x.csv",
            "PRAGMA_y.csv",
            &long,
        ] {
            assert!(table_name(file).is_err(), "{file}");
        }
    }

    #[test]
    fn dataset_names_are_single_components() {
        for good in ["shop", "shop-2025", "2025_q1"] {
            assert!(is_dataset_name(good) && is_dataset(good), "{good}");
        }
        assert!(is_dataset("demo/shop") && !is_dataset_name("demo/shop"));
        for bad in ["demo/", "demo/../etc", "demo/demo/shop", "other/shop"] {
            assert!(!is_dataset(bad), "{bad}");
        }
        for bad in ["", ".", "..", "a/b", "/etc", "-x", "a.b", "a\0b", "é"] {
            assert!(!is_dataset_name(bad), "{bad}");
        }
    }
}
