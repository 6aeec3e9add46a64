//! What holds for every verb: usage, help, hostile names, widths, broken pipes, unreachable daemons.
use std::io::{self, Write};
use std::os::unix::net::UnixListener;

use crate::harness::{Rig, run_with};
use unicode_width::UnicodeWidthStr;
use wgoctl::console::{Console, Terminal};

#[test]
fn usage_errors_exit_2_and_help_exits_0() {
    let plain = Terminal::default();
    run_with(&["frobnicate"], b"", plain).code(2).complains(&["unrecognized subcommand"]);
    run_with(&[], b"", plain).code(2);
    run_with(&["--help"], b"", plain).code(0).says(&["Exit codes", "status"]);
    run_with(&["remove", "--help"], b"", plain).code(0).says(&["Examples:", "--data"]);
    run_with(&["--version"], b"", plain).code(0).says(&["wgoctl 0.1.0"]);
    let document = run_with(&["--json", "limit", "--up", "x"], b"", plain).code(2).json();
    assert_eq!(document["error"]["kind"], "bad_request");
}

#[test]
fn a_slip_is_told_with_what_was_meant() {
    let rig = Rig::new();
    for (args, meant) in [
        (&["lst"][..], "'list'"),
        (&["list", "--filtr", "x"], "'--filter'"),
        (&["add", "x", "--wait", "don"], "'done'"),
        (&["list", "--columns", "nmae"], "did you mean name?"),
        (&["list", "--sort", "-sise"], "did you mean size?"),
        (&["list", "--filter", "state=seding"], "did you mean seeding?"),
        (&["list", "--filter", "stat=seeding"], "did you mean state=seeding?"),
        (&["events", "--filter", "lable=tv"], "did you mean label=tv?"),
    ] {
        rig.run(args).code(2).complains(&[meant]);
    }
    assert!(rig.daemon.mock().calls().is_empty());
    rig.run(&["list", "--filter", "name=stat=seeding"]).code(0);
    rig.run(&["show", "torrent"]).code(4).complains(&["occurs in the name of:", "torrent 1", "torrent 3"]);
    rig.run(&["show", "nothing like it"]).code(4).complains(&["wgoctl list"]);
}

#[test]
fn what_other_programs_call_the_verbs_is_understood() {
    let rig = Rig::new();
    for (alias, method) in [
        (&["ls"][..], "list"),
        (&["info", "0101"], "show"),
        (&["pause", "0101"], "stop"),
        (&["resume", "0101"], "start"),
        (&["recheck", "0101"], "verify"),
        (&["mv", "0101", "--to", "/srv"], "move"),
        (&["rm", "0101"], "remove"),
    ] {
        rig.run(alias).code(0);
        assert_eq!(rig.last_call().0, method, "{alias:?}");
    }
}

#[test]
fn what_draws_on_terminals_refuses_to_draw_elsewhere() {
    let rig = Rig::new();
    rig.run(&["top"]).code(2).complains(&["needs a terminal", "events --follow"]);
    assert!(rig.daemon.mock().calls().is_empty());
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let rig = Rig::new();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}gpj\r\nfake line";
    rig.daemon.mock().change(|torrents| {
        for torrent in torrents.iter_mut() {
            torrent.name = evil.into();
            torrent.error = Some(evil.into());
            torrent.folder = evil.into();
            torrent.labels = vec![evil.into()];
        }
    });
    let all = "name,folder,labels,error";
    let runs: &[&[&str]] = &[
        &["list"],
        &["list", "--columns", all],
        &["status"],
        &["show", "0101", "--files"],
        &["stop", "0101"],
        &["show", evil],
        &["wait", "0303"],
        &["limit", "0101"],
        &["--json", "list"],
    ];
    for args in runs {
        let ran = rig.run(args);
        let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.out.contains(hostile), "{args:?}: {:?}", ran.out);
        assert!(!ran.err.contains(hostile), "{args:?}: {:?}", ran.err);
        assert!(!ran.out.lines().any(|line| line.starts_with("fake")), "{args:?}");
    }
    assert_eq!(rig.run(&["--json", "list"]).json()["torrents"][0]["name"], evil);
}

#[test]
fn tables_fit_the_terminal_and_pipes_get_everything() {
    let rig = Rig::new();
    let long = "漢字 and many more letters ".repeat(10);
    rig.daemon.mock().change(|torrents| torrents[0].name = long.clone());
    for columns in [16, 20, 40, 80, 132] {
        let terminal = Terminal { columns: Some(columns), ..Terminal::default() };
        for verb in ["list", "status"] {
            let ran = rig.run_with(&[verb], b"", terminal);
            for line in ran.out.lines().filter(|line| line.contains('%')) {
                assert!(line.width() <= columns, "{verb} at {columns}: {line}");
            }
        }
    }
    assert!(rig.run(&["list"]).out.contains(long.trim_end()));
}

#[test]
fn colours_are_for_terminals() {
    let rig = Rig::new();
    assert!(!rig.run(&["status"]).out.contains('\u{1b}'));
    let terminal = Terminal { columns: Some(80), color: true, ..Terminal::default() };
    assert!(rig.run_with(&["status"], b"", terminal).out.contains("\u{1b}[31merror"));
}

/// A pipe whose reader is gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let rig = Rig::new();
    let socket = rig.daemon.socket();
    for args in [&["list"][..], &["--json", "status"], &["--help"], &["completions", "bash"]] {
        let mut err = Vec::new();
        let (out, input) = (&mut Closed, &mut &b""[..]);
        let mut console = Console { out, err: &mut err, input, terminal: Terminal::default() };
        let socket = ["wgoctl", "--socket", socket.to_str().unwrap()];
        assert_eq!(wgoctl::run(socket.iter().chain(args), &mut console), 0, "{args:?}");
        assert!(err.is_empty(), "{}", String::from_utf8_lossy(&err));
    }
}

#[test]
fn who_cannot_be_reached_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    run_with(&["--socket", &at("none"), "status"], b"", Terminal::default())
        .code(3)
        .complains(&["does not exist"]);
    drop(UnixListener::bind(at("stale")).unwrap());
    run_with(&["--socket", &at("stale"), "status"], b"", Terminal::default())
        .code(3)
        .complains(&["no wgod answers"]);
    let _deaf = UnixListener::bind(at("deaf")).unwrap();
    let ran = run_with(&["--socket", &at("deaf"), "--timeout", "1", "status"], b"", Terminal::default());
    ran.code(7).complains(&["did not answer", "--timeout"]);
}

#[test]
fn one_document_comes_out_of_every_verb() {
    let rig = Rig::new();
    for args in [
        &["status"][..],
        &["list"],
        &["show", "0101"],
        &["start", "0101"],
        &["stop", "0101"],
        &["verify", "0202"],
        &["announce", "0101"],
        &["limit"],
        &["wait", "0101", "--for", "metadata"],
        &["config", "show"],
        &["reload"],
        &["add", "magnet:?x"],
        &["remove", "0101"],
        &["show", "nothing"],
        &["completions", "bash"],
        &["quit"],
    ] {
        let ran = rig.run(&[&["--json"], args].concat());
        assert!(ran.json().is_object(), "{args:?}");
        assert_eq!(ran.json().get("error").is_some(), ran.code != 0, "{args:?}");
    }
}
