use super::super::csv_file::ColumnType;
use super::*;

fn column(name: &str, column: ColumnType) -> LoadedColumn {
    LoadedColumn { table: "t".into(), name: name.into(), column, reported: false }
}

async fn adapted(sql: &str) -> Result<Adapted, String> {
    let columns = vec![
        column("n", ColumnType::Integer),
        column("active", ColumnType::Boolean),
        column("d", ColumnType::Date),
        column("e", ColumnType::Date),
        column("s", ColumnType::Text),
    ];
    adapt(sql, columns).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_sqlite_gets_right_is_left_alone() {
    for sql in [
        "select n + 1, n * n, -n, sum(n) / count(*) from t where n > 1 and active",
        "select * from t where active and not active or n",
        "select s || 'x', lower(s), d from t where s = 'x' and d >= '2026-01-01' order by d",
        "select count(*) filter (where active), sum(active), avg(active) from t group by d having count(*) > 1",
        "select case when active then 1 else 0 end from t join t as u on t.n = u.n",
        "select min(d), max(e) from t where d between '2026' and '2026-02-11 12:00'",
        "select s like 'a%', s glob 'a*', s is null, cast(s as integer) + 1, cast(n as text) from t",
        "select julianday(d) - julianday(e) from t",
    ] {
        let adapted = adapted(sql).await.unwrap();
        assert_eq!((adapted.sql, adapted.warnings), (None, vec![]), "{sql}");
    }
}

#[tokio::test]
async fn what_sqlite_would_mistake_is_put_otherwise() {
    for (sql, expected) in [
        ("select max(d) - min(e) from t", "SELECT longshore_calculate('-', max(d), min(e)) FROM t"),
        ("select t.d - n from t", "SELECT longshore_calculate('-', t.d, n) FROM t"),
        ("select 2 * s from t", "SELECT longshore_calculate('*', 2, s) FROM t"),
        ("select -s from t", "SELECT longshore_calculate('-', 0, s) FROM t"),
        (
            "with x as (select max(d) as hi, min(d) as lo from t) select hi - lo from x",
            "WITH x AS (SELECT max(d) AS hi, min(d) AS lo FROM t) SELECT longshore_calculate('-', hi, lo) FROM x",
        ),
        ("select n from t where s", "SELECT n FROM t WHERE longshore_truth(s)"),
        ("select n from t where not s or n", "SELECT n FROM t WHERE NOT longshore_truth(s) OR n"),
        (
            "select count(*) filter (where s) from t join t u on t.s",
            "SELECT count(*) FILTER (WHERE longshore_truth(s)) FROM t JOIN t u ON longshore_truth(t.s)",
        ),
        ("select n from t where s = true", "SELECT n FROM t WHERE longshore_truth(s) = true"),
        ("select n from t where s is not true", "SELECT n FROM t WHERE longshore_truth(s) IS NOT TRUE"),
        ("select case when s then 1 end from t", "SELECT CASE WHEN longshore_truth(s) THEN 1 END FROM t"),
        ("select n from t where active = 'true'", "SELECT n FROM t WHERE active = 1"),
        ("select n from t where 'No' <> active", "SELECT n FROM t WHERE 0 <> active"),
        ("select n from t where active in ('false')", "SELECT n FROM t WHERE active IN (0)"),
        ("select case active when 'true' then 1 end from t", "SELECT CASE active WHEN 1 THEN 1 END FROM t"),
        ("select cast(s as date) from t", "SELECT longshore_cast(s, 'date') FROM t"),
        ("select s::timestamp, n::text from t", "SELECT longshore_cast(s, 'datetime'), CAST(n AS TEXT) FROM t"),
        ("select extract(year from d) from t", "SELECT date_part('year', d) FROM t"),
        ("select date '2026-01-01' - d from t", "SELECT longshore_calculate('-', '2026-01-01', d) FROM t"),
        ("select n from t where s ilike 'A%'", "SELECT n FROM t WHERE s LIKE 'A%'"),
        (
            "(select n from t) union all select 2 order by 1",
            "SELECT * FROM (SELECT n FROM t) UNION ALL SELECT 2 ORDER BY 1",
        ),
        ("((select n from t))", "SELECT * FROM (SELECT * FROM (SELECT n FROM t))"),
    ] {
        let adapted = adapted(sql).await.unwrap();
        assert_eq!(adapted.sql.as_deref(), Some(expected), "{sql}");
    }
}

#[tokio::test]
async fn what_can_only_be_reported_is() {
    for (sql, part) in [
        ("select n from t where d > 2010", "`d > 2010` compares it character by character; compare it with a date"),
        ("select n from t where s between 1 and 5", "compares it character by character"),
        ("select n from t where s in (1067)", "compares it character by character"),
        ("select n from t where d > '31.12.2025'", "comparing it with '31.12.2025' is not by date"),
        ("select n from t where d = '2026-2-1'", "is not by date"),
        ("select n from t where active = 'maybe'", "it never equals 'maybe'"),
        ("select n from t where active like 't%'", "never matches true or false"),
        ("select n from t where lower(active) = 'true'", "is not of the words true and false"),
        ("select sum(s) from t", "takes what does not begin with a number for 0"),
    ] {
        let adapted = adapted(sql).await.unwrap();
        assert_eq!(adapted.warnings.len(), 1, "{sql}: {:?}", adapted.warnings);
        assert!(adapted.warnings[0].message().contains(part), "{sql}: {}", adapted.warnings[0].message());
        assert!(adapted.warnings[0].place.is_some(), "{sql}");
    }
    assert!(adapted("select d + interval '1 day' from t").await.unwrap_err().contains("date(x, '+7 days')"));
}
