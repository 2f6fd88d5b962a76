//! Logs for people or machines, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries speak up from `warn` on; we from `info` on, or as `RUST_LOG` says. kube tells every
/// failed request as an error, expected ones too: what of it matters, we tell.
const DEFAULT_FILTER: &str = "warn,longshore=info,kube_client=off";

/// Installs the process's subscriber. Does nothing if there is one.
pub fn install(format: LogFormat) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|directives| !directives.is_empty());
    let filter = asked.and_then(|directives| EnvFilter::try_new(directives).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    let writer = BoxMakeWriter::new(std::io::stderr);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // An error means that a subscriber is there already, as in tests.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    } else {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.compact().with_ansi(colours).try_init()
    };
}
