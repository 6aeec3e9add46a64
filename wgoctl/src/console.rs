//! Where text comes from and goes to: standard input and output, or a test's buffers.
use std::io::{BufRead, IsTerminal, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::clean::{JsonSafe, clean_lines};
use crate::failure::Failure;
use crate::wrap::wrap_lines;

/// What is known of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Columns of standard output; `None` when it isn't a terminal.
    pub columns: Option<usize>,
    /// Columns of standard error; `None` when it isn't a terminal.
    pub err_columns: Option<usize>,
    /// Colours are welcome on standard output.
    pub color: bool,
    /// Standard input and error are a person: one can ask.
    pub can_ask: bool,
    /// Standard error is a terminal: a line there can be redrawn.
    pub can_redraw: bool,
}

/// Narrower terminals are treated as this wide: some say 0 when they don't know.
const MIN_COLUMNS: usize = 16;

impl Terminal {
    /// Looks at the process's standard streams, `COLUMNS` and `NO_COLOR`.
    pub fn detect() -> Self {
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let size = terminal_size::terminal_size().map(|(columns, _)| usize::from(columns.0));
        let asked = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = asked.or(size).unwrap_or(80).max(MIN_COLUMNS);
        Self {
            columns: out.then_some(columns),
            err_columns: err.then_some(columns),
            color: out && !no_color && !dumb,
            can_ask: err && std::io::stdin().is_terminal(),
            can_redraw: err && !dumb,
        }
    }
}

/// Whether standard output is a pipe that nobody reads any more.
pub fn reader_is_gone() -> bool {
    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    // A stream of which this can't be asked has a reader.
    poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().contains(PollFlags::ERR)
}

/// The streams of one run.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Failures, questions, progress.
    pub err: &'a mut dyn Write,
    /// Answers, and sources named `-`.
    pub input: &'a mut dyn BufRead,
    /// What the streams are.
    pub terminal: Terminal,
}

impl Console<'_> {
    /// Writes a line, or several, to standard error. It is lost if nobody reads that.
    pub fn note(&mut self, text: &str) {
        let line = wrap_lines(text, self.terminal.err_columns);
        let _ = writeln!(self.err, "{line}").and_then(|()| self.err.flush());
    }

    /// Writes `text` as the result.
    ///
    /// # Errors
    /// [`Failure::Output`], also when the reader is gone.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::Output)
    }

    /// Writes `value` as the one JSON document of this run.
    ///
    /// # Errors
    /// [`Failure::Output`], also when the reader is gone.
    pub fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut safe = JsonSafe::new(self.out);
        serde_json::to_writer_pretty(&mut safe, value).map_err(|e| Failure::Output(e.into()))?;
        safe.end().map_err(Failure::Output)
    }

    /// Says what failed, on standard error, and as the JSON document if one is due.
    pub fn complain(&mut self, failure: &Failure, json: bool) {
        if json {
            self.complain_json(failure);
        }
        self.note(&format!("wgoctl: {}", clean_lines(&failure.to_string())));
    }

    /// The JSON document of a failed run.
    pub fn complain_json(&mut self, failure: &Failure) {
        // There is no third stream to say that both are closed.
        let _ = self.print_json(&serde_json::json!({ "error": failure.to_json() }));
        let _ = self.out.flush();
    }
}
