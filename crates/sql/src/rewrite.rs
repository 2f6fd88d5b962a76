//! The statement as it is run: where SQLite would silently give another answer than was asked for, it is put in words
//! by which SQLite gives the right one, or a warning says what it does.
//!
//! Decided on the syntax tree and the types of the columns that were loaded. Names are looked up without scopes, so a
//! name that may be two things is treated as either; what is put in place then decides by the value itself.

mod kind;

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, TableWithJoins, UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use self::kind::{Names, boolean_literal, number_literal, string_literal};
use super::error::{RunError, shorten};
use super::functions::{CALCULATE, CAST, TRUTH, truth_of};
use super::policy::{on_deep_stack, parse_query};
use super::warning::Warning;

pub(super) use self::kind::LoadedColumn;

/// A statement to run.
#[derive(Debug)]
pub(super) struct Adapted {
    /// Other words for the same question, if SQLite needs them.
    pub(super) sql: Option<String>,
    pub(super) warnings: Vec<Warning>,
}

/// Adapts `sql`, a statement that the policy let through, to the columns that were loaded.
///
/// # Errors
/// [`RunError::Execution`] for what SQLite would misunderstand and nothing can stand for.
pub(super) async fn adapt(sql: &str, columns: Vec<LoadedColumn>) -> Result<Adapted, RunError> {
    let sql = sql.to_owned();
    on_deep_stack(move || {
        let mut statement = parse_query(&sql)?;
        let mut names = Names::new(columns);
        // An alias may stand for another one, which may be read later.
        for _ in 0..3 {
            let _ = statement.visit(&mut Aliases { names: &mut names });
        }
        let mut rewriter = Rewriter { names, changed: false, warnings: Vec::new() };
        if let ControlFlow::Break(error) = VisitMut::visit(&mut statement, &mut rewriter) {
            return Err(RunError::Execution(error));
        }
        let sql = rewriter.changed.then(|| statement.to_string());
        Ok(Adapted { sql, warnings: rewriter.warnings })
    })
    .await
}

/// Learns what aliases stand for.
struct Aliases<'a> {
    names: &'a mut Names,
}

impl Visitor for Aliases<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item {
                let kind = self.names.kind(expr);
                self.names.alias(&alias.value, kind);
            }
        }
        ControlFlow::Continue(())
    }
}

struct Rewriter {
    names: Names,
    changed: bool,
    warnings: Vec<Warning>,
}

