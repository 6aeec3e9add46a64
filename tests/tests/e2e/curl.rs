//! The commands in the README of the control API do what it says they do, and answer what it says they answer: a day
//! of somebody who runs a seedbox with nothing but curl, and what bad input gets.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wgo_tests::api_doc::folder;
use wgo_tests::http::serve_once;
use wgo_tests::leecher::Leecher;
use wgo_tests::maker::Torrent;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, try_until, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, net};

const PIECE: u32 = 32_768;

/// What the document says instead of whatever may be there.
const ANY: &str = "…";

/// A block of the document between fences.
struct Block {
    /// The words behind the fence.
    kind: String,
    text: String,
    /// The heading above it.
    section: String,
}

/// All of them, with what the test has in place of the document's examples.
fn blocks(document: &str, places: &[(&str, String)]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = "";
    let mut open = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(kind) => {
                open = !open;
                if open {
                    let (kind, section) = (kind.to_owned(), section.to_owned());
                    blocks.push(Block { kind, text: String::new(), section });
                }
            }
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text += &places.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
                block.text.push('\n');
            }
            None => section = line.strip_prefix('#').map_or(section, |title| title.trim_matches(['#', ' '])),
        }
    }
    assert!(!open, "a fence has no end");
    blocks
}

/// Whether `value` is what the document shows, which may leave out the rest of an object with a member `…`.
fn is_as_shown(shown: &Value, value: &Value) -> bool {
    match (shown, value) {
        (Value::String(shown), _) if shown == ANY => true,
        (Value::String(shown), Value::String(value)) => {
            let mut parts = shown.split(ANY);
            let rest = parts.next().and_then(|first| value.strip_prefix(first));
            let end = parts.try_fold(rest, |rest, part| {
                let (_, behind) = rest?.rsplit_once(part)?;
                Some(Some(behind))
            });
            matches!(end.flatten(), Some(rest) if rest.is_empty() || shown.ends_with(ANY))
        }
        (Value::Object(shown), Value::Object(value)) => {
            let is_open = shown.contains_key(ANY);
            let named = shown.iter().filter(|(name, _)| *name != ANY);
            let has_all =
                named.clone().all(|(name, shown)| value.get(name).is_some_and(|v| is_as_shown(shown, v)));
            has_all && (is_open || named.count() == value.len())
        }
        (Value::Array(shown), Value::Array(value)) => {
            shown.len() == value.len()
                && shown.iter().zip(value).all(|(shown, value)| is_as_shown(shown, value))
        }
        _ => shown == value,
    }
}

