//! Which tables and columns a statement may use, by the words that it has. Only these are loaded.
//!
//! More may be mentioned than is used: a word may be an alias, or a text. What is used is always mentioned, because
//! SQL has no other way to name it than to write its name; but for `*`, NATURAL joins and SQLite's own schema.

use std::collections::HashSet;

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The words of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMentions {
    /// In lower case.
    words: HashSet<String>,
    all_tables: bool,
    all_columns: bool,
}

impl TableMentions {
    /// Those of the statement that `tokens` are.
    pub(super) fn of(tokens: &[TokenWithSpan]) -> Self {
        let mut mentions = Self { words: HashSet::new(), all_tables: false, all_columns: false };
        let mut previous = None;
        for token in tokens.iter().map(|token| &token.token) {
            match token {
                Token::Whitespace(_) => continue,
                Token::Word(word) => {
                    mentions.all_columns |= is_keyword(word, &["NATURAL"]);
                    mentions.take(&word.value);
                }
                // SQLite takes a text for a name where it expects one.
                Token::SingleQuotedString(text) => mentions.take(text),
                Token::Mul => mentions.all_columns |= begins_wildcard(previous),
                _ => {}
            }
            previous = Some(token);
        }
        mentions
    }

    fn take(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        if word.starts_with("sqlite_") || word == "dbstat" {
            self.all_tables = true;
            self.all_columns = true;
        }
        self.words.insert(word);
    }

    /// Whether the table `name` may be used.
    pub(super) fn table(&self, name: &str) -> bool {
        self.all_tables || self.words.contains(&name.to_ascii_lowercase())
    }

    /// Whether the column `name` of a table that is used may be used.
    pub(super) fn column(&self, name: &str) -> bool {
        self.all_columns || self.words.contains(&name.to_ascii_lowercase())
    }
}

fn is_keyword(word: &Word, keywords: &[&str]) -> bool {
    word.quote_style.is_none() && keywords.iter().any(|keyword| word.value.eq_ignore_ascii_case(keyword))
}

/// Whether a `*` after `previous` stands for columns. As a product it follows a name, a value or a parenthesis, and in
/// `count(*)` it stands for rows.
fn begins_wildcard(previous: Option<&Token>) -> bool {
    match previous {
        Some(Token::Word(word)) => is_keyword(word, &["SELECT", "DISTINCT", "ALL", "RETURNING"]),
        Some(Token::Comma | Token::Period) | None => true,
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::SQLiteDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn of(sql: &str) -> TableMentions {
        TableMentions::of(&Tokenizer::new(&SQLiteDialect {}, sql).tokenize_with_location().unwrap())
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        let mentions = of("SELECT A, \"b b\", [c], `d`, t.e FROM 'f' JOIN g USING (h) WHERE i IN j -- k");
        for name in ["a", "B B", "c", "d", "e", "f", "t", "g", "h", "i", "j"] {
            assert!(mentions.table(name) && mentions.column(name), "{name}");
        }
        assert!(!mentions.table("k") && !mentions.column("k"));
    }

    #[test]
    fn what_stands_for_all_columns() {
        for sql in [
            "SELECT * FROM t",
            "SELECT DISTINCT * FROM t",
            "SELECT t.* FROM t",
            "SELECT 1, * FROM t",
            "SELECT a FROM t NATURAL JOIN u",
            "SELECT /* x */ * FROM t",
            "SELECT a FROM (SELECT * FROM t)",
            "SELECT sql FROM sqlite_schema",
        ] {
            assert!(of(sql).column("z"), "{sql}");
        }
        for sql in ["SELECT count(*) FROM t", "SELECT a * b, 2*c, (d) * e FROM t", "SELECT count ( * ) FROM t"] {
            assert!(!of(sql).column("z"), "{sql}");
        }
        assert!(of("SELECT * FROM sqlite_master").table("t") && !of("SELECT * FROM u").table("t"));
    }
}
