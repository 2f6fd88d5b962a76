//! The profiles that are there without any configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_domain::result::schema::JsonSchema;
use longshore_domain::run::profile::{InputDelivery, LocalProfile, Profile};
use longshore_domain::run::spec::{ResultMode, ResultRule, ResultScan, RunSpec};
use longshore_sql::{SQL_INPUT_SCHEMA, SQL_RESULT_SCHEMA};

/// The built-in profiles, by name.
pub(super) fn profiles() -> BTreeMap<String, Profile> {
    BTreeMap::from([("sql".to_owned(), sql())])
}

/// SQL over CSV files. On Kubernetes it needs an image that carries this binary.
fn sql() -> Profile {
    Profile {
        name: "sql".to_owned(),
        description: "Runs one SELECT over CSV files and gives columns and rows as its result".to_owned(),
        // A request is small, and a Pod without a volume starts in half the time.
        input: InputDelivery::Env("LONGSHORE_INPUT_JSON".to_owned()),
        defaults: RunSpec {
            run_timeout: Some(Duration::from_secs(120)),
            result: ResultRule { mode: Some(ResultMode::Required), scan: Some(ResultScan::LastObject), dialect: None },
            tmp_size: Some("0".to_owned()),
            ..RunSpec::default()
        },
        overridable: ["run_timeout", "start_timeout", "retention", "termination_grace", "resources", "placement"]
            .map(str::to_owned)
            .to_vec(),
        pod_annotations: Vec::new(),
        // A test holds that both compile.
        input_schema: JsonSchema::compile(SQL_INPUT_SCHEMA).ok(),
        result_schema: JsonSchema::compile(SQL_RESULT_SCHEMA).ok(),
        reports_status: true,
        kubernetes: None,
        local: Some(LocalProfile {
            command: ["{longshore}", "runner", "sql"].map(str::to_owned).to_vec(),
            ..LocalProfile::default()
        }),
        missing: Some("profiles.sql.kubernetes.image".to_owned()),
    }
}

/// What the image of the built-in profile `name` runs, where its configuration names the image only.
pub(super) fn image_command(name: &str) -> Vec<String> {
    match name {
        "sql" => ["/usr/local/bin/longshore", "runner", "sql"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_of_the_sql_runner_are_enforced() {
        assert_eq!(sql().input_schema.map(|schema| schema.text().to_owned()).as_deref(), Some(SQL_INPUT_SCHEMA));
        assert_eq!(sql().result_schema.map(|schema| schema.text().to_owned()).as_deref(), Some(SQL_RESULT_SCHEMA));
    }
}
