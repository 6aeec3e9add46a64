//! `wgoctl events` against a mock daemon that changes, dies and returns.
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use wgo_api::mock::torrent;
use wgo_api::torrent::State;
use wgoctl::console::{Console, Terminal};

use crate::harness::{Rig, run_with};

/// Hands on each line; a pipe without a reader once the other end is dropped.
struct Lines(Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let sent = self.0.send(String::from_utf8(line).unwrap());
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run of `wgoctl events` that goes on.
struct Follower {
    lines: Receiver<String>,
    thread: JoinHandle<(u8, String)>,
}

impl Follower {
    fn of(rig: &Rig, args: &[&str]) -> Follower {
        let socket = rig.daemon.socket().to_str().unwrap().to_owned();
        let mut all =
            vec!["wgoctl".to_owned(), "--socket".into(), socket, "events".into(), "--follow".into()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let (sender, lines) = channel();
        let thread = std::thread::spawn(move || {
            let (mut out, mut err, mut input) = (Lines(sender, Vec::new()), Vec::new(), &b""[..]);
            let terminal = Terminal::default();
            let mut console = Console { out: &mut out, err: &mut err, input: &mut input, terminal };
            let code = wgoctl::run(all, &mut console);
            (code, String::from_utf8(err).unwrap())
        });
        Follower { lines, thread }
    }

    /// The next event: its name, and the number of the canned torrent.
    fn event(&self) -> (String, Option<u8>) {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an event comes");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert!(event["at"].as_u64().unwrap() > 1_700_000_000, "{line}");
        let hash = event["torrent"]["info_hash"].as_str();
        (event["event"].as_str().unwrap().to_owned(), hash.map(|hash| hash[..2].parse().unwrap()))
    }

    #[track_caller]
    fn expect(&self, events: &[(&str, Option<u8>)]) {
        for (name, number) in events {
            assert_eq!(self.event(), ((*name).to_owned(), *number));
        }
    }

    /// Stops reading, and makes an event for it to notice.
    fn leave(self, rig: &Rig) -> (u8, String) {
        drop(self.lines);
        rig.daemon.mock().change(|torrents| torrents.push(torrent(99, State::Queued)));
        self.thread.join().unwrap()
    }
}

const START: &[(&str, Option<u8>)] =
    &[("present", Some(1)), ("present", Some(2)), ("present", Some(3)), ("connected", None)];

#[test]
fn without_follow_it_tells_what_is_there() {
    let rig = Rig::new();
    let ran = rig.run(&["events"]).code(0);
    assert_eq!(ran.out.lines().count(), 3);
    assert!(ran.out.lines().all(|line| line.starts_with(r#"{"event":"present","at":"#)), "{}", ran.out);
    let ran = rig.run(&["events", "--filter", "state=error"]).code(0);
    assert_eq!(ran.out.lines().count(), 1);
    rig.run(&["events", "--filter", "state=nope"]).code(2).complains(&["unknown state"]);
    rig.run(&["events", "--progress"]).code(2).complains(&["--follow"]);
}

#[test]
fn changes_are_told_until_the_reader_leaves() {
    let rig = Rig::new();
    let follower = Follower::of(&rig, &[]);
    follower.expect(START);
    rig.daemon.mock().change(|torrents| {
        torrents.remove(1);
        torrents[0].state = State::Seeding;
        torrents[0].completed_at = Some(1_800_000_000);
        torrents[1].error = None;
        torrents.push(torrent(4, State::Queued));
    });
    follower.expect(&[
        ("removed", Some(2)),
        ("state", Some(1)),
        ("completed", Some(1)),
        ("recovered", Some(3)),
        ("added", Some(4)),
    ]);
    assert_eq!(follower.leave(&rig), (0, String::new()));
}

#[test]
fn a_daemon_that_returns_is_asked_what_happened_meanwhile() {
    let mut rig = Rig::new();
    let follower = Follower::of(&rig, &[]);
    follower.expect(START);
    rig.daemon.mock().stop();
    follower.expect(&[("disconnected", None)]);
    rig.daemon.restart(vec![torrent(1, State::Seeding), torrent(3, State::Error), torrent(5, State::Queued)]);
    let changed: Vec<_> =
        std::iter::repeat_with(|| follower.event()).take_while(|e| e.0 != "connected").collect();
    let told = |name: &str, number| changed.contains(&(name.to_owned(), Some(number)));
    assert!(
        told("removed", 2) && told("state", 1) && told("completed", 1) && told("added", 5),
        "{changed:?}"
    );
    assert!(!changed.iter().any(|(_, number)| *number == Some(3)), "{changed:?}");
    let (code, err) = follower.leave(&rig);
    assert_eq!(code, 0);
    assert!(err.contains("hung up") && err.contains("waiting for it to return"), "{err}");
}

#[test]
fn whoever_does_not_want_to_wait_is_told_by_the_exit_code() {
    for (args, why) in [(&["--no-reconnect"][..], "hung up"), (&["--timeout", "1"], "did not return within")]
    {
        let rig = Rig::new();
        let follower = Follower::of(&rig, args);
        follower.expect(START);
        rig.daemon.mock().stop();
        follower.expect(&[("disconnected", None)]);
        let (code, err) = follower.thread.join().unwrap();
        assert_eq!(code, 3);
        assert!(err.contains(why), "{err}");
    }
    let nowhere = ["--socket", "/nonexistent/wgod.sock", "events", "--follow"];
    run_with(&nowhere, b"", Terminal::default()).code(3).complains(&["does not exist"]);
}
