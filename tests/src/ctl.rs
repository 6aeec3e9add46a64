//! `wgoctl`, run as a person or a script would.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binaries;
use crate::daemon::Daemon;

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `wgoctl` against `daemon`.
pub fn run<S: AsRef<std::ffi::OsStr>>(daemon: &Daemon, args: &[S]) -> Ran {
    at(&daemon.socket(), args, &[])
}

/// Runs `wgoctl` with `input` on its standard input.
pub fn run_with<S: AsRef<std::ffi::OsStr>>(daemon: &Daemon, args: &[S], input: &[u8]) -> Ran {
    at(&daemon.socket(), args, input)
}

/// Runs `wgoctl --json` and reads what it printed.
#[track_caller]
pub fn json<S: AsRef<std::ffi::OsStr>>(daemon: &Daemon, args: &[S]) -> (i32, Value) {
    let mut all: Vec<&std::ffi::OsStr> = vec!["--json".as_ref()];
    all.extend(args.iter().map(AsRef::as_ref));
    let ran = run(daemon, &all);
    let read = serde_json::from_str(&ran.out);
    (ran.code, read.unwrap_or_else(|error| panic!("not one JSON document: {error}: {ran:?}")))
}

/// Runs `wgoctl` against whatever is at `socket`.
pub fn at<S: AsRef<std::ffi::OsStr>>(socket: &Path, args: &[S], input: &[u8]) -> Ran {
    let mut child = Command::new(binaries::wgoctl())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("WGOD_SOCKET", socket)
        .env("LC_ALL", "C.UTF-8")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its input is free to close it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("wgoctl prints UTF-8");
    Ran { code: status.code().expect("wgoctl was not killed"), out: text(stdout), err: text(stderr) }
}

impl Ran {
    /// # Panics
    /// When the exit code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}
