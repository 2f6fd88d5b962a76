//! `-o`: how answers are printed.

use clap::ValueEnum;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Table,
    /// The API's message as canonical proto3 JSON, with a result as the object that it is.
    Json,
}

/// `-o` of the verbs that print an answer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// How to print the answer: for people, or as the API's message in proto3 JSON
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: OutputFormat,
}

impl OutputArgs {
    pub(crate) fn is_json(&self) -> bool {
        self.output == OutputFormat::Json
    }
}
