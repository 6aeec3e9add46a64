//! A child process that never outlives its test, with its output in a file.
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::try_until;

/// Of a log, what a failed test shows.
const TAIL: u64 = 12_000;

/// An account that a child runs as; it need not exist on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Its own group.
    pub gid: u32,
    /// Further groups that it is a member of.
    pub groups: Vec<u32>,
}

impl User {
    /// The words of setpriv(1) that turn root into this user.
    pub fn words(&self) -> Vec<String> {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let groups = match groups.is_empty() {
            true => "--clear-groups".to_owned(),
            false => format!("--groups={}", groups.join(",")),
        };
        vec![format!("--reuid={}", self.uid), format!("--regid={}", self.gid), groups]
    }
}

/// A running or ended child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`, its output appended to the file `log`. It dies with this thread even when
    /// that is killed.
    pub fn spawn(name: &str, program: &Path, log: &Path, set: impl FnOnce(&mut Command)) -> Process {
        Process::spawn_as(None, name, program, log, set)
    }

    /// Like [`Process::spawn`], as another user.
    pub fn spawn_as(
        user: Option<&User>,
        name: &str,
        program: &Path,
        log: &Path,
        set: impl FnOnce(&mut Command),
    ) -> Process {
        let mut command = Command::new("setpriv");
        // One call does both: a change of user clears the signal that was set before.
        command.args(["--pdeathsig", "KILL"]).args(user.map(User::words).unwrap_or_default());
        command.arg("--").arg(program);
        let output = OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        set(&mut command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Process { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its piped standard input and output.
    pub fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        (self.child.stdin.take().unwrap(), self.child.stdout.take().unwrap())
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for it to end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let ended = try_until(limit, || self.ended());
        ended.unwrap_or_else(|| panic!("{} still runs after {limit:?}", self.name))
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::TERM);
        }
        self.wait(limit)
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Everything it wrote, as far as a person would read.
    pub fn log_tail(&self) -> String {
        let Ok(mut file) = File::open(&self.log) else { return String::new() };
        let len = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL))).unwrap();
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).unwrap();
        String::from_utf8_lossy(&tail).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        if std::thread::panicking() {
            eprintln!("===== {} (pid {}, {ended:?}) =====\n{}", self.name, self.pid(), self.log_tail());
        }
        self.kill9();
    }
}
