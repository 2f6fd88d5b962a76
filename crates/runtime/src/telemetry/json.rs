//! Log lines as JSON: one object a line, no key twice, no control character, whatever is logged.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::printable::escaped_json;

/// Keys of every line; a field of such a name gets another one.
const OWN: [&str; 4] = ["timestamp", "level", "target", "span"];

/// Formats events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json;

impl<S> FormatEvent<S, JsonFields> for Json
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { mut line, target } = fields;
        // In the order in which people look for them.
        line.shift_insert(0, "timestamp".to_owned(), time.into());
        line.shift_insert(1, "level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), target.unwrap_or_else(|| metadata.target().to_owned()).into());
        if let Some(span) = event.parent().and_then(|id| context.span(id)).or_else(|| context.lookup_current()) {
            let extensions = span.extensions();
            let written = extensions.get::<FormattedFields<JsonFields>>().map_or("", |fields| fields.as_str());
            let mut members: Map<String, Value> = serde_json::from_str(written).unwrap_or_default();
            if let Some(taken) = members.remove("name") {
                put(&mut members, "name_", taken);
            }
            members.insert("name".to_owned(), span.name().into());
            line.insert("span".to_owned(), members.into());
        }
        let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{}", escaped_json(text))
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    line: Map<String, Value>,
    /// Of an event that came through the crate `log`, its own target.
    target: Option<String>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if name.starts_with("log.") {
            // What the bridge from that crate reports the source.
            return;
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        put(&mut self.line, if OWN.contains(&name) { format!("{name}_") } else { name.to_owned() }, value.into());
    }
}

/// Puts a value under a name that nothing else has.
fn put(map: &mut Map<String, Value>, name: impl Into<String>, value: Value) {
    let mut name = name.into();
    while map.contains_key(&name) {
        name.push('_');
    }
    map.insert(name, value);
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
