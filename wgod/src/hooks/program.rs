//! One run of one program, in the helper: started, listened to, ended when its time is up.
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::{How, Report};

/// Bytes of a line that are shown.
const LINE: usize = 1000;
/// Lines of a run that are shown; of the others only their number.
const LINES: u64 = 100;
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// The same when the daemon ends: the system may be about to shut down.
const LAST_GRACE: Duration = Duration::from_millis(700);
/// How often a program that was told to end is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// A program has ended: what it left in its pipes is read for so long. Others that it started may hold them open.
const DRAIN: Duration = Duration::from_millis(300);

/// What of the helper's own environment programs get: where things are, and in which language to speak. The rest
/// is the daemon's business.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
];

/// Where a program is looked for that is named without a path, if $PATH says nothing.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be run.
pub(super) struct Run {
    /// Its number.
    pub(super) number: u64,
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// What it is told.
    pub(super) fields: Vec<(String, OsString)>,
    /// How long it may take.
    pub(super) time_limit: Duration,
}

/// Runs it to its end, and reports that. `stop`: the daemon has ended.
pub(super) async fn run(run: Run, reports: mpsc::Sender<Report>, stop: CancellationToken) {
    let hidden = AtomicU64::new(0);
    let how = match start(&run) {
        Err(error) => How::Unstarted(error.to_string()),
        Ok(mut child) => {
            let shown = AtomicU64::new(0);
            let speech = Speech { run: run.number, reports: &reports, shown: &shown, hidden: &hidden };
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let listen = async { tokio::join!(speech.hear(out), speech.hear(err)) };
            let wait = end(&mut child, run.time_limit, &stop);
            let (mut listen, mut wait) = (Box::pin(listen), Box::pin(wait));
            let mut silent = false;
            let how = loop {
                tokio::select! {
                    how = &mut wait => break how,
                    _ = &mut listen, if !silent => silent = true,
                }
            };
            if !silent {
                // What is not said by then is left unheard.
                let _ = timeout(DRAIN, listen).await;
            }
            how
        }
    };
    let ended = Report::Ended { run: run.number, how, hidden: hidden.load(Ordering::Relaxed) };
    // Nobody hears it when the daemon has ended.
    let _ = reports.send(ended).await;
}

fn start(run: &Run) -> io::Result<Child> {
    let (program, arguments) = run.words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(inherited)
        .envs(run.fields.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, that ends as a whole.
        .process_group(0)
        .spawn()
}

/// Waits for the program to end, and sees to it that it does. All that it started goes with it, if it has to be
/// ended; what it leaves behind when it ends by itself, it may have meant to.
async fn end(child: &mut Child, time_limit: Duration, stop: &CancellationToken) -> How {
    let cause = tokio::select! {
        status = child.wait() => return status.map_or_else(|error| How::Unstarted(error.to_string()), how),
        () = sleep(time_limit) => How::Late,
        () = stop.cancelled() => How::Stopped,
    };
    if let Some(group) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        signal(group, Signal::TERM);
        let told = Instant::now();
        loop {
            let grace = if stop.is_cancelled() { LAST_GRACE } else { GRACE };
            if told.elapsed() >= grace || has_ended(group) {
                break;
            }
            sleep(LOOK).await;
        }
        // Before the program is waited for, its number can't be another's.
        signal(group, Signal::KILL);
    }
    // It is dead, or can't be killed because it waits for a disk.
    let _ = timeout(GRACE, child.wait()).await;
    cause
}

/// All of a group may be gone already.
fn signal(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

/// Whether the program has ended, which is left to be waited for.
fn has_ended(program: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(program), look), Ok(None))
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, signal) => How::Signalled(signal.unwrap_or(0)),
    }
}

/// What a program prints.
struct Speech<'a> {
    run: u64,
    reports: &'a mpsc::Sender<Report>,
    shown: &'a AtomicU64,
    hidden: &'a AtomicU64,
}

impl Speech<'_> {
    /// Reports lines until the stream ends.
    async fn hear(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let (mut lines, mut bytes) = (Lines::default(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut bytes).await {
            for line in lines.take(bytes.get(..n).unwrap_or_default()) {
                self.say(line).await;
            }
        }
        if let Some(line) = lines.rest() {
            self.say(line).await;
        }
    }

    async fn say(&self, line: String) {
        if self.shown.fetch_add(1, Ordering::Relaxed) >= LINES {
            self.hidden.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Nobody hears it when the daemon has ended.
        let _ = self.reports.send(Report::Line { run: self.run, text: line }).await;
    }
}

/// A stream of bytes as lines, each cut to what is shown of it.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    /// The line was longer.
    cut: bool,
}

