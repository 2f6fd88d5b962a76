//! Stdout, stderr, and the status line that lives at the bottom of a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt};

mod filter;

use self::filter::Filter;
use super::text::clip;
use crate::terminal::error::CliError;

const ERASE_LINE: &str = "\r\x1b[2K";

/// A colour for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Green,
    Red,
    Yellow,
    Bold,
    Dim,
}

/// Where output goes. Data goes through tokio, so that a slow reader does not keep Ctrl-C from being heard.
pub(crate) struct Console {
    out: tokio::sync::Mutex<StreamWriter>,
    program_err: tokio::sync::Mutex<StreamWriter>,
    screen: Mutex<Screen>,
    out_terminal: bool,
    out_color: bool,
    err_terminal: bool,
    err_color: bool,
    /// Whether somebody can answer: stdin and stderr are a terminal.
    can_ask: bool,
}

/// A stream of this process.
struct StreamWriter {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    /// Keeps a terminal from acting upon what is written; `None`: all of it passes.
    filter: Option<Filter>,
}

/// What is on the terminal, as far as it matters for the status line.
struct Screen {
    err: Box<dyn Write + Send>,
    status: Option<String>,
    drawn: bool,
    /// The program left the cursor within a line: there is no room for a status line.
    mid_line: bool,
    /// Whether what is written is kept from acting upon the terminal.
    filtered: bool,
    /// Bytes are on their way to the terminal.
    writing: bool,
}

impl Console {
    /// The streams of this process. Colours only on a terminal, and not with `NO_COLOR` or `TERM=dumb`. A terminal acts
    /// upon no more than that of what others made up, unless `raw`.
    pub(crate) fn of_process(raw: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let (out_terminal, err_terminal) = (io::stdout().is_terminal(), io::stderr().is_terminal() && !dumb);
        // Whatever TERM says of it.
        let filter = |terminal: bool| (terminal && !raw).then(Filter::default);
        let (out, program_err) = (filter(io::stdout().is_terminal()), filter(io::stderr().is_terminal()));
        let filtered = program_err.is_some();
        let color = !set("NO_COLOR") && !dumb;
        Self {
            out: tokio::sync::Mutex::new(StreamWriter { stream: Box::new(tokio::io::stdout()), filter: out }),
            program_err: tokio::sync::Mutex::new(StreamWriter {
                stream: Box::new(tokio::io::stderr()),
                filter: program_err,
            }),
            screen: Mutex::new(Screen { filtered, ..Screen::new(Box::new(io::stderr())) }),
            out_terminal,
            out_color: color && out_terminal,
            err_terminal,
            err_color: color && err_terminal,
            can_ask: io::stdin().is_terminal() && io::stderr().is_terminal(),
        }
    }

    /// Whether there is somebody to be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.can_ask
    }

    /// Asks something on stderr; the answer is typed behind it.
    pub(crate) fn prompt(&self, question: &str) {
        self.screen().print(question);
    }

    /// Whether a status line can be shown.
    pub(crate) fn has_status_line(&self) -> bool {
        self.err_terminal
    }

    /// Whether somebody sees stdout, and not a program.
    pub(crate) fn is_watched(&self) -> bool {
        self.out_terminal
    }

    /// Columns of stdout, if it is a terminal.
    pub(crate) fn out_width(&self) -> Option<usize> {
        self.out_terminal.then(|| columns(&io::stdout())).flatten()
    }

    /// Columns of stderr; 80 if they can't be determined.
    pub(crate) fn err_width(&self) -> usize {
        columns(&io::stderr()).unwrap_or(80)
    }

    /// `text` in a colour, for stdout.
    pub(crate) fn paint_out(&self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.out_color)
    }

    /// `text` in a colour, for stderr.
    pub(crate) fn paint_err(&self, text: &str, paint: Paint) -> String {
        painted(text, paint, self.err_color)
    }

    /// Writes to stdout. On a terminal, bytes that are a program's may leave the cursor anywhere.
    pub(crate) async fn out(&self, bytes: &[u8]) -> Result<(), CliError> {
        write_data(self, &self.out, self.out_terminal, bytes).await.map_err(CliError::Output)
    }

    /// Writes bytes of the program to stderr. If nobody reads that, so be it.
    pub(crate) async fn program_err(&self, bytes: &[u8]) {
        let _ = write_data(self, &self.program_err, self.err_terminal, bytes).await;
    }

    /// Writes what a filter still holds, once no more comes. If nobody reads it, so be it.
    pub(crate) async fn finish(&self) {
        for writer in [&self.out, &self.program_err] {
            let mut writer = writer.lock().await;
            let rest = writer.filter.as_mut().map(Filter::finish).unwrap_or_default();
            if !rest.is_empty() && writer.stream.write_all(&rest).await.is_ok() {
                let _ = writer.stream.flush().await;
            }
        }
    }

    /// Reports something on a line of its own on stderr.
    pub(crate) fn note(&self, line: &str) {
        self.screen().print_line(line);
    }

    /// Reports an error on stderr.
    pub(crate) fn error(&self, text: &str) {
        let line = format!("{} {text}", self.paint_err("error:", Paint::Red));
        self.screen().print_line(&line);
    }

    /// Shows `line` as the status line; `None` takes it away. Without a terminal nothing is shown.
    pub(crate) fn set_status(&self, line: Option<String>) {
        if !self.err_terminal {
            return;
        }
        let mut screen = self.screen();
        screen.status = line;
        screen.redraw();
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        // A panic elsewhere leaves nothing here that could be wrong.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("err_terminal", &self.err_terminal).finish_non_exhaustive()
    }
}