impl VisitorMut for Rewriter {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        self.unwrap_parentheses(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        for condition in select.selection.iter_mut().chain(&mut select.having) {
            self.condition(condition);
        }
        for table in &mut select.from {
            self.joins(table);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            self.joins(table_with_joins);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::And | BinaryOperator::Or => {
                    self.condition(left);
                    self.condition(right);
                }
                BinaryOperator::Plus
                | BinaryOperator::Minus
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Modulo
                    if self.names.kind(left).may_be_text() || self.names.kind(right).may_be_text() =>
                {
                    let operator = string(op.to_string());
                    let (left, right) = (take(left), take(right));
                    self.replace(expr, call(CALCULATE, vec![operator, left, right]));
                }
                _ if is_comparison(op) => self.comparison(left, &op.to_string(), right),
                _ => {}
            },
            Expr::UnaryOp { op: UnaryOperator::Not, expr }
            | Expr::IsTrue(expr)
            | Expr::IsFalse(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsNotFalse(expr) => self.condition(expr),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } if self.names.kind(inner).is_text() => {
                let arguments = vec![string("-".into()), number("0"), take(inner)];
                self.replace(expr, call(CALCULATE, arguments));
            }
            Expr::Between { expr, low, high, .. } => {
                self.comparison(expr, "BETWEEN", low);
                self.comparison(expr, "BETWEEN", high);
            }
            Expr::InList { expr, list, .. } => {
                for member in list {
                    self.comparison(expr, "IN", member);
                }
            }
            Expr::Case { operand: None, conditions, .. } => {
                for when in conditions {
                    self.condition(&mut when.condition);
                }
            }
            Expr::Case { operand: Some(operand), conditions, .. } => {
                for when in conditions {
                    self.comparison(operand, "=", &mut when.condition);
                }
            }
            Expr::Function(function) => self.function(function),
            Expr::Like { expr, .. } if self.names.kind(expr).is_boolean() => {
                let text = format!("it is boolean, 1 or 0, so `{expr} LIKE …` never matches true or false");
                self.warn(expr, text);
            }
            _ => return self.foreign(expr),
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter {
    fn replace(&mut self, expr: &mut Expr, by: Expr) {
        *expr = by;
        self.changed = true;
    }

    /// What other systems have and SQLite does not read, or reads as something else.
    fn foreign(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Cast { kind, expr: inner, data_type, .. } => {
                let to = match data_type {
                    DataType::Date | DataType::Date32 => Some("date"),
                    DataType::Datetime(_) | DataType::Timestamp(..) | DataType::TimestampNtz(_) => Some("datetime"),
                    DataType::Time(..) => Some("time"),
                    DataType::Bool | DataType::Boolean => Some("boolean"),
                    _ => None,
                };
                if let Some(to) = to {
                    let inner = take(inner);
                    self.replace(expr, call(CAST, vec![inner, string(to.into())]));
                } else if *kind == CastKind::DoubleColon {
                    *kind = CastKind::Cast;
                    self.changed = true;
                }
            }
            Expr::Extract { field, expr: inner, .. } => {
                let (field, inner) = (string(field.to_string().to_lowercase()), take(inner));
                self.replace(expr, call("date_part", vec![field, inner]));
            }
            Expr::TypedString(typed) => {
                let value = typed.value.clone();
                self.replace(expr, Expr::Value(value));
            }
            Expr::ILike { negated, any, expr: inner, pattern, escape_char } => {
                // SQLite's LIKE takes no account of case.
                let like = Expr::Like {
                    negated: *negated,
                    any: *any,
                    expr: Box::new(take(inner)),
                    pattern: Box::new(take(pattern)),
                    escape_char: escape_char.take(),
                };
                self.replace(expr, like);
            }
            Expr::Interval(_) => {
                let problem =
                    "INTERVAL is not in SQLite's SQL; date(x, '+7 days') or datetime(x, '-1 hour') counts from x";
                return ControlFlow::Break(problem.into());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Has a condition that is a text be true or false by its word.
    fn condition(&mut self, condition: &mut Expr) {
        if self.names.kind(condition).is_text() {
            let inner = take(condition);
            self.replace(condition, call(TRUTH, vec![inner]));
        }
    }

    fn joins(&mut self, table: &mut TableWithJoins) {
        for join in &mut table.joins {
            if let JoinOperator::Join(on)
            | JoinOperator::Inner(on)
            | JoinOperator::Left(on)
            | JoinOperator::LeftOuter(on)
            | JoinOperator::Right(on)
            | JoinOperator::RightOuter(on)
            | JoinOperator::FullOuter(on)
            | JoinOperator::CrossJoin(on) = &mut join.join_operator
                && let JoinConstraint::On(condition) = on
            {
                self.condition(condition);
            }
        }
    }

    fn function(&mut self, function: &mut Function) {
        if let Some(filter) = &mut function.filter {
            self.condition(filter);
        }
        let name = function.name.to_string().to_ascii_lowercase();
        let FunctionArguments::List(list) = &function.args else { return };
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.first() else { return };
        let kind = self.names.kind(argument);
        match name.as_str() {
            "sum" | "avg" | "total" if kind.is_text() => {
                let odd = self.names.column(argument).is_some_and(|column| column.reported);
                if !odd {
                    let text =
                        format!("it is text, so {name}({argument}) takes what does not begin with a number for 0");
                    self.warn(&argument.clone(), text);
                }
            }
            "lower" | "upper" | "trim" | "substr" | "replace" | "instr" if kind.is_boolean() => {
                let text = format!("it is boolean, 1 or 0, so {name}({argument}) is not of the words true and false");
                self.warn(&argument.clone(), text);
            }
            _ => {}
        }
    }

    /// `a` compared with `b`, in whichever order.
    fn comparison(&mut self, a: &mut Expr, operator: &str, b: &mut Expr) {
        for (one, other) in [(&*a, &*b), (&*b, &*a)] {
            let kind = self.names.kind(one);
            if kind.is_text() && number_literal(other) {
                let shown = shorten(format!("`{a} {operator} {b}`"), 120);
                let way = if kind.is_date() {
                    "with a date such as '2026-01-31'"
                } else {
                    "with a text, or CAST(… AS REAL)"
                };
                let text = format!("it is text, so {shown} compares it character by character; compare it {way}");
                self.warn(&one.clone(), text);
            }
            if let (true, Some(literal)) = (kind.is_date(), string_literal(other))
                && !begins_like_iso_date(literal)
            {
                let text =
                    format!("its values are written YYYY-MM-DD, so comparing it with '{literal}' is not by date");
                self.warn(&one.clone(), shorten(text, 200));
            }
        }
        match (boolean_literal(a), boolean_literal(b)) {
            (false, true) => self.condition(a),
            (true, false) => self.condition(b),
            _ => {}
        }
        for swapped in [false, true] {
            let (one, other) = if swapped { (&*b, &mut *a) } else { (&*a, &mut *b) };
            if !self.names.kind(one).is_boolean() {
                continue;
            }
            let Some(literal) = string_literal(other) else { continue };
            match truth_of(literal) {
                Some(truth) => self.replace(other, number(if truth { "1" } else { "0" })),
                None => {
                    let text = shorten(format!("it is boolean, so it never equals '{literal}'"), 200);
                    self.warn(&one.clone(), text);
                }
            }
        }
    }

    fn warn(&mut self, about: &Expr, text: String) {
        let warning = match self.names.column(about) {
            Some(column) => Warning::of_column(&column.table, &column.name, text),
            None => Warning::general(shorten(format!("{about}: {text}"), 300)),
        };
        // One about a column is enough.
        if !self
            .warnings
            .iter()
            .any(|other| *other == warning || (other.place.is_some() && other.place == warning.place))
        {
            self.warnings.push(warning);
        }
    }

    /// SQLite reads no parentheses around the parts of a UNION.
    fn unwrap_parentheses(&mut self, set: &mut SetExpr) {
        match set {
            SetExpr::SetOperation { left, right, .. } => {
                self.unwrap_parentheses(left);
                self.unwrap_parentheses(right);
            }
            SetExpr::Query(inner) => {
                let Ok(Statement::Query(mut around)) = parse_query("SELECT * FROM (SELECT 1)") else { return };
                let SetExpr::Select(select) = around.body.as_mut() else { return };
                let Some(TableFactor::Derived { subquery, .. }) =
                    select.from.first_mut().map(|from| &mut from.relation)
                else {
                    return;
                };
                std::mem::swap(subquery, inner);
                *set = *around.body;
                self.changed = true;
            }
            _ => {}
        }
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// `2026`, `2026-02`, `2026-02-11…`
fn begins_like_iso_date(text: &str) -> bool {
    let pattern = b"dddd-dd-dd";
    let head = text.as_bytes();
    let like = head.iter().zip(pattern).all(|(byte, wanted)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    });
    like && matches!(head.len(), 0 | 4 | 7 | 10..)
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

fn string(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

fn number(text: &str) -> Expr {
    Expr::Value(Value::Number(text.to_owned(), false).into())
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        within_group: Vec::new(),
        filter: None,
        null_treatment: None,
        over: None,
    })
}

#[cfg(test)]
mod tests;
