use super::*;

fn kept(sql: &str) -> Result<&str, String> {
    check(sql).map(|(sql, _)| sql).map_err(|error| error.to_string())
}

fn kind_of(sql: &str) -> &'static str {
    check(sql).map_or_else(|error| error.kind(), |_| "ok")
}

#[test]
fn what_reads_may_run() {
    for sql in [
        "SELECT 1",
        "select created_at, updated_at, deleted_at from t",
        "SELECT replace(a, 'x', 'y') AS replaced, \"update\", [delete] FROM t",
        "SELECT 'DROP TABLE t; PRAGMA x' -- ; ATTACH\n",
        "/* DELETE FROM t; */ SELECT 1",
        "WITH a AS (SELECT 1 AS n) SELECT n FROM a",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5) SELECT sum(x) FROM c",
        "VALUES (1, 'a'), (2, 'b')",
        "SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.x = a.x WHERE a.y GLOB 'x*' ORDER BY 1 NULLS LAST LIMIT 5, 5",
        "SELECT row_number() OVER (PARTITION BY a ORDER BY b), sum(c) FILTER (WHERE d) FROM t",
        "SELECT a FROM t UNION ALL SELECT b FROM u EXCEPT SELECT c FROM v",
        "SELECT pragma_x, attach FROM t",
        "SELECT name FROM sqlite_schema",
        "(SELECT 1) UNION ALL SELECT 2",
        "((SELECT 1)) ORDER BY 1",
        "( WITH a AS (SELECT 1) SELECT * FROM a)",
    ] {
        assert_eq!(kept(sql), Ok(sql), "{sql}");
    }
}

#[test]
fn the_semicolon_and_what_follows_are_cut_off() {
    for (sql, kept) in [
        ("SELECT 1;", "SELECT 1"),
        ("SELECT 1 ;;\n ; -- done", "SELECT 1 "),
        (
            "SELECT ';', \"a;b\", [c;d] -- ;é\n, 'ü\nö' /* ; */ ; /* end; */",
            "SELECT ';', \"a;b\", [c;d] -- ;é\n, 'ü\nö' /* ; */ ",
        ),
        ("SELECT 1\r\n;\r\n", "SELECT 1\r\n"),
    ] {
        assert_eq!(self::kept(sql), Ok(kept), "{sql}");
    }
}

#[test]
fn everything_else_is_refused() {
    for sql in [
        "PRAGMA table_info(t)",
        "ATTACH 'x.db' AS x",
        "DETACH x",
        "VACUUM INTO '/tmp/x'",
        "REINDEX",
        "EXPLAIN SELECT 1",
        "INSERT INTO t VALUES (1)",
        "REPLACE INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "CREATE TABLE t (a)",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT 1; -- x\n DROP TABLE t",
        "SELECT 1 /* ; */; /* x */ PRAGMA x",
        "; SELECT 1",
        ";",
        " -- nothing\n",
        "\"SELECT\" 1",
        "(DELETE FROM t)",
        "(PRAGMA x)",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        "WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a",
        "WITH a AS (UPDATE t SET x = 1 RETURNING *) SELECT * FROM a",
        "SELECT * INTO u FROM t",
        "SELECT * FROM (SELECT 1 UNION SELECT * FROM pragma_table_info('t'))",
        "SELECT 1 WHERE EXISTS (SELECT * FROM main.\"PRAGMA_database_list\")",
    ] {
        assert_eq!(kind_of(sql), "SQL_POLICY_VIOLATION", "{sql}");
    }
}

#[test]
fn what_the_parser_does_not_understand_does_not_run() {
    for sql in
        ["SELECT FROM", "SELECT 1 END", "SELECT 'open", "SELECT (1", "SELECT 1)", "SELECT 1 /* open", "SELECT 1 2 3"]
    {
        assert_eq!(kind_of(sql), "SQL_EXECUTION_ERROR", "{sql}");
    }
}

#[tokio::test]
async fn hostile_depth_is_an_answer_and_no_overflow() {
    let levels = 30_000;
    let nested = format!("SELECT {}1{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(one_query(&nested).await.unwrap_err().kind(), "SQL_EXECUTION_ERROR");
    let subqueries = "SELECT * FROM (".repeat(4_000);
    assert_eq!(one_query(&subqueries).await.unwrap_err().kind(), "SQL_EXECUTION_ERROR");
    // Chains are no nesting to the parser, but deep trees.
    for chain in [format!("SELECT 1{}", "+1".repeat(levels)), format!("SELECT 1{}", " UNION SELECT 1".repeat(4_000))] {
        assert_eq!(one_query(&chain).await.unwrap().sql, chain);
        let columns = vec![];
        assert_eq!(crate::rewrite::adapt(&chain, columns).await.unwrap().sql, None);
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(sql: String) {
        let _ = check(&sql);
    }

    #[test]
    fn any_mix_of_tokens_is_answered(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "SELECT", "WITH", "a", "AS", "(", ")", ",", ";", "FROM", "1", "'x'", "\"y\"", "[z]", "--", "\n", "/*", "*/", "é", "*", ".",
            "CASE", "WHEN", "END", "NOT", "IN", "UNION", "INSERT", "INTO", "OVER", "JOIN", "?", ":a", "$1", "x'00'", "''", "`",
        ]),
        0..40,
    )) {
        let sql = parts.join(" ");
        if let Ok((kept, _)) = check(&sql) {
            proptest::prop_assert!(sql.starts_with(kept));
        }
    }
}