async fn write_data(
    console: &Console,
    writer: &tokio::sync::Mutex<StreamWriter>,
    terminal: bool,
    bytes: &[u8],
) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if terminal {
        console.screen().begin_write();
    }
    let mut writer = writer.lock().await;
    let filtered = writer.filter.as_mut().map(|filter| filter.pass(bytes));
    let shown = filtered.as_deref().unwrap_or(bytes);
    let mut written = writer.stream.write_all(shown).await;
    if written.is_ok() {
        written = writer.stream.flush().await;
    }
    if terminal {
        console.screen().end_write(bytes);
    }
    written
}

impl Screen {
    fn new(err: Box<dyn Write + Send>) -> Self {
        Self { err, status: None, drawn: false, mid_line: false, filtered: false, writing: false }
    }

    fn begin_write(&mut self) {
        self.erase();
        self.writing = true;
    }

    fn end_write(&mut self, bytes: &[u8]) {
        self.writing = false;
        self.mid_line = !bytes.ends_with(b"\n");
        self.redraw();
    }

    fn print_line(&mut self, line: &str) {
        self.erase();
        let start = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
        let line = self.shown(line);
        self.put(&format!("{start}{line}\n"));
        self.redraw();
    }

    /// Writes text that ends within a line, where no status line is.
    fn print(&mut self, text: &str) {
        self.erase();
        let start = if std::mem::take(&mut self.mid_line) { "\n" } else { "" };
        let text = self.shown(text);
        self.put(&format!("{start}{text}"));
    }

    fn shown<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.filtered { Filter::whole(text).into() } else { text.into() }
    }

    fn redraw(&mut self) {
        self.erase();
        if self.mid_line || self.writing {
            return;
        }
        if let Some(status) = self.status.clone() {
            self.put(&status);
            self.drawn = true;
        }
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.put(ERASE_LINE);
        }
    }

    /// If nobody reads stderr there is nobody to report to either.
    fn put(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }
}

fn painted(text: &str, paint: Paint, color: bool) -> String {
    let code = match paint {
        Paint::Green => "32",
        Paint::Red => "31",
        Paint::Yellow => "33",
        Paint::Bold => "1",
        Paint::Dim => "2",
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// `line` cut so that it never wraps: a wrapped status line can't be erased.
pub(crate) fn fit(line: &str, width: usize) -> String {
    clip(line, width.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_status_line_makes_room_for_output() {
        let shown = Shared::default();
        let mut screen = Screen::new(Box::new(shown.clone()));
        screen.status = Some("RUNNING 1 s".into());
        screen.redraw();
        assert_eq!(shown.take(), "RUNNING 1 s");
        screen.begin_write();
        assert_eq!(shown.take(), "\r\x1b[2K");
        screen.redraw();
        assert_eq!(shown.take(), "", "not between the bytes of the program");
        screen.end_write(b"half a line");
        assert_eq!(shown.take(), "", "not behind half a line");
        screen.print_line("note");
        assert_eq!(shown.take(), "\nnote\nRUNNING 1 s");
        screen.begin_write();
        screen.end_write(b"line\n");
        assert_eq!(shown.take(), "\r\x1b[2KRUNNING 1 s");
        screen.status = None;
        screen.redraw();
        assert_eq!(shown.take(), "\r\x1b[2K");
    }

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(painted("a", Paint::Red, true), "\x1b[31ma\x1b[0m");
        assert_eq!(painted("a", Paint::Red, false), "a");
        assert_eq!(fit("abcdef", 6), "abcd…");
    }
}