#[test]
fn what_is_shown_is_compared() {
    let is = |shown: &str, value: &str| {
        is_as_shown(&serde_json::from_str(shown).unwrap(), &serde_json::from_str(value).unwrap())
    };
    for (shown, good, bad) in [
        ("1", "1", "2"),
        (r#""…""#, "3", ""),
        (r#""a…c""#, r#""abc""#, r#""abcd""#),
        (r#""…b…""#, r#""abc""#, r#""ac""#),
        (r#"{"a": 1}"#, r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#),
        (r#"{"a": 1, "…": "…"}"#, r#"{"a": 1, "b": 2}"#, r#"{"b": 2}"#),
        (r#"[{"a": "…"}]"#, r#"[{"a": null}]"#, r#"[{"a": 1}, {"a": 2}]"#),
    ] {
        assert!(is(shown, good), "{shown} {good}");
        assert!(bad.is_empty() || !is(shown, bad), "{shown} {bad}");
    }
}

struct Day {
    daemon: Daemon,
    torrents: Vec<(Payload, Torrent)>,
    /// The shell words that stand before each command.
    setup: String,
}

impl Day {
    fn of(&self, name: &str) -> &(Payload, Torrent) {
        self.torrents.iter().find(|(payload, _)| payload.name == name).unwrap()
    }

    /// Runs a block in `home`; gives what it printed.
    fn run(&self, block: &Block, home: &Path) -> String {
        let script = format!("{}\n{}", self.setup, block.text);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "sh", "-euc", &script]).current_dir(home);
        command.env("WGOD_SOCKET", self.daemon.socket()).env("LC_ALL", "C.UTF-8");
        let output = command.output().unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{}: {}\n{out}{err}", block.section, block.text);
        out
    }

    /// Runs a block until it answers what is shown: at once, or in the end where the document says so.
    #[track_caller]
    fn answers(&self, block: &Block, shown: &Block, home: &Path) {
        let (section, wanted) = (&block.section, serde_json::from_str(&shown.text));
        let wanted: Value = wanted.unwrap_or_else(|why| panic!("{section}: {why}: {}", shown.text));
        let mut last = String::new();
        let mut asks = || {
            last = self.run(block, home);
            let answer: Value =
                serde_json::from_str(&last).unwrap_or_else(|why| panic!("{section}: {why}: {last}"));
            is_as_shown(&wanted, &answer).then_some(())
        };
        let found = match block.kind.as_str() {
            "sh again" => try_until(TRANSFER, asks),
            _ => asks(),
        };
        assert!(found.is_some(), "{section}:\n{}\nanswered\n{last}\nand not\n{}", block.text, shown.text);
    }
}

/// The torrents of the day, where its commands look for them.
fn payloads(home: &Path) -> Vec<(Payload, Torrent)> {
    let files = [("big.bin", 300_000), ("note.txt", 700), ("extra/cover.jpg", 60_000)];
    fs::create_dir(home.join("season")).unwrap();
    let made = ["debian", "talk", "e01", "e02", "photos", "tv", "misc"].map(|name| {
        let payload = Payload::multi(name, PIECE, &files);
        let torrent = Maker::new(&payload).make();
        let folder = if name.starts_with("e0") { home.join("season") } else { home.to_owned() };
        fs::write(folder.join(format!("{name}.torrent")), &torrent.bytes).unwrap();
        (payload, torrent)
    });
    made.into()
}

/// The folders and the hook that the document's configuration names, below `home` in place of `/srv`.
fn prepare(home: &Path) {
    for folder in ["watch/tv", "watch/rest", "bin", "run"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    let hook = home.join("bin/sort-media");
    fs::write(&hook, format!("#!/bin/sh\necho \"$WGOD_NAME\" >> {}\n", home.join("told").display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_readme_of_the_api_does_what_it_says() {
    let name = "the_readme_of_the_api_does_what_it_says";
    if Command::new("curl").arg("--version").output().is_err() {
        return net::skip(name, "curl is not installed");
    }
    let mut net = Net::new();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    prepare(home);
    let torrents = payloads(home);
    let all: Vec<_> = torrents.iter().map(|(payload, torrent)| (payload, torrent)).collect();
    let seeder = Seeder::start(net.ip(), &all);
    let photos = fs::read(home.join("photos.torrent")).unwrap();
    let server = serve_once(net.home(), photos);
    let places = [
        ("/srv/", format!("{}/", home.display())),
        ("/run/wgod-ro/", format!("{}/run/", home.display())),
        ("192.0.2.7:6881", seeder.addr().to_string()),
        ("http://torrents.example/", format!("http://{server}/")),
    ];
    let document = fs::read_to_string(folder().join("README.md")).unwrap();
    let blocks = blocks(&document, &places);
    let sections: String =
        blocks.iter().filter(|block| block.kind == "toml").map(|b| b.text.as_str()).collect();
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        daemon: format!("socket_ro = \"{}/run/wgod-ro.sock\"", home.display()),
        sections,
        ..Settings::default()
    });
    let mut day = Day { daemon, torrents, setup: String::new() };
    let mut leecher = None;
    let mut following = blocks.iter().peekable();
    while let Some(block) = following.next() {
        match (block.kind.as_str(), following.next_if(|next| next.kind == "json")) {
            ("sh setup", None) => day.setup += &block.text,
            ("sh" | "sh again", Some(shown)) => day.answers(block, shown, home),
            ("sh", None) => drop(day.run(block, home)),
            ("toml", None) => {}
            (kind, _) => panic!("{}: the test doesn't know what to do with {kind:?}", block.section),
        }
        // Somebody wants what is to be seeded up to a goal.
        if block.text.contains("\"ratio\"") {
            let torrent = &day.of("e02").1;
            let listens = day.daemon.listens(net.home());
            // The last piece is short, and this one asks for whole ones.
            leecher = Some(Leecher::start(net.ip(), listens, torrent.hash, torrent.pieces - 1, PIECE));
            until("the hook has run for all that are complete", TRANSFER, || {
                let told = fs::read_to_string(home.join("told")).unwrap_or_default();
                let has_told = |name: &str| told.lines().any(|line| line == name);
                ["debian", "e01", "e02", "photos"].into_iter().all(has_told).then_some(())
            });
        }
    }
    assert!(leecher.is_some_and(|leecher| leecher.bytes() > 0), "the day has a seeding goal");
    looks_as_the_day_left_it(day, home);
}

fn looks_as_the_day_left_it(mut day: Day, home: &Path) {
    assert!(day.daemon.process().wait(SOON).success(), "it quits at the end");
    assert!(!home.join("iso/debian").exists(), "its files were removed with it");
    day.of("e02").0.assert_equals(&day.daemon.downloads());
    assert!(home.join("shelf/Episode 1/cover.jpg").exists() && !home.join("shelf/e01").exists());
    assert!(home.join("watch/tv/tv.torrent.added").exists());
    let photos = day.daemon.downloads().join("photos");
    assert!(photos.join("note.txt").exists() && !photos.join("big.bin").exists());
}
