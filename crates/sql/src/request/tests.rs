use super::*;

fn violations(json: &str) -> String {
    match parse(json.as_bytes()) {
        Err(error @ RunError::Validation(_)) => error.to_string(),
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn defaults() {
    let request = parse(br#"{"dataset": "demo/shop", "sql": "SELECT 1"}"#).unwrap();
    let expected = SqlRequest {
        data: DataChoice::Dataset("demo/shop".into()),
        sql: "SELECT 1".into(),
        csv: CsvOptions::default(),
        max_rows: 200,
        timeout_seconds: 10,
        max_output_bytes: 786_432,
    };
    assert_eq!(request, expected);
}

#[test]
fn null_is_unset_and_whole_floats_are_whole_numbers() {
    let json =
        "\u{feff}{\"dataset\": null, \"files\": [{\"path\": \"a/Orders.csv\", \"name\": null}], \"sql\": \"SELECT 1\",
        \"max_rows\": 10.0, \"timeout_seconds\": 6e1}";
    let request = parse(json.as_bytes()).unwrap();
    let file = FileRef { table: "Orders".into(), path: "a/Orders.csv".into() };
    assert_eq!(request.data, DataChoice::Files(vec![file]));
    assert_eq!((request.max_rows, request.timeout_seconds), (10, 60));
}

#[test]
fn how_the_files_are_written_can_be_said() {
    let request = parse(br#"{"dataset": "a", "sql": "S", "delimiter": "\t", "header": false}"#).unwrap();
    assert_eq!(request.csv, CsvOptions { delimiter: Some(b'\t'), header: Some(false) });
}

#[test]
fn all_violations_are_reported_at_once() {
    let text = violations(
        r#"{"dataset_id": "x", "sql": " ", "max_rows": 1001, "timeout_seconds": 1.5, "max_output_bytes": "1"}"#,
    );
    for part in [
        "dataset_id: is not a known field; did you mean \"dataset\"? (known: dataset, files, sql,",
        "dataset: is required, unless files is set",
        "sql: is empty",
        "max_rows: must be a whole number from 1 to 1000, not 1001",
        "timeout_seconds: must be a whole number from 1 to 60, not 1.5",
        "max_output_bytes: must be a whole number from 1024 to 4194304, not \"1\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn single_violations() {
    let cases = [
        (r"[1]", "request: must be a JSON object, not a list"),
        (r#""SELECT 1""#, "request: must be a JSON object, not a string"),
        (r#"{"sql": "S", "dataset": "../etc"}"#, "dataset: \"../etc\" is not a data set's name"),
        (r#"{"sql": "S", "dataset": 7}"#, "dataset: must be a string, not a number"),
        (r#"{"sql": "S", "dataset": "a", "files": [{"path": "a.csv"}]}"#, "dataset: can't be set together with files"),
        (r#"{"sql": "S", "files": {}}"#, "files: must be a list of {name, path}, not an object"),
        (r#"{"sql": "S", "files": []}"#, "files: must have 1 to 64 members, not 0"),
        (r#"{"sql": "S", "files": ["a.csv"]}"#, "files[0]: must be an object with path"),
        (r#"{"sql": "S", "files": [{"name": "a"}]}"#, "files[0].path: is required"),
        (r#"{"sql": "S", "files": [{"path": ""}]}"#, "files[0].path: must be a string that is not empty"),
        (
            r#"{"sql": "S", "files": [{"path": "a.csv", "nmae": "b"}]}"#,
            "files[0].nmae: is not a known field; did you mean \"name\"?",
        ),
        (r#"{"sql": "S", "files": [{"path": "x;drop.csv"}]}"#, "files[0].path: \"x;drop\" can't be a table name"),
        (
            r#"{"sql": "S", "files": [{"path": "a.csv", "name": "a b"}]}"#,
            "files[0].name: \"a b\" can't be a table name",
        ),
        (
            r#"{"sql": "S", "files": [{"path": "a.csv"}, {"path": "b/A.csv"}]}"#,
            "files[1]: table \"A\" is given twice, from \"a.csv\" and \"b/A.csv\"",
        ),
        (r#"{"sql": "a\u0000b", "dataset": "a"}"#, "sql: holds a NUL character"),
        (
            r#"{"sql": "S", "dataset": "a", "delimiter": ";;"}"#,
            "delimiter: must be one character that separates fields",
        ),
        (r#"{"sql": "S", "dataset": "a", "delimiter": "\""}"#, "delimiter: must be one character"),
        (r#"{"sql": "S", "dataset": "a", "delimiter": 7}"#, "delimiter: must be one character"),
        (r#"{"sql": "S", "dataset": "a", "header": "no"}"#, "header: must be true or false"),
        (r#"{"sql": null, "dataset": "a"}"#, "sql: is required"),
        (r#"{"sql": 1, "dataset": "a"}"#, "sql: must be a string, not a number"),
        (r#"{"sql": "S", "dataset": "a", "max_rows": -1}"#, "max_rows: must be a whole number from 1 to 1000, not -1"),
        (r#"{"sql": "S", "dataset": "a", "max_rows": 1e300}"#, "max_rows: must be"),
        (r#"{"sql": "S", "dataset": "a", "timeout_seconds": 0}"#, "timeout_seconds: must be"),
        (r#"{"sql": "S", "dataset": "a", "timeout_seconds": 61}"#, "timeout_seconds: must be"),
        (r#"{"sql": "S", "dataset": "a", "max_output_bytes": 1023}"#, "max_output_bytes: must be"),
    ];
    for (json, expected) in cases {
        let text = violations(json);
        assert!(text.starts_with(expected), "{json}: {text}");
        assert!(!text.contains("; files") && !text.contains("; dataset"), "one violation only: {text}");
    }
    let long = format!(r#"{{"sql": "{}", "dataset": "a"}}"#, "x".repeat(SQL_BYTES + 1));
    assert_eq!(violations(&long), "sql: has more than 65536 bytes");
}

#[test]
fn what_is_not_json_is_distinguished_from_what_is_not_there() {
    let kind = |env: &RunnerEnv| read(env).unwrap_err().kind();
    let with = |json: &str| RunnerEnv { input_json: Some(json.into()), ..RunnerEnv::default() };
    assert_eq!(kind(&RunnerEnv::default()), "INVALID_INPUT");
    assert_eq!(kind(&with(" \n")), "INVALID_INPUT");
    assert_eq!(kind(&with("{")), "INVALID_JSON");
    assert_eq!(kind(&with("{\"sql\": \"S\"} x")), "INVALID_JSON");
    assert_eq!(kind(&with(&"[".repeat(100_000))), "INVALID_JSON");
    assert_eq!(kind(&with(&" ".repeat(2 << 20))), "INVALID_INPUT");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.json");
    let from_file = RunnerEnv { input_path: Some(path.clone()), ..RunnerEnv::default() };
    assert_eq!(kind(&from_file), "INVALID_INPUT");
    std::fs::write(&path, b"{\"sql\": \"\xff\"}").unwrap();
    assert_eq!(kind(&from_file), "INVALID_JSON");
    std::fs::write(&path, br#"{"sql": "S", "dataset": "file"}"#).unwrap();
    assert_eq!(read(&from_file).unwrap().data, DataChoice::Dataset("file".into()));

    let both = RunnerEnv { input_json: Some(r#"{"sql": "S", "dataset": "env"}"#.into()), ..from_file };
    assert_eq!(read(&both).unwrap().data, DataChoice::Dataset("env".into()));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }
}
