//! What an expression may be: a number, a boolean, a date, a text.

use std::collections::HashMap;
use std::ops::BitOr;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};

use super::super::csv_file::ColumnType;

/// How deep expressions are looked into.
const DEPTH: usize = 12;

/// A column of a table that was loaded.
#[derive(Debug, Clone)]
pub(crate) struct LoadedColumn {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) column: ColumnType,
    /// Whether a warning already says what the column is.
    pub(crate) reported: bool,
}

/// A set of what something may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueKinds(u8);

impl ValueKinds {
    const NONE: Self = Self(0);
    const NUMBER: Self = Self(1);
    const BOOLEAN: Self = Self(2);
    const DATE: Self = Self(4);
    const TEXT: Self = Self(8);
    const UNKNOWN: Self = Self(16);

    /// Whether it is a text for certain, a date among them.
    pub(super) fn is_text(self) -> bool {
        self.0 != 0 && self.0 & !(Self::TEXT.0 | Self::DATE.0) == 0
    }

    /// Whether it is an ISO date for certain.
    pub(super) fn is_date(self) -> bool {
        self == Self::DATE
    }

    /// Whether it is a boolean for certain.
    pub(super) fn is_boolean(self) -> bool {
        self == Self::BOOLEAN
    }

    /// Whether it can be a text at all.
    pub(super) fn may_be_text(self) -> bool {
        self.0 & (Self::TEXT.0 | Self::DATE.0 | Self::UNKNOWN.0) != 0
    }
}

impl BitOr for ValueKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What names may stand for, in lower case.
#[derive(Debug)]
pub(super) struct Names {
    columns: Vec<LoadedColumn>,
    kinds: HashMap<String, ValueKinds>,
}

impl Names {
    pub(super) fn new(columns: Vec<LoadedColumn>) -> Self {
        let mut names = Self { columns: Vec::new(), kinds: HashMap::new() };
        for column in &columns {
            let kind = match column.column {
                ColumnType::Integer | ColumnType::Real => ValueKinds::NUMBER,
                ColumnType::Boolean => ValueKinds::BOOLEAN,
                ColumnType::Date => ValueKinds::DATE,
                ColumnType::Text => ValueKinds::TEXT,
            };
            names.alias(&column.name, kind);
        }
        names.columns = columns;
        names
    }

    /// Has `name` stand for something of this kind too.
    pub(super) fn alias(&mut self, name: &str, kind: ValueKinds) {
        let known = self.kinds.entry(name.to_ascii_lowercase()).or_insert(ValueKinds::NONE);
        *known = *known | kind;
    }

    /// The column that `expr` names, if it names one.
    pub(super) fn column(&self, expr: &Expr) -> Option<&LoadedColumn> {
        let name = name_of(expr)?;
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// What `expr` may be.
    pub(super) fn kind(&self, expr: &Expr) -> ValueKinds {
        self.kind_within(expr, DEPTH)
    }

    fn kind_within(&self, expr: &Expr, depth: usize) -> ValueKinds {
        let Some(depth) = depth.checked_sub(1) else { return ValueKinds::UNKNOWN };
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let name = name_of(expr).unwrap_or_default().to_ascii_lowercase();
                match self.kinds.get(&name) {
                    Some(kind) => *kind,
                    None if matches!(name.as_str(), "rowid" | "oid" | "_rowid_") => ValueKinds::NUMBER,
                    None => ValueKinds::UNKNOWN,
                }
            }
            Expr::Value(value) => match &value.value {
                Value::Number(..) | Value::Boolean(_) => ValueKinds::NUMBER,
                Value::Null => ValueKinds::NONE,
                Value::SingleQuotedString(_) => ValueKinds::TEXT,
                _ => ValueKinds::UNKNOWN,
            },
            Expr::Nested(inner) => self.kind_within(inner, depth),
            Expr::Collate { expr, .. } => self.kind_within(expr, depth),
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => ValueKinds::TEXT,
            Expr::BinaryOp { op: BinaryOperator::Arrow | BinaryOperator::LongArrow, .. } => ValueKinds::UNKNOWN,
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.kind_within(expr, depth),
            Expr::BinaryOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::Exists { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. } => ValueKinds::NUMBER,
            Expr::Case { conditions, else_result, .. } => {
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                results.fold(ValueKinds::NONE, |kind, result| kind | self.kind_within(result, depth))
            }
            Expr::Cast { data_type, .. } => kind_of_type(&data_type.to_string()),
            Expr::Function(function) => self.kind_of_call(function, depth),
            _ => ValueKinds::UNKNOWN,
        }
    }

    fn kind_of_call(&self, function: &Function, depth: usize) -> ValueKinds {
        match function.name.to_string().to_ascii_lowercase().as_str() {
            "count" | "sum" | "avg" | "total" | "abs" | "round" | "length" | "instr" | "julianday" | "unixepoch"
            | "row_number" | "rank" | "dense_rank" | "ntile" | "percent_rank" | "cume_dist" | "sign" | "random"
            | "ceil" | "ceiling" | "floor" | "sqrt" | "pow" | "power" | "ln" | "log" | "log10" | "log2" | "exp"
            | "mod" | "median" | "percentile" | "stddev" | "stddev_samp" | "stddev_pop" | "variance" | "var_samp"
            | "var_pop" | "date_part" | "year" | "month" | "day" | "regexp_like" | "regexp_matches"
            | "octet_length" | "unicode" | "json_array_length" => ValueKinds::NUMBER,
            super::CALCULATE | super::TRUTH => ValueKinds::NUMBER,
            "date" | "datetime" | "date_trunc" => ValueKinds::DATE,
            super::CAST => ValueKinds::DATE | ValueKinds::NUMBER,
            "strftime" | "time" | "lower" | "upper" | "trim" | "ltrim" | "rtrim" | "substr" | "substring"
            | "replace" | "printf" | "format" | "group_concat" | "string_agg" | "concat" | "hex" | "regexp_replace"
            | "regexp_extract" => ValueKinds::TEXT,
            "min" | "max" | "coalesce" | "ifnull" | "nullif" | "iif" | "lag" | "lead" | "first_value"
            | "last_value" | "nth_value" => self.kind_of_arguments(function, depth),
            _ => ValueKinds::UNKNOWN,
        }
    }

    fn kind_of_arguments(&self, function: &Function, depth: usize) -> ValueKinds {
        let FunctionArguments::List(list) = &function.args else { return ValueKinds::UNKNOWN };
        list.args.iter().fold(ValueKinds::NONE, |kind, argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => kind | self.kind_within(argument, depth),
            _ => kind | ValueKinds::UNKNOWN,
        })
    }
}

/// By SQLite's rules of affinity.
fn kind_of_type(name: &str) -> ValueKinds {
    let name = name.to_ascii_uppercase();
    let has = |part: &str| name.contains(part);
    if has("CHAR") || has("CLOB") || has("TEXT") || has("STRING") { ValueKinds::TEXT } else { ValueKinds::NUMBER }
}

fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(name) => Some(&name.value),
        Expr::CompoundIdentifier(path) => path.last().map(|name| name.value.as_str()),
        Expr::Nested(inner) => name_of(inner),
        _ => None,
    }
}

/// Whether it is a number as it is written.
pub(super) fn number_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } | Expr::Nested(expr) => {
            number_literal(expr)
        }
        _ => false,
    }
}

/// Whether it is TRUE or FALSE as it is written.
pub(super) fn boolean_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Boolean(_)))
}

/// The text that it is as it is written.
pub(super) fn string_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => string_literal(inner),
        _ => None,
    }
}
