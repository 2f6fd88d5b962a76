use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::super::content::Content;
use super::super::csv_file::CsvOptions;
use super::super::mentions::TableMentions;
use super::super::policy;
use super::super::source::TableSource;
use super::*;

const LIMITS: QueryLimits = QueryLimits { rows: 100, bytes: 100_000 };

async fn database(seconds: u64, files: &[(&str, &'static str)]) -> Database {
    let known = files.iter().map(|(table, _)| (*table).to_owned()).collect();
    let mut database = Database::open(Deadline::new(Instant::now(), seconds), known).await.unwrap();
    for (table, text) in files {
        database.load(&source(table, text), &everything().await, CsvOptions::default()).await.unwrap();
    }
    database
}

async fn everything() -> TableMentions {
    policy::one_query("SELECT * FROM sqlite_schema").await.unwrap().mentions
}

impl Database {
    async fn ask(&mut self, sql: &str, limits: QueryLimits) -> Result<Answer, RunError> {
        self.query(sql, None, Vec::new(), limits).await
    }
}

fn source(table: &str, text: &'static str) -> TableSource {
    TableSource { table: table.to_owned(), label: format!("{table}.csv"), content: Content::BuiltIn(text) }
}

async fn rows(sql: &str) -> Value {
    let mut database = database(60, &[("t", "i,r,s\n1,1.5,x\n9007199254740993,,y\n,2,\"it's \"\"q\"\"\"\n")]).await;
    json!(database.ask(sql, LIMITS).await.unwrap().rows)
}

#[tokio::test]
async fn values_keep_their_types() {
    let cases = [
        ("SELECT * FROM t", r#"[[1,1.5,"x"],[9007199254740993,null,"y"],[null,2.0,"it's \"q\""]]"#),
        ("SELECT typeof(i), typeof(r), typeof(s) FROM t LIMIT 1", r#"[["integer","real","text"]]"#),
        ("SELECT max(i) - 1, sum(r) FROM t", "[[9007199254740992,3.5]]"),
        ("SELECT x'00FF', x'', 9e999, -9e999, NULL", r#"[["00ff","",null,null,null]]"#),
        ("SELECT 9223372036854775807, -9223372036854775808", "[[9223372036854775807,-9223372036854775808]]"),
        (
            "SELECT cast(x'61ff62' AS TEXT), 'é\u{1f600}', char(97, 0, 98)",
            "[[\"a\u{fffd}b\",\"é\u{1f600}\",\"a\\u0000b\"]]",
        ),
        ("SELECT * FROM t WHERE 0", "[]"),
    ];
    for (sql, expected) in cases {
        assert_eq!(rows(sql).await.to_string(), expected, "{sql}");
    }
}

#[tokio::test]
async fn columns_are_named_even_without_rows_and_may_repeat() {
    let mut database = database(60, &[("t", "a b,\"c\"\"d\",select\n1,2,3\n")]).await;
    let answer = database.ask("SELECT *, 1 AS x, 2 AS x FROM t WHERE 0", LIMITS).await.unwrap();
    assert_eq!(answer.columns, ["a b", "c\"d", "select", "x", "x"]);
}

#[tokio::test]
async fn limits_cut_and_say_so() {
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10) SELECT x, 'four' FROM c";
    let mut database = database(60, &[]).await;
    for (max, truncated) in [(9, true), (10, false), (11, false)] {
        let answer = database.ask(many, QueryLimits { rows: max, ..LIMITS }).await.unwrap();
        assert_eq!((answer.rows.len(), answer.truncated), (max.min(10), truncated), "{max}");
    }
    let tight = QueryLimits { bytes: ENVELOPE_BYTES + 60, ..LIMITS };
    let answer = database.ask(many, tight).await.unwrap();
    assert!(answer.truncated && (1..10).contains(&answer.rows.len()), "{} rows", answer.rows.len());
    let one_large = database.ask("SELECT zeroblob(1000000)", LIMITS).await.unwrap();
    assert!(one_large.truncated && one_large.rows.is_empty());
    let no_room = QueryLimits { bytes: ENVELOPE_BYTES + 3, ..LIMITS };
    assert_eq!(database.ask(many, no_room).await.unwrap_err().kind(), "SQL_EXECUTION_ERROR");
}

#[tokio::test]
async fn the_byte_limit_holds_for_the_whole_object() {
    let mut database = database(60, &[]).await;
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 2000) SELECT x, hex(randomblob(x % 50)), '\"\n' FROM c";
    for bytes in [1024, 5000, 20_000] {
        let answer = database.ask(sql, QueryLimits { rows: 1000, bytes }).await.unwrap();
        assert!(answer.truncated);
        let object = super::super::result::SqlResult::new(Ok(answer), Duration::from_secs(60)).to_json();
        assert!(object.len() <= bytes && object.len() + 400 > bytes, "{} of {bytes}", object.len());
    }
}

#[tokio::test]
async fn nothing_can_be_written_after_loading() {
    let mut database = database(60, &[("t", "a\n1\n")]).await;
    database.ask("SELECT 1", LIMITS).await.unwrap();
    for sql in ["DELETE FROM t", "CREATE TABLE u (a)", "INSERT INTO t VALUES (2)"] {
        assert!(database.run(sql.to_owned()).await.is_err(), "{sql}");
    }
}

/// The policy refuses all of these before; here SQLite has the second word.
#[tokio::test]
async fn what_sqlite_does_not_read_as_one_query_is_refused() {
    let mut database = database(60, &[("t", "a\n1\n")]).await;
    for sql in
        ["SELECT 1; SELECT 2", "ATTACH ':memory:' AS x", "PRAGMA query_only", "DELETE FROM t", "EXPLAIN SELECT 1"]
    {
        assert_eq!(database.ask(sql, LIMITS).await.unwrap_err().kind(), "SQL_POLICY_VIOLATION", "{sql}");
    }
}

#[tokio::test]
async fn mistakes_are_explained() {
    let mut database = database(60, &[("orders", "id,status\n1,x\n")]).await;
    let cases = [
        ("SELECT * FROM order_s", "no such table: order_s; did you mean \"orders\"? (tables: orders)"),
        (
            "SELECT o.staus FROM orders o",
            "no such column: o.staus; did you mean \"status\"? (columns: orders(id, status))",
        ),
        (
            "SELECT \"staus\", count(*) FROM orders GROUP BY 1",
            "no such column: \"staus\" - should this be a string literal in single-quotes?; did you mean \"status\"? \
             (columns: orders(id, status))",
        ),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT readfile('/etc/passwd')", "no such function: readfile"),
    ];
    for (sql, expected) in cases {
        let error = database.ask(sql, LIMITS).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), ("SQL_EXECUTION_ERROR", expected), "{sql}");
    }
    for sql in ["SELECT ?", "SELECT ?7", "SELECT :id", "SELECT $id", "SELECT @id"] {
        let error = database.ask(sql, LIMITS).await.unwrap_err();
        assert!(error.to_string().starts_with("the SQL has parameters"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn too_much_memory_is_an_error_and_never_fewer_rows() {
    // The second fits in memory once, but the driver can't copy it. Each has a database of its own,
    // since the driver's thread may not survive it; and may not even answer, which is what the time
    // limit of a request is for.
    for sql in ["SELECT hex(zeroblob(300000000))", "SELECT zeroblob(210000000)"] {
        let mut database = database(60, &[]).await;
        match tokio::time::timeout(std::time::Duration::from_secs(20), database.ask(sql, LIMITS)).await {
            Ok(answer) => assert_eq!(answer.unwrap_err().kind(), "SQL_EXECUTION_ERROR", "{sql}"),
            // Dropping it would wait for that thread.
            Err(_) => std::mem::forget(database),
        }
    }
}

#[tokio::test]
async fn a_bad_file_is_named_with_its_line() {
    let mut database = database(60, &[]).await;
    let error =
        database.load(&source("t", "a,b\n1,2\n3\n"), &everything().await, CsvOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), "VALIDATION_ERROR");
    assert!(error.to_string().starts_with("t.csv: line 3: 1 field, but the header has 2"), "{error}");
}

#[tokio::test]
async fn wide_and_long_tables_are_loaded_whole() {
    let header: Vec<String> = (0..1500).map(|column| format!("c{column}")).collect();
    let row = (0..1500).map(|column| column.to_string()).collect::<Vec<_>>().join(",");
    let wide: &'static str = Box::leak(format!("{}\n{row}\n{row}\n{row}\n", header.join(",")).into_boxed_str());
    let long: &'static str =
        Box::leak(format!("n\n{}", (0..10_000).map(|n| format!("{n}\n")).collect::<String>()).into_boxed_str());
    let mut database = database(60, &[("wide", wide), ("long", long)]).await;
    let sql = "SELECT (SELECT sum(c1499) FROM wide), count(*), sum(n), max(n) FROM long";
    assert_eq!(json!(database.ask(sql, LIMITS).await.unwrap().rows), json!([[4497, 10_000, 49_995_000, 9999]]));
}

#[tokio::test]
async fn the_deadline_ends_loading_and_queries() {
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
    let mut running = database(1, &[]).await;
    assert_eq!(running.ask(endless, LIMITS).await.unwrap_err().kind(), "RUNNER_TIMEOUT");

    let mut late = Database::open(Deadline::new(Instant::now(), 0), Vec::new()).await.unwrap();
    let error = late.load(&source("t", "a\n1\n"), &everything().await, CsvOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), "RUNNER_TIMEOUT");
}

#[tokio::test]
async fn a_wrong_guess_from_the_first_rows_is_made_good() {
    let mut text = "a,b,c,d\n".to_owned();
    for n in 0..3000 {
        text.push_str(&format!("{n},{n},NA,1.5\n"));
    }
    text.push_str("0.5,x,7,1.50\n");
    let text: &'static str = Box::leak(text.into_boxed_str());
    let mut database = database(60, &[("t", text)]).await;
    let sql = "SELECT typeof(a), typeof(b), typeof(c), d, count(*) FROM t GROUP BY 1, 2, 3, 4 ORDER BY 5";
    let expected = json!([["real", "text", "integer", "1.50", 1], ["real", "text", "null", "1.5", 3000]]);
    assert_eq!(json!(database.ask(sql, LIMITS).await.unwrap().rows), expected);
}

#[tokio::test]
async fn only_the_columns_that_are_mentioned_are_loaded() {
    let mut database = Database::open(Deadline::new(Instant::now(), 60), vec!["t".into()]).await.unwrap();
    let sql = "SELECT sum(b), count(*) FROM t";
    let mentions = policy::one_query(sql).await.unwrap().mentions;
    let loaded = database.load(&source("t", "a,b,c\n1,2,x\n3,4,y\n"), &mentions, CsvOptions::default()).await.unwrap();
    assert_eq!((loaded.rows, loaded.columns.len(), loaded.file_columns), (2, 1, 3));
    assert_eq!(json!(database.ask(sql, LIMITS).await.unwrap().rows), json!([[6, 2]]));
    let error = database.ask("SELECT d FROM t", LIMITS).await.unwrap_err().to_string();
    assert!(error.ends_with("(columns: t(a, b, c))"), "{error}");
}

#[tokio::test]
async fn a_boolean_column_is_shown_as_such() {
    let mut database = database(60, &[("t", "id,active\n1,true\n2,False\n3,\n")]).await;
    for (sql, expected) in [
        ("SELECT active FROM t", json!([[true], [false], [null]])),
        ("SELECT active, count(*) FROM t WHERE active GROUP BY active", json!([[true, 1]])),
        ("SELECT sum(active), max(active), active = 1 FROM t", json!([[1, 1, 1]])),
        ("SELECT a FROM (SELECT active AS a FROM t) WHERE NOT a", json!([[false]])),
    ] {
        assert_eq!(json!(database.ask(sql, LIMITS).await.unwrap().rows), expected, "{sql}");
    }
}
