//! SQLite's messages with what helps to correct the query: the tables there are, or their columns.

use super::error::shorten;
use super::name::did_you_mean;

const HINT_BYTES: usize = 1200;

/// A table that was loaded, with all columns of its file.
#[derive(Debug)]
pub(super) struct LoadedTable {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// `message` of SQLite, with a hint where there is one.
///
/// `known` has the names of all tables there are, `tables` those that the statement uses.
pub(super) fn explain(message: &str, known: &[String], tables: &[LoadedTable]) -> String {
    let hint = if let Some(name) = message.strip_prefix("no such table: ") {
        let near = did_you_mean(unqualified(name), known.iter().map(String::as_str));
        format!("{near} (tables: {})", known.join(", "))
    } else if let Some(name) = message.strip_prefix("no such column: ") {
        let columns = tables.iter().flat_map(|table| table.columns.iter().map(String::as_str));
        let near = did_you_mean(unqualified(name), columns);
        let shapes: Vec<String> =
            tables.iter().map(|table| format!("{}({})", table.name, table.columns.join(", "))).collect();
        format!("{near} (columns: {})", shapes.join(", "))
    } else if let Some(name) = message.strip_prefix("no such function: ").filter(|name| needs_a_flag(name)) {
        format!(
            "; this build of Longshore lacks {name}(): SQLite was built without the flags that .cargo/config.toml in \
             Longshore's repository sets (LIBSQLITE3_FLAGS), so build it from within the repository"
        )
    } else if let Some(name) = message.strip_prefix("no such function: ") {
        equivalent(name).map(|way| format!("; SQLite has {way}")).unwrap_or_default()
    } else if let Some(name) = reserved(message, known) {
        format!("; {name} is a word of SQL: write the table's name in double quotes, as \"{name}\"")
    } else {
        String::new()
    };
    shorten(format!("{message}{hint}"), HINT_BYTES)
}

/// The table at whose name the syntax breaks, since it is a word of SQL too.
fn reserved<'a>(message: &str, known: &'a [String]) -> Option<&'a str> {
    let word = message.strip_prefix("near \"")?.strip_suffix("\": syntax error")?;
    known.iter().find(|name| name.eq_ignore_ascii_case(word)).map(String::as_str)
}

/// What SQLite's SQL has for a function of other systems.
fn equivalent(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "now" | "getdate" | "sysdate" | "localtimestamp" => "datetime('now')",
        "curdate" | "today" => "date('now')",
        "to_char" | "date_format" | "format_date" => "strftime('%Y-%m', x)",
        "to_date" | "str_to_date" | "strptime" | "to_timestamp" => "substr() and || to build YYYY-MM-DD",
        "datediff" | "date_diff" | "timestampdiff" => {
            "the difference of two dates in days: b - a, or julianday(b) - julianday(a)"
        }
        "dateadd" | "date_add" | "date_sub" => "date(x, '+7 days')",
        "weekday" | "dayofweek" => "date_part('dow', x)",
        "len" | "char_length" | "character_length" => "length(x)",
        "left" => "substr(x, 1, n)",
        "right" => "substr(x, -n)",
        "position" | "strpos" | "charindex" | "locate" => "instr(text, part)",
        "split_part" => "substr() with instr(), or regexp_extract(text, pattern, group)",
        "nvl" | "isnull" => "ifnull(x, y)",
        "if" => "iif(condition, x, y)",
        "greatest" => "max(x, y)",
        "least" => "min(x, y)",
        "array_agg" | "list" | "collect_list" => "json_group_array(x)",
        "listagg" => "group_concat(x, ', ')",
        "bool_and" | "every" => "min(x)",
        "bool_or" => "max(x)",
        "approx_count_distinct" => "count(DISTINCT x)",
        "safe_divide" => "x / nullif(y, 0)",
        "lpad" | "rpad" => "printf('%5s', x)",
        "initcap" => "upper(substr(x, 1, 1)) || lower(substr(x, 2))",
        _ => return None,
    })
}

/// Whether SQLite has this function only if it was built with SQLITE_ENABLE_MATH_FUNCTIONS or
/// SQLITE_ENABLE_PERCENTILE.
fn needs_a_flag(name: &str) -> bool {
    const FLAGGED: [&str; 33] = [
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "ceil",
        "ceiling",
        "cos",
        "cosh",
        "degrees",
        "exp",
        "floor",
        "ln",
        "log",
        "log10",
        "log2",
        "median",
        "mod",
        "percentile",
        "percentile_cont",
        "percentile_disc",
        "pi",
        "pow",
        "power",
        "radians",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
        "trunc",
    ];
    FLAGGED.iter().any(|flagged| name.eq_ignore_ascii_case(flagged))
}

/// The last part of `a.b`, without what SQLite adds after it.
fn unqualified(name: &str) -> &str {
    let name = name.split(" - ").next().unwrap_or(name);
    name.rsplit('.').next().unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_called_as_a_word_of_sql_is_quoted() {
        let known = ["orders".to_owned(), "order".to_owned()];
        let sentence = explain("near \"ORDER\": syntax error", &known, &[]);
        assert!(
            sentence.ends_with("order is a word of SQL: write the table's name in double quotes, as \"order\""),
            "{sentence}"
        );
        assert_eq!(explain("near \"group\": syntax error", &known, &[]), "near \"group\": syntax error");
    }

    #[test]
    fn hints() {
        let table = |name: &str, columns: &[&str]| LoadedTable {
            name: name.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
        };
        let tables = [table("orders", &["id", "status"]), table("customers", &["id", "name"])];
        let cases = [
            (
                "no such table: order",
                "no such table: order; did you mean \"orders\"? (tables: orders, customers, never_used)",
            ),
            ("no such table: zzz", "no such table: zzz (tables: orders, customers, never_used)"),
            (
                "no such column: o.staus",
                "no such column: o.staus; did you mean \"status\"? (columns: orders(id, status), customers(id, name))",
            ),
            ("near \"FROM\": syntax error", "near \"FROM\": syntax error"),
            (
                "no such function: sqrt",
                "no such function: sqrt; this build of Longshore lacks sqrt(): SQLite was built without the flags that \
                 .cargo/config.toml in Longshore's repository sets (LIBSQLITE3_FLAGS), so build it from within the \
                 repository",
            ),
            ("no such function: foo", "no such function: foo"),
            ("no such function: NVL", "no such function: NVL; SQLite has ifnull(x, y)"),
        ];
        let known = ["orders".to_owned(), "customers".to_owned(), "never_used".to_owned()];
        for (message, explained) in cases {
            assert_eq!(explain(message, &known, &tables), explained);
        }
    }
}
