use serde_json::{Value, json};

use super::*;

/// Answers `request` and returns the object and what was reported on the way.
async fn ask(request: Value, env: RunnerEnv) -> (Value, String) {
    let env = RunnerEnv { input_json: Some(request.to_string().into()), ..env };
    let mut notes = Vec::new();
    let result = answer(&env, &mut notes).await;
    assert_eq!(result.is_success(), result.to_json().starts_with(r#"{"status":"success""#));
    (serde_json::from_str(&result.to_json()).unwrap(), String::from_utf8(notes).unwrap())
}

async fn error_type(request: Value) -> String {
    let (result, notes) = ask(request, RunnerEnv::default()).await;
    let kind = result["error"]["type"].as_str().unwrap_or_default().to_owned();
    assert!(notes.contains(&kind), "{notes}");
    kind
}

#[tokio::test]
async fn a_built_in_data_set_answers_without_configuration() {
    let sql = "SELECT category, count(*) AS n FROM products GROUP BY category ORDER BY n DESC, category LIMIT 2;";
    let (mut result, notes) = ask(json!({"dataset": "demo/shop", "sql": sql}), RunnerEnv::default()).await;
    result["exec_time_ms"] = json!(0);
    let expected = json!({
        "status": "success", "columns": ["category", "n"], "rows": [["office", 7], ["cables", 4]], "row_count": 2,
        "truncated": false, "exec_time_ms": 0, "warnings": [], "error": null,
    });
    assert_eq!(result, expected);
    assert!(notes.contains("loaded products (40 rows, 1 of 7 columns) in ") && !notes.contains("orders"), "{notes}");
    assert!(notes.contains("query: 2 rows, 2 columns in "), "{notes}");
}

#[tokio::test]
async fn files_of_the_run_become_tables() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("2025")).unwrap();
    std::fs::write(dir.path().join("2025/sales.csv"), "region,amount\nnorth,10\nsouth,20\n").unwrap();
    std::fs::write(dir.path().join("raw data.csv"), "region,head\nnorth,Zoë\n").unwrap();
    let env = RunnerEnv { files: Some(dir.path().to_owned()), ..RunnerEnv::default() };
    let request = json!({
        "files": [{"path": "2025/sales.csv"}, {"path": "raw data.csv", "name": "heads.csv"}],
        "sql": "SELECT s.region, amount, head FROM sales s LEFT JOIN heads USING (region) ORDER BY amount",
    });
    let (result, _) = ask(request, env).await;
    assert_eq!(result["rows"], json!([["north", 10, "Zoë"], ["south", 20, null]]), "{result}");
}

#[tokio::test]
async fn each_fault_has_its_type() {
    let cases = [
        (json!(null), "VALIDATION_ERROR"),
        (json!({"dataset": "nope", "sql": "SELECT 1"}), "VALIDATION_ERROR"),
        (json!({"dataset": "demo/shop", "sql": "SELECT 1", "limit": 3}), "VALIDATION_ERROR"),
        (json!({"files": [{"path": "/etc/passwd"}], "sql": "SELECT 1"}), "VALIDATION_ERROR"),
        (json!({"dataset": "demo/shop", "sql": "PRAGMA table_info(orders)"}), "SQL_POLICY_VIOLATION"),
        (json!({"dataset": "demo/shop", "sql": "SELECT 1; DROP TABLE orders"}), "SQL_POLICY_VIOLATION"),
        (json!({"dataset": "demo/shop", "sql": "SELECT FROM WHERE"}), "SQL_EXECUTION_ERROR"),
        (json!({"dataset": "demo/shop", "sql": "SELECT * FROM order_items"}), "SQL_EXECUTION_ERROR"),
        (json!({"dataset": "demo/shop", "sql": "SELECT abs(-9223372036854775808)"}), "SQL_EXECUTION_ERROR"),
    ];
    for (request, expected) in cases {
        assert_eq!(error_type(request.clone()).await, expected, "{request}");
    }
}

#[tokio::test]
async fn an_endless_query_is_a_timeout() {
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
    let (result, _) =
        ask(json!({"dataset": "demo/support", "sql": sql, "timeout_seconds": 1}), RunnerEnv::default()).await;
    assert_eq!((&result["status"], &result["error"]["type"]), (&json!("timeout"), &json!("RUNNER_TIMEOUT")));
    assert!(result["exec_time_ms"].as_u64().unwrap() >= 900, "{result}");
}

/// SQLite looks at no clock within one function call; this one takes some twenty seconds.
#[tokio::test]
async fn a_single_endless_step_is_given_up() {
    let sql = "SELECT instr(hex(zeroblob(450000)), hex(zeroblob(225000)) || '1')";
    let (result, _) =
        ask(json!({"dataset": "demo/support", "sql": sql, "timeout_seconds": 1}), RunnerEnv::default()).await;
    assert_eq!(result["status"], "timeout", "{result}");
}

#[tokio::test]
async fn truncation_is_reported_with_its_cause() {
    for (field, value) in [("max_rows", 3), ("max_output_bytes", 2000)] {
        let request = json!({"dataset": "demo/support", "sql": "SELECT * FROM tickets", field: value});
        let (result, notes) = ask(request, RunnerEnv::default()).await;
        assert_eq!(result["truncated"], true);
        assert_eq!(result["row_count"], result["rows"].as_array().unwrap().len());
        assert!(notes.contains(&format!("there are more ({field})")), "{notes}");
    }
}

