//! The SQL runner as the executable has it, without a daemon.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The result of `sql` over `files` (name and content).
pub(crate) fn ask(files: &[(&str, &[u8])], request: &Value) -> Value {
    let dir = tempfile::TempDir::with_prefix("longshore-it-").unwrap();
    for (name, content) in files {
        std::fs::File::create(dir.path().join(name)).unwrap().write_all(content).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_longshore"))
        .args(["runner", "sql"])
        .env_clear()
        .env("LONGSHORE_FILES", dir.path())
        .env("LONGSHORE_INPUT_JSON", request.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.success(), result["status"] == "success", "{output:?}");
    result
}

#[test]
fn a_misspelt_column_in_double_quotes_is_an_error() {
    let files: &[(&str, &[u8])] = &[("t.csv", b"id,category\n1,a\n2,b\n")];
    let request = |sql: &str| json!({"files": [{"path": "t.csv"}], "sql": sql});
    for sql in [
        "select \"categroy\", count(*) from t group by 1",
        "select count(*) from t where \"categroy\" = 'a'",
        "select count(*) from t group by \"categroy\"",
        "select id from t order by \"categroy\"",
    ] {
        let result = ask(files, &request(sql));
        let message = result["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("did you mean \"category\"?"), "{sql}: {result}");
    }
    assert_eq!(ask(files, &request("select \"category\" from t order by 1"))["rows"], json!([["a"], ["b"]]));
}

#[test]
fn sqlite_has_the_functions_that_need_flags() {
    let from = "(select 1 as x union all select 2 union all select 9)";
    let sql = format!("select sqrt(16), pow(2, 10), median(x), percentile(x, 50) from {from}");
    let result = ask(&[("t.csv", b"a,b\n1,2\n")], &json!({"files": [{"path": "t.csv"}], "sql": sql}));
    assert_eq!(result["rows"], json!([[4.0, 1024.0, 2.0, 2.0]]), "{result}");
}
