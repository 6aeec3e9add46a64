//! Runs `wgoctl` in this process against a mock daemon.
use serde_json::Value;
use wgo_api::mock::{MockDaemon, torrent};
use wgo_api::torrent::State;
use wgoctl::console::{Console, Terminal};

/// What a run left behind.
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: u8,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Ran {
    /// The exit code must be this.
    #[track_caller]
    pub(crate) fn code(self, code: u8) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// The output is one JSON document, and this is it.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// The output contains all of these.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part), "no {part:?} in\n{}\nerr: {}", self.out, self.err);
        }
        self
    }

    /// Standard error contains all of these.
    #[track_caller]
    pub(crate) fn complains(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "no {part:?} in\n{}\nout: {}", self.err, self.out);
        }
        self
    }
}

/// Runs with this standard input and terminal.
pub(crate) fn run_with(args: &[&str], mut input: &[u8], terminal: Terminal) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, input: &mut input, terminal };
    let code = wgoctl::run(["wgoctl"].iter().chain(args), &mut console);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// A mock daemon and the command that drives it.
pub(crate) struct Rig {
    /// The daemon.
    pub(crate) daemon: MockDaemon,
}

impl Rig {
    /// Three torrents: 1 downloads, 2 seeds, 3 failed.
    pub(crate) fn new() -> Rig {
        let torrents =
            vec![torrent(1, State::Downloading), torrent(2, State::Seeding), torrent(3, State::Error)];
        Rig { daemon: MockDaemon::start(torrents) }
    }

    /// Runs against the daemon, with neither input nor terminal.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"", Terminal::default())
    }

    /// Runs against the daemon.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8], terminal: Terminal) -> Ran {
        let socket = self.daemon.socket();
        let mut all = vec!["--socket", socket.to_str().unwrap()];
        all.extend(args);
        run_with(&all, input, terminal)
    }

    /// The parameters of the last call.
    pub(crate) fn last_call(&self) -> (String, Value) {
        self.daemon.mock().calls().pop().expect("a call was made")
    }

    /// States of the daemon's torrents.
    pub(crate) fn states(&self) -> Vec<State> {
        self.daemon.mock().torrents().iter().map(|torrent| torrent.state).collect()
    }

    /// Labels of the daemon's torrents.
    pub(crate) fn labels(&self) -> Vec<Vec<String>> {
        self.daemon.mock().torrents().iter().map(|torrent| torrent.labels.clone()).collect()
    }

    /// Writes a file into the rig's folder and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.daemon.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
