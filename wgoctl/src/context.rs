//! One run: the daemon to talk to, how long to wait for it, and how to answer.
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use wgo_api::Kind;
use wgo_api::client::{UnixHttpClient, no_permission};

use crate::add::absolute;
use crate::cli::Cli;
use crate::console::{Console, Terminal};
use crate::failure::Failure;
use crate::socket::{self, Found};
use crate::tunnel::Tunnel;

/// How long an answer may take unless `--timeout` says otherwise.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How much longer than the daemon the client waits, where the daemon keeps the time.
const MARGIN: Duration = Duration::from_secs(10);

/// What a verb needs to run.
pub(crate) struct Context<'c, 'io> {
    /// The daemon. Nothing is connected until the first call.
    pub(crate) client: UnixHttpClient,
    /// Where text goes.
    pub(crate) console: &'c mut Console<'io>,
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// The daemon's socket, which is for others: `client` uses its read-only one.
    instead_of: Option<PathBuf>,
    /// The way to a daemon on another machine.
    tunnel: Option<Rc<Tunnel>>,
    /// `--timeout`: `None` when not given, `Some(None)` for ever.
    timeout: Option<Option<Duration>>,
}

impl<'c, 'io> Context<'c, 'io> {
    pub(crate) fn new(cli: &Cli, console: &'c mut Console<'io>) -> Self {
        let timeout = cli.timeout.map(|period| (period.0 > 0).then(|| period.into()));
        let Found { path, instead_of } = match &cli.socket {
            Some(path) => Found::wanted(path.clone()),
            None => socket::find(&socket::Surroundings::of_process()),
        };
        let client = UnixHttpClient::new(path, timeout.unwrap_or(Some(ANSWER_TIME)));
        Self { client, console, json: cli.json, instead_of, tunnel: None, timeout }
    }

    /// The same with the daemon at the far end of a tunnel.
    pub(crate) fn through(mut self, tunnel: Option<Tunnel>) -> Self {
        self.tunnel = tunnel.map(Rc::new);
        self
    }

    /// The way to the daemon, if it is on another machine.
    pub(crate) fn tunnel(&self) -> Option<Rc<Tunnel>> {
        self.tunnel.clone()
    }

    /// A folder of the daemon's machine as it needs it: absolute, and in UTF-8 for JSON.
    pub(crate) fn folder(&self, folder: &Path) -> Result<PathBuf, Failure> {
        match &self.tunnel {
            Some(tunnel) if !folder.is_absolute() => Err(Failure::Usage(format!(
                "{}: give the whole path of the folder, which is at {}",
                folder.display(),
                tunnel.url()
            ))),
            _ => absolute(folder),
        }
    }

    /// Says of a refusal why this run could do no more than look.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match (failure, &self.instead_of) {
            (Failure::Api(mut error), Some(path)) if error.kind() == Kind::Permission => {
                error.message = format!("{}. There is {}", error.message, no_permission(path).message);
                Failure::Api(error)
            }
            (Failure::Api(error), None) => Failure::Api(match &self.tunnel {
                Some(tunnel) => tunnel.explain(error),
                None => error,
            }),
            (failure, _) => failure,
        }
    }

    /// How long to wait for a torrent: as long as `--timeout` says, else for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.timeout.flatten()
    }

    /// A client for a call in which the daemon waits for up to `patience`.
    pub(crate) fn waiting_client(&self, patience: Option<Duration>) -> UnixHttpClient {
        self.client.with_timeout(patience.map(|limit| limit + MARGIN))
    }

    /// A client that has the usual time to answer, whatever `--timeout` says.
    pub(crate) fn prompt_client(&self) -> UnixHttpClient {
        self.client.with_timeout(Some(ANSWER_TIME))
    }

    pub(crate) fn socket(&self) -> &Path {
        self.client.path()
    }

    pub(crate) fn terminal(&self) -> Terminal {
        self.console.terminal
    }

    /// Asks the person at the terminal; anything but yes is no.
    pub(crate) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        let asked = write!(self.console.err, "{question}").and_then(|()| self.console.err.flush());
        asked.map_err(Failure::Output)?;
        let mut line = String::new();
        let read = self.console.input.read_line(&mut line);
        read.map_err(|error| Failure::System("cannot read the answer", error))?;
        Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Prints the result: `value` as JSON, or the text of `human`.
    pub(crate) fn answer<T: Serialize>(
        &mut self,
        value: &T,
        human: impl FnOnce(&T, Terminal) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.console.print_json(value);
        }
        let text = human(value, self.console.terminal);
        self.console.print(&text)
    }
}