#[tokio::test]
async fn errors_fit_in_the_result_file() {
    let fields: serde_json::Map<String, Value> =
        (0..1000).map(|n| (format!("unknown_field_{n}"), Value::Null)).collect();
    let (result, _) = ask(Value::Object(fields), RunnerEnv::default()).await;
    assert!(result.to_string().len() < 4096);
    assert!(result["error"]["message"].as_str().unwrap().contains("unknown_field_0"));
}

#[tokio::test]
async fn the_examples_in_the_readme_run() {
    let readme = include_str!("../../../deploy/examples/README.md");
    let mut dataset = "";
    let mut seen = 0;
    for part in readme.split("\n## ").skip(1) {
        dataset = part.split_whitespace().next().unwrap_or(dataset);
        for block in part.split("```sql\n").skip(1) {
            let sql = block.split("```").next().unwrap();
            let (result, _) = ask(json!({"dataset": dataset, "sql": sql}), RunnerEnv::default()).await;
            assert_eq!(result["status"], "success", "{sql}: {result}");
            assert_ne!(result["row_count"], 0, "{sql}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} examples");
}

/// What makes the examples worth asking: types, gaps, quotes and line breaks arrive.
#[tokio::test]
async fn the_built_in_data_is_awkward_and_typed() {
    let cases = [
        (
            "demo/shop",
            "SELECT typeof(customer_id), typeof(zip), typeof(joined_on) FROM customers LIMIT 1",
            json!([["integer", "text", "text"]]),
        ),
        (
            "demo/shop",
            "SELECT typeof(quantity), typeof(unit_price), typeof(order_id) FROM orders LIMIT 1",
            json!([["integer", "real", "integer"]]),
        ),
        ("demo/shop", "SELECT count(*) > 0 FROM customers WHERE zip LIKE '0%'", json!([[1]])),
        ("demo/shop", "SELECT count(*) > 0 FROM orders WHERE note LIKE '%' || char(10) || '%'", json!([[1]])),
        (
            "demo/shop",
            "SELECT count(*) FROM orders LEFT JOIN customers USING (customer_id) LEFT JOIN products USING (product_id) WHERE customers.name IS NULL OR products.name IS NULL",
            json!([[0]]),
        ),
        ("demo/support", "SELECT count(*) > 0 FROM tickets WHERE agent_id IS NULL", json!([[1]])),
        (
            "demo/support",
            "SELECT count(*) > 0 FROM tickets WHERE subject LIKE '%\"%' AND subject LIKE '%,%'",
            json!([[1]]),
        ),
        (
            "demo/support",
            "SELECT count(*) FROM tickets LEFT JOIN agents USING (agent_id) WHERE agent_id IS NOT NULL AND name IS NULL",
            json!([[0]]),
        ),
        ("demo/support", "SELECT count(*) FROM tickets WHERE closed_at < created_at", json!([[0]])),
    ];
    for (dataset, sql, expected) in cases {
        let (result, _) = ask(json!({"dataset": dataset, "sql": sql}), RunnerEnv::default()).await;
        assert_eq!(result["rows"], expected, "{sql}: {result}");
    }
}

#[tokio::test]
async fn schemas_say_what_the_runner_does() {
    let input: Value = serde_json::from_str(SQL_INPUT_SCHEMA).unwrap();
    for example in input["examples"].as_array().unwrap() {
        let env = RunnerEnv { input_json: Some(example.to_string().into()), ..RunnerEnv::default() };
        request::read(&env).unwrap();
    }
    for (name, property) in input["properties"].as_object().unwrap() {
        let (Some(min), Some(max)) = (property["minimum"].as_u64(), property["maximum"].as_u64()) else { continue };
        for (value, accepted) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
            let json = json!({"dataset": "demo/shop", "sql": "SELECT 1", (name): value}).to_string();
            let env = RunnerEnv { input_json: Some(json.into()), ..RunnerEnv::default() };
            assert_eq!(request::read(&env).is_ok(), accepted, "{name}: {value}");
        }
    }
    let schema: Value = serde_json::from_str(SQL_RESULT_SCHEMA).unwrap();
    let (result, _) = ask(json!({}), RunnerEnv::default()).await;
    let keys: Vec<&String> = result.as_object().unwrap().keys().collect();
    assert_eq!(keys, schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>());
    assert_eq!(json!(keys), schema["required"]);
}

/// Statements that once gave a silently wrong answer, by what they were read from.
#[tokio::test]
async fn cases_from_elsewhere() {
    let cases: Value = serde_json::from_str(include_str!("../../../tests/cases/sql.json")).unwrap();
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        let file = case["file"].as_str().unwrap();
        let bytes = match case["input"]["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => data_encoding::BASE64.decode(case["input"]["base64"].as_str().unwrap().as_bytes()).unwrap(),
        };
        std::fs::write(dir.path().join(file), bytes).unwrap();
        let env = RunnerEnv { files: Some(dir.path().to_owned()), ..RunnerEnv::default() };
        let (result, _) = ask(json!({"files": [{"path": file}], "sql": case["sql"]}), env).await;
        let warned = result["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        let message = result["error"]["message"].as_str().unwrap_or_default();
        let same = result["rows"] == case["expect"];
        let right = match (case["expect"].as_str(), case["warned"].as_bool()) {
            (Some("error"), _) => {
                result["status"] == "error" && message.contains(case["says"].as_str().unwrap_or_default())
            }
            (_, Some(true)) => warned && result["status"] == "success",
            _ => same,
        };
        if !right {
            wrong.push(format!("{} ({}): {result}", case["id"], case["kind"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
