//! A program in Rust that uses a server: asks a question and waits for the answer.
//! It needs of Longshore the feature `client` alone.

use std::error::Error;
use std::io::{self, Write};

use longshore::client::{Client, Credentials};
use longshore::proto::v1;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = std::env::var("LONGSHORE_SERVER").unwrap_or_else(|_| "http://127.0.0.1:7420".to_owned());
    let client = Client::new(&server, &Credentials::default())?;
    let question = r#"{
        "dataset": "demo/shop",
        "sql": "select priority, count(*) as tickets from tickets group by 1 order by 1"
    }"#;
    let spec = v1::RunSpec {
        workload: Some(v1::run_spec::Workload::Runner(v1::RunnerWorkload { profile: "sql".to_owned() })),
        input: Some(v1::Input { content: Some(v1::input::Content::Json(question.to_owned())) }),
        ..v1::RunSpec::default()
    };
    // Safe to repeat: the same request is the same run.
    let run = client.submit("namespaces/default", "tickets-by-priority-rust", spec).await?;
    let run = client.wait(&run.name).await?;
    writeln!(io::stdout(), "{} {}", run.state().as_str_name(), run.result.unwrap_or_default().json)?;
    Ok(())
}
