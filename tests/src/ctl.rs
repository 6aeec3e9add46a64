//! `wgoctl`, run as a person or a script would.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::binaries;
use crate::daemon::Daemon;
use crate::process::User;

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
    let mut command = Command::new(binaries::wgoctl());
    command.args(args);
    bare(&mut command).env("WGOD_SOCKET", socket);
    finish(&mut command, input)
}

/// Runs `wgoctl` as `user`, who sees what the shell commands `mounts` put before it, and has nothing but
/// `env` in its environment.
pub fn by<S: AsRef<std::ffi::OsStr>>(user: &User, mounts: &str, env: &[(&str, &Path)], args: &[S]) -> Ran {
    let mut command = Command::new("unshare");
    let script = format!("{mounts}\nexec setpriv \"$@\"");
    command.args(["-m", "sh", "-ec", &script, "sh"]).args(user.words());
    command.arg("--").arg(binaries::wgoctl()).args(args);
    bare(&mut command).envs(env.iter().copied());
    finish(&mut command, &[])
}

fn bare(command: &mut Command) -> &mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8")
}

fn finish(command: &mut Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
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
