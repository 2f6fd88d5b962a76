//! Logs for people or machines, on standard error. Much of what is logged comes from outside, so
//! nothing in it ends a line, begins a control sequence, or stands for a key.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::SubscriberInitExt;

mod json;
mod text;

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

/// Libraries speak up from `warn` on; we from `info` on, or as `RUST_LOG` says. kube logs every
/// failed request as an error, expected ones too: what of it matters, we report.
const DEFAULT_FILTER: &str = "warn,longshore=info,kube_client=off";

/// Installs the process's subscriber. Does nothing if there is one.
pub fn install(format: LogFormat) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|directives| !directives.is_empty());
    let filter = asked.and_then(|directives| EnvFilter::try_new(directives).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let terminal = std::io::stderr().is_terminal();
    // An error means that a subscriber is there already, as in tests.
    let _ = if format.is_json(terminal) {
        json_lines(filter, std::io::stderr).try_init()
    } else {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        text_lines(filter, colours, std::io::stderr).try_init()
    };
}

impl LogFormat {
    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Auto => !terminal,
            Self::Text => false,
            Self::Json => true,
        }
    }
}

fn json_lines<W>(filter: EnvFilter, writer: W) -> impl Subscriber + SubscriberInitExt + Send + Sync + 'static
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .fmt_fields(JsonFields::new())
        .event_format(json::Json)
        .finish()
}

fn text_lines<W>(
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> impl Subscriber + SubscriberInitExt + Send + Sync + 'static
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .compact()
        .fmt_fields(text::TextFields)
        .with_ansi(colours)
        .finish()
}

#[cfg(test)]
mod tests;
