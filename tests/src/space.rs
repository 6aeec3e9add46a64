//! Network namespaces beside that of the test: other machines on its cables.
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::net::{enter, enter_namespace, namespace};

/// A network namespace, for as long as a process holds it. It ends with the test, whatever becomes of that.
#[derive(Debug)]
pub struct Space(Child);

impl Space {
    /// One that has nothing but `lo`.
    pub fn new() -> Space {
        Space::with("true")
    }

    /// One that a script has set up.
    pub fn with(setup: &str) -> Space {
        let script = format!("ip link set lo up && {setup} && echo ready && exec cat");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "unshare", "-n", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a namespace");
        Space(holder)
    }

    /// The process that holds it, by which `ip` and `nsenter` know it.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs a command in it, and gives what it printed.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        run(&[&["nsenter", "-t", &self.pid().to_string(), "-n"], words].concat())
    }

    /// Does something in there: sockets and processes that it makes are there to stay.
    pub fn there<T>(&self, work: impl FnOnce() -> T) -> T {
        let here = namespace();
        enter(self.pid()).unwrap();
        let result = work();
        enter_namespace(&here).unwrap();
        result
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // A zombie is to be no one's.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command where this thread is, and gives what it printed.
#[track_caller]
pub(crate) fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
