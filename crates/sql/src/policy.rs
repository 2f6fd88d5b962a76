//! What SQL may run: exactly one statement that reads, `SELECT`, `WITH … SELECT` or `VALUES`.
//!
//! This is decided on the syntax tree, never by searching for words, so a column called `created_at` or a text that
//! says `drop table` is nobody's business. SQL that the parser does not understand is not run. Reading SQLite's own
//! schema (`sqlite_schema`) is allowed: it reports no more than the tables' names and columns.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectName, Select, Statement, Visit, Visitor};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use tokio::sync::oneshot;

use super::error::{RunError, shorten};
use super::mentions::TableMentions;
use super::name::is_pragma;

/// How deep expressions and subqueries may nest.
const DEPTH: usize = 200;

/// A chain such as `1+1+…` becomes a tree as deep as it is long, and the tree is walked and freed by recursion. With
/// SQL of at most 64 KiB this is some 8 KiB of stack for each level. Only what is used of it becomes real memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// A statement that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OneQuery {
    /// The statement, without its semicolon and what follows it.
    pub(super) sql: String,
    pub(super) mentions: TableMentions,
}

/// The one statement in `sql`.
///
/// # Errors
/// [`RunError::Policy`] if `sql` is anything but one statement that reads, [`RunError::Execution`] if it has a syntax
/// error.
pub(super) async fn one_query(sql: &str) -> Result<OneQuery, RunError> {
    let text = sql.to_owned();
    on_deep_stack(move || check(&text).map(|(sql, mentions)| OneQuery { sql: sql.to_owned(), mentions })).await
}

/// Does work on a syntax tree on a thread of its own, for its stack, and so that a time limit may leave it behind.
///
/// # Errors
/// Those of `work`, or [`RunError::Internal`].
pub(super) async fn on_deep_stack<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("sql-policy".into())
        .stack_size(STACK_BYTES)
        .spawn(move || answer.send(work()))
        .map_err(|error| RunError::Internal(format!("no thread to check the SQL: {error}")))?;
    answered.await.unwrap_or_else(|_| Err(RunError::Internal("the SQL check ended without a verdict".into())))
}

/// The syntax tree of a statement that was let through; to be used within [`on_deep_stack`].
///
/// # Errors
/// [`RunError::Internal`], since it was read before.
pub(super) fn parse_query(sql: &str) -> Result<Statement, RunError> {
    let parser = Parser::new(&SQLiteDialect {}).with_recursion_limit(DEPTH);
    let parsed = parser.try_with_sql(sql).and_then(|mut parser| parser.parse_statement());
    parsed.map_err(|error| RunError::Internal(format!("the SQL could not be read again: {error}")))
}

pub(super) fn check(sql: &str) -> Result<(&str, TableMentions), RunError> {
    let dialect = SQLiteDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| RunError::Execution(format!("syntax error: {error}")))?;
    begins_with_query(&tokens)?;
    let statement = cut_at_semicolon(sql, &mut tokens)?;

    let mentions = TableMentions::of(&tokens);
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH).with_tokens_with_locations(tokens);
    let parsed = parser.parse_statement().map_err(syntax_error)?;
    let next = parser.next_token();
    if next.token != Token::EOF {
        let (what, at) = (shorten(next.token.to_string(), 40), next.span.start);
        return Err(RunError::Execution(format!("syntax error: expected the end of the statement, found {what}{at}")));
    }
    match parsed.visit(&mut OnlyReads) {
        ControlFlow::Continue(()) => Ok((statement, mentions)),
        ControlFlow::Break(problem) => Err(RunError::Policy(problem.into())),
    }
}

fn syntax_error(error: ParserError) -> RunError {
    RunError::Execution(match error {
        ParserError::RecursionLimitExceeded => format!("the SQL nests more than about {DEPTH} levels"),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => format!("syntax error: {text}"),
    })
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn begins_with_query(tokens: &[TokenWithSpan]) -> Result<(), RunError> {
    let refused = |what: String| Err(RunError::Policy(format!("{what}; only SELECT and WITH … SELECT may run")));
    match tokens.iter().map(|token| &token.token).find(|token| !is_blank(token) && **token != Token::LParen) {
        None => refused("there is no statement".into()),
        Some(Token::Word(word))
            if word.quote_style.is_none()
                && ["SELECT", "WITH", "VALUES"].iter().any(|query| word.value.eq_ignore_ascii_case(query)) =>
        {
            Ok(())
        }
        Some(other) => refused(format!("the statement begins with {}", shorten(other.to_string(), 40))),
    }
}

/// Removes the first semicolon and all after it from `tokens` and returns the same part of `sql`. A semicolon as a
/// token always ends a statement; within a text or a comment it is not a token.
fn cut_at_semicolon<'a>(sql: &'a str, tokens: &mut Vec<TokenWithSpan>) -> Result<&'a str, RunError> {
    let Some(end) = tokens.iter().position(|token| token.token == Token::SemiColon) else { return Ok(sql) };
    let rest = tokens.split_off(end);
    if rest.iter().any(|token| token.token != Token::SemiColon && !is_blank(&token.token)) {
        return Err(RunError::Policy("more than one statement; exactly one may run".into()));
    }
    rest.first()
        .and_then(|semicolon| sql.get(..byte_offset(sql, semicolon.span.start)?))
        .ok_or_else(|| RunError::Internal("the end of the statement was not found".into()))
}

/// The tokenizer counts lines and characters from 1.
fn byte_offset(sql: &str, at: Location) -> Option<usize> {
    let line_index = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let column_index = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let line_start: usize = sql.split_inclusive('\n').take(line_index).map(str::len).sum();
    let line = sql.get(line_start..)?;
    let column_start = line.char_indices().nth(column_index)?.0;
    Some(line_start + column_start)
}

/// Stops at whatever does more than read.
struct OnlyReads;

impl Visitor for OnlyReads {
    type Break = Box<str>;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        if matches!(statement, Statement::Query(_)) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break("the statement holds one that changes data; only SELECT and WITH … SELECT may run".into())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if select.into.is_none() {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break("SELECT … INTO would make a table; only reading is allowed".into())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        let name = relation.0.last().and_then(|part| part.as_ident());
        match name.filter(|name| is_pragma(&name.value)) {
            None => ControlFlow::Continue(()),
            Some(name) => {
                ControlFlow::Break(format!("{} gives access to a PRAGMA, which is not allowed", name.value).into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