impl Lines {
    /// The lines that end in `bytes`; empty ones say nothing.
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut ended = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => ended.extend(self.rest()),
                _ if self.line.len() < LINE => self.line.push(*byte),
                _ => self.cut = true,
            }
        }
        ended
    }

    /// What was said of a line that has no end.
    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let (text, cut) = (text.trim_end(), std::mem::take(&mut self.cut));
        (!text.is_empty()).then(|| format!("{text}{}", if cut { "…" } else { "" }).replace('\0', "\u{fffd}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported of a shell script.
    async fn reported(script: &str, time_limit: Duration, stop: &CancellationToken) -> Vec<Report> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let fields = vec![("WGOD_NAME".to_owned(), OsString::from("a b"))];
        let (reports, mut heard) = mpsc::channel(8);
        let run = run(Run { number: 7, words, fields, time_limit }, reports, stop.clone());
        let hear = async {
            let mut all = Vec::new();
            while let Some(report) = heard.recv().await {
                all.push(report);
            }
            all
        };
        tokio::join!(run, hear).1
    }

    fn lines(reports: &[Report]) -> Vec<&str> {
        let line = |report| match report {
            &Report::Line { run: 7, ref text } => Some(text.as_str()),
            _ => None,
        };
        reports.iter().filter_map(line).collect()
    }

    #[track_caller]
    fn ended(reports: &[Report]) -> (How, u64) {
        match reports.last() {
            Some(Report::Ended { run: 7, how, hidden }) => (how.clone(), *hidden),
            other => panic!("the last word is not about the end: {other:?}"),
        }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_program_gets_the_fields_and_a_clean_environment() {
        let script = r#"echo "$WGOD_NAME"; pwd; env | grep -c CARGO_MANIFEST; cat; echo oops >&2; exit 3"#;
        let reports = reported(script, LONG, &CancellationToken::new()).await;
        let mut said = lines(&reports);
        said.sort_unstable();
        assert_eq!(said, ["/", "0", "a b", "oops"]);
        assert_eq!(ended(&reports), (How::Exited(3), 0));
    }

    #[tokio::test]
    async fn one_that_takes_too_long_ends_with_all_that_it_started() {
        let script = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000";
        let begun = Instant::now();
        let stop = CancellationToken::new();
        let run = reported(script, Duration::from_millis(300), &stop);
        // The daemon ends while it is being ended: that goes faster then.
        let (reports, ()) = tokio::join!(run, async {
            sleep(Duration::from_millis(600)).await;
            stop.cancel();
        });
        assert_eq!(ended(&reports), (How::Late, 0));
        assert!(begun.elapsed() >= Duration::from_millis(300));
        let started: i32 = lines(&reports)[0].parse().unwrap();
        let gone = || rustix::process::test_kill_process(Pid::from_raw(started).unwrap()).is_err();
        // Whoever adopts it may take a moment to wait for it.
        let state = || std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        for _ in 0..1000 {
            if gone() || state().contains(") Z ") {
                return;
            }
            sleep(LOOK).await;
        }
        panic!("{started} still runs");
    }

    #[tokio::test]
    async fn pipes_that_others_hold_open_keep_nobody_waiting() {
        let reports = reported("sleep 20 & echo here", LONG, &CancellationToken::new()).await;
        assert_eq!((lines(&reports), ended(&reports)), (vec!["here"], (How::Exited(0), 0)));
    }

    #[tokio::test]
    async fn much_output_is_cut_and_counted() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; yes line | head -n 500; kill -9 $$";
        let reports = reported(script, LONG, &CancellationToken::new()).await;
        let said = lines(&reports);
        assert_eq!((said.len() as u64, said[0].len()), (LINES, LINE + "…".len()));
        assert_eq!(ended(&reports), (How::Signalled(9), 501 - LINES));
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_told() {
        for (program, why) in [("/nowhere/x", "No such file"), ("/etc/passwd", "ermission denied"), ("", "")]
        {
            let (reports, mut heard) = mpsc::channel(8);
            let words = vec![program.to_owned()];
            let order = Run { number: 7, words, fields: Vec::new(), time_limit: LONG };
            run(order, reports, CancellationToken::new()).await;
            let Some(Report::Ended { how: How::Unstarted(said), .. }) = heard.recv().await else {
                panic!("{program} was started")
            };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn lines_are_made_of_whatever_comes() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"a\n\n  \nb"), ["a"]);
        assert_eq!(lines.take(b"c\r\n\xff\0\n"), ["bc", "\u{fffd}\u{fffd}"]);
        assert_eq!(lines.rest(), None);
        lines.take(b"end");
        assert_eq!(lines.rest().as_deref(), Some("end"));
    }
}
