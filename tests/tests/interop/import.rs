//! `wgoctl import` takes over what the real clients left: a torrent that was seeding, and one that was half
//! finished.
use std::path::Path;

use serde_json::{Value, json};
use wgo_api::State;
use wgo_tests::maker::Torrent;
use wgo_tests::payload::files_below;
use wgo_tests::peers::{Client, Kind, wait_complete};
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::tracker::Over;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Tracker, ctl, procfs};

const PIECE: u32 = 16_384;

/// Pieces of a megabyte and a half that are shared by files, so that each client has whole files, begun ones and
/// none.
fn half() -> Payload {
    let files =
        [("a/first.bin", 700_001), ("a/second.bin", 1_300_000), ("third.bin", 900_003), ("fourth", 1)];
    Payload::multi("half", PIECE, &files)
}

/// What names and sizes of files there are, and what is in them.
fn snapshot(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    files_below(folder).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// A file of each torrent, and the name that it gets where the client can rename.
const RENAMED: [(&str, &str); 2] =
    [("whole/x/big.bin", "whole/x/renamed.bin"), ("half/third.bin", "half/last.bin")];

/// What the client was told of its torrents, as far as it knows such things.
struct Changed {
    /// The seed has a label.
    labelled: bool,
    renamed: bool,
    /// The seed has a ratio of its own.
    with_goal: bool,
    /// The other one is seeded whatever its ratio.
    exempt: bool,
}

impl Changed {
    fn of(client: &mut dyn Client, kind: Kind, seed: &Torrent, begun: &Torrent, folder: &Path) -> Changed {
        let labelled = client.label(seed, "kept apart");
        let pairs = [seed, begun].into_iter().zip(RENAMED);
        let renamed = pairs.map(|(torrent, (old, new))| client.rename(torrent, old, new)).min().unwrap();
        let (with_goal, exempt) = (client.goal(seed, 7.5), client.goal(begun, 0.0));
        let knows = |none: &[Kind]| !none.contains(&kind);
        assert_eq!(renamed, knows(&[Kind::Rtorrent, Kind::Aria2]));
        assert_eq!(with_goal, knows(&[Kind::Rtorrent, Kind::Aria2]));
        assert_eq!(exempt, knows(&[Kind::Rtorrent, Kind::Aria2, Kind::Deluge]));
        if renamed {
            until("the client has renamed its files", SOON, || {
                RENAMED.iter().all(|(old, _)| !folder.join(old).exists()).then_some(())
            });
        }
        Changed { labelled, renamed, with_goal, exempt }
    }

    /// Gives files the names again that the payload knows.
    fn take_back(&self, folder: &Path) {
        for (old, new) in RENAMED.into_iter().filter(|_| self.renamed) {
            std::fs::rename(folder.join(new), folder.join(old)).unwrap();
        }
    }

    fn assert_kept(&self, daemon: &Daemon, report: &Value, seed: &str, half: &str) {
        if self.labelled {
            let labels = daemon.torrent(seed).labels;
            assert!(labels.iter().any(|label| label == "kept apart"), "{labels:?}");
        }
        let own = |id: &str| daemon.show(id).torrent.own_goals.ratio;
        assert_eq!(own(seed), self.with_goal.then_some(7.5));
        assert_eq!(own(half), self.exempt.then_some(0.0));
        assert_eq!(row(report, "whole")["goals"]["ratio"].as_f64(), self.with_goal.then_some(7.5));
        if self.renamed {
            let [.., (old, new)] = RENAMED;
            assert_eq!(row(report, "half")["renamed"], json!([{"from": old, "to": new}]));
            let names = |id: &str| ctl::run(daemon, &["files", id]).expect(0).out;
            assert!(names(seed).contains("renamed.bin") && names(half).contains("last.bin"));
        }
    }
}

/// What the report says of a torrent.
fn row(report: &Value, name: &str) -> Value {
    let rows = report["torrents"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {report:#}")).clone()
}

/// One whose suffix of files that aren't complete is Transmission's, too: such files keep their names then.
fn daemon(net: &Net, kind: Kind) -> Daemon {
    let storage = if kind == Kind::Transmission { "part_suffix = \".part\"" } else { "" }.to_owned();
    Daemon::with(Settings { ips: vec![net.home()], storage, ..Settings::default() })
}

#[track_caller]
fn assert_names_kept(kind: Kind, folder: &Path, before: &[(std::path::PathBuf, Vec<u8>)]) {
    if kind == Kind::Transmission {
        let suffixed = before.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".part"));
        assert!(suffixed.count() > 0 && snapshot(folder) == before, "what it had stays as it is");
    }
}

/// The client's word on the command line, and how a seed of its is checked.
fn takes_over(test: &str, kind: Kind, word: &str, seed_check: &str) {
    let Some(mut net) = Net::required(test) else { return };
    let Some(mut client) = kind.start(test, net.ip()) else { return };
    let folder = tempfile::Builder::new().prefix("wgod-files-").tempdir().unwrap();
    let folder = folder.path();
    let files = [("x/big.bin", 5_000_000), ("y.bin", 3_000_001), ("empty", 0)];
    let (whole, half) = (Payload::multi("whole", PIECE, &files).without_empty(), half());
    whole.write(folder);
    let nobody = Tracker::start(net.ip(), &[]);
    let seed = Maker::new(&whole).tier([nobody.url(Over::Http)]).make();
    // One that has the first half, and one that has all.
    let shape = Maker::new(&half).make();
    let first = (0..shape.pieces / 2).collect();
    let some = Habits { only: Some(first), ..Habits::default() };
    let had = u64::from(shape.pieces / 2) * u64::from(PIECE);
    let tracker_ip = net.ip();
    let peer_ip = net.ip();
    // The torrent's trackers are part of its file, its hash is not.
    let giver = Seeder::with(peer_ip, &[(&half, &shape)], some);
    let tracker = Tracker::start(tracker_ip, &[giver.addr()]);
    let begun = Maker::new(&half).tier([tracker.url(Over::Http)]).make();
    assert_eq!(begun.hash, shape.hash);

    client.add(&seed, folder);
    wait_complete(client.as_mut(), &seed);
    client.add(&begun, folder);
    until("the client has what there is", TRANSFER, || (giver.sent() >= had).then_some(()));
    giver.sent_in_the_end();
    until("it has checked that", TRANSFER, || client.has(&begun, had).then_some(()));
    let changed = Changed::of(client.as_mut(), kind, &seed, &begun, folder);
    if kind == Kind::Aria2 {
        [&seed, &begun].iter().for_each(|torrent| drop(torrent.save(folder)));
    }
    let session = client.end().unwrap();
    let files = files_below(&session);
    let in_sqlite = files.iter().any(|path| path.ends_with("torrents.db"));
    assert_eq!(in_sqlite, kind == Kind::QbittorrentSqlite, "{files:?}");
    let session = session.to_str().unwrap();

    let daemon = daemon(&net, kind);
    let before = snapshot(folder);
    let shown = ctl::run(&daemon, &["import", word, session, "--dry-run"]).expect(0);
    assert!(shown.out.contains("whole") && shown.out.contains("2 torrents to add"), "{shown:?}");
    assert!(daemon.list().is_empty() && snapshot(folder) == before, "a dry run changes nothing");
    let read = procfs::read_bytes(daemon.pid());
    let (code, report) = ctl::json(&daemon, &["import", word, session]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(
        (row(&report, "whole")["check"].as_str(), row(&report, "half")["check"].as_str()),
        (Some(seed_check), Some("none"))
    );
    assert_names_kept(kind, folder, &before);
    let (seed_id, half_id) = (seed.id(), begun.id());
    daemon.wait_seeding(&seed_id);
    daemon.wait_state(&half_id, State::Downloading, TRANSFER);
    let read = procfs::read_bytes(daemon.pid()) - read;
    assert!(read < whole.len() as u64 / 4, "{read} bytes were read: something was hashed");
    let going = daemon.torrent(&half_id);
    assert_eq!((going.done_bytes, Path::new(&going.folder)), (had, folder));
    // libtorrent sums up once a second, and aria2 keeps no sum.
    if matches!(kind, Kind::Transmission | Kind::Rtorrent) {
        assert!(going.downloaded_bytes >= had, "{}", going.downloaded_bytes);
    }
    changed.assert_kept(&daemon, &report, &seed_id, &half_id);
    let again = ctl::run(&daemon, &["import", word, session]).expect(0);
    assert!(again.out.contains("2 present before"), "{again:?}");

    let all = Seeder::start(net.ip(), &[(&half, &begun)]);
    daemon.try_add(&begun, folder, &[all.addr()]);
    daemon.wait_seeding(&half_id);
    // Its files have their own names when it is complete for good.
    until("that is durable", SOON, || daemon.torrent(&half_id).completed_at.is_some().then_some(()));
    assert!(all.sent() <= half.len() as u64 - had, "{} bytes, though {had} were there", all.sent());
    drop(daemon);
    changed.take_back(folder);
    half.assert_equals(folder);
    whole.assert_equals(folder);
}

#[test]
fn takes_over_from_transmission() {
    takes_over("takes_over_from_transmission", Kind::Transmission, "transmission", "none");
}

#[test]
fn takes_over_from_qbittorrent() {
    takes_over("takes_over_from_qbittorrent", Kind::Qbittorrent, "qbittorrent", "none");
}

#[test]
fn takes_over_from_qbittorrent_with_sqlite() {
    let test = "takes_over_from_qbittorrent_with_sqlite";
    takes_over(test, Kind::QbittorrentSqlite, "qbittorrent", "none");
}

#[test]
fn takes_over_from_rtorrent() {
    takes_over("takes_over_from_rtorrent", Kind::Rtorrent, "rtorrent", "none");
}

#[test]
fn takes_over_from_aria2() {
    // It says nothing of what is complete but that it removed the control file.
    takes_over("takes_over_from_aria2", Kind::Aria2, "aria2", "sample");
}

#[test]
fn takes_over_from_deluge() {
    takes_over("takes_over_from_deluge", Kind::Deluge, "deluge", "none");
}
