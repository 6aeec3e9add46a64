//! Backups: made while a daemon works, refused when they are no good, and put back after the state is lost,
//! damaged, or of another time.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use wgo_api::{ApiClient, State};
use wgo_tests::ctl;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent, binaries, procfs};

/// The exit code of a daemon that stopped to take up a backup.
const START_AGAIN: Option<i32> = Some(75);
const MIB: usize = 1 << 20;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn state_dir(daemon: &Daemon) -> PathBuf {
    daemon.home().join("state")
}

/// Runs `wgod` itself, as at a shell, with what the daemon is started with and `args`.
fn wgod(daemon: &Daemon, args: &[&str]) -> Output {
    Command::new(binaries::wgod())
        .arg("--config")
        .arg(daemon.config())
        .args(args)
        .env("HOME", daemon.home())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A seed, a download under way and one that was stopped half done.
struct Session {
    payloads: [Payload; 3],
    torrents: Vec<Torrent>,
    seeder: Seeder,
}

impl Session {
    fn begin(net: &mut Net, daemon: &Daemon) -> Session {
        let payloads = [
            Payload::single("seed.bin", 24 * MIB, MIB as u32),
            Payload::multi("leech", 65_536, &[("a", 3 * MIB), ("b/c", 5 * MIB)]),
            Payload::single("halted.bin", 6 * MIB, 65_536),
        ];
        let torrents: Vec<_> = payloads.iter().map(|payload| Maker::new(payload).make()).collect();
        payloads[0].write(&daemon.downloads());
        let held: Vec<_> = payloads.iter().zip(&torrents).skip(1).collect();
        let seeder = Seeder::start(net.ip(), &held);
        let session = Session { payloads, torrents, seeder };
        let [seed, leech, halted] = session.ids();
        daemon.limit(None, None, Some(700_000));
        for torrent in &session.torrents {
            daemon.add(torrent, &daemon.downloads(), &[session.seeder.addr()]);
        }
        daemon.wait_seeding(&seed);
        let some = |id: &str| daemon.pieces(id).iter().filter(|had| **had).count() >= 8;
        until("some of both downloads is there", TRANSFER, || (some(&leech) && some(&halted)).then_some(()));
        daemon.call(async |client| client.stop(Daemon::select(&halted)).await).unwrap();
        daemon.wait_state(&halted, State::Stopped, SOON);
        session
    }

    fn ids(&self) -> [String; 3] {
        [0, 1, 2].map(|n| self.torrents[n].id())
    }

    /// Lets both downloads end.
    fn finish(&self, daemon: &Daemon) {
        let [_, leech, halted] = self.ids();
        daemon.limit(None, None, Some(0));
        for torrent in &self.torrents[1..] {
            daemon.try_add(torrent, &daemon.downloads(), &[self.seeder.addr()]);
        }
        daemon.call(async |client| client.start(Daemon::starting(&halted)).await).unwrap();
        daemon.wait_seeding(&leech);
        daemon.wait_seeding(&halted);
        self.payloads.iter().for_each(|payload| payload.assert_equals(&daemon.downloads()));
    }
}

#[test]
fn a_session_backed_up_under_a_download_comes_back_after_its_state_is_lost() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let session = Session::begin(&mut net, &daemon);
    let [seed, leech, halted] = session.ids();
    let file = daemon.home().join("wgod.backup");
    let before = daemon.torrent(&halted);
    let had = daemon.pieces(&halted);

    let ran = ctl::run(&daemon, &["backup", text(&file)]).expect(0);
    assert!(ran.out.starts_with("Backed up 3 torrents to "), "{ran:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let (code, told) = ctl::json(&daemon, &["backup", text(&file)]);
    assert_eq!(
        (code, &told["torrents"], &told["size_bytes"]),
        (0, &3.into(), &file.metadata().unwrap().len().into())
    );
    let beside: Vec<_> =
        fs::read_dir(daemon.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!beside.iter().any(|name| name.to_string_lossy().contains("part")), "{beside:?}");

    daemon.kill9();
    fs::remove_dir_all(state_dir(&daemon)).unwrap();
    daemon.run();
    assert!(daemon.list().is_empty());
    let ran = ctl::run(&daemon, &["restore", text(&file)]).expect(2);
    assert!(ran.err.contains("add --yes"), "{ran:?}");
    let ran = ctl::run(&daemon, &["restore", "--check", text(&file)]).expect(0);
    assert!(ran.out.contains("wgod.backup: whole; 3 torrents as of "), "{ran:?}");
    assert!(daemon.list().is_empty(), "a check changes nothing");
    let ran = ctl::run(&daemon, &["restore", "--yes", text(&file)]).expect(0);
    assert!(
        ran.out.starts_with("Restored: 3 torrents as of ") && ran.out.contains("start it again"),
        "{ran:?}"
    );
    assert_eq!(daemon.process().wait(SOON).code(), START_AGAIN);

    daemon.run();
    assert!(state_dir(&daemon).join("state.redb.before-restore").exists());
    assert!(daemon.log().contains("this is the session of the restored backup"));
    daemon.wait_seeding(&seed);
    daemon.wait_state(&halted, State::Stopped, SOON);
    let after = daemon.torrent(&halted);
    assert_eq!(
        (after.added_at, after.folder, after.done_bytes),
        (before.added_at, before.folder, before.done_bytes)
    );
    assert_eq!(daemon.pieces(&halted), had);
    assert_eq!(daemon.status().limits.down, 700_000, "what was set over the socket is part of the session");
    until("the download goes on", SOON, || {
        (daemon.torrent(&leech).state == State::Downloading).then_some(())
    });
    let read = procfs::read_bytes(daemon.pid());
    // The seed alone has 24 MiB. Of the download those files are looked at that were written to since the last
    // checkpoint.
    assert!(read < 16 * MIB as u64, "{read} bytes read: files that are as they were are hashed again");
    session.finish(&daemon);
    let fetched = session.seeder.sent();
    eprintln!("{fetched} bytes fetched for {}", 14 * MIB);
    assert!(fetched < 20 * MIB as u64, "{fetched} bytes fetched: what was there was fetched again");
    assert!(daemon.terminate().success());
}

#[test]
fn an_old_backup_finds_what_was_stored_since_and_what_was_changed() {
    let mut net = Net::new();
    let mut daemon = Daemon::start(&net);
    let session = Session::begin(&mut net, &daemon);
    let file = daemon.home().join("old");
    ctl::run(&daemon, &["backup", text(&file)]).expect(0);
    session.finish(&daemon);
    until("completion is durable", TRANSFER, || {
        daemon.list().iter().all(|torrent| torrent.completed_at.is_some()).then_some(())
    });
    let fetched = session.seeder.sent();
    assert!(daemon.terminate().success());
    // A byte of the seed changes meanwhile.
    let seed = daemon.downloads().join("seed.bin");
    let mut bytes = fs::read(&seed).unwrap();
    bytes[9 * MIB] ^= 1;
    fs::write(&seed, bytes).unwrap();

    let restored = wgod(&daemon, &["--restore", text(&file)]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(said(&restored).contains(": 3 torrents, as of "), "{}", said(&restored));
    daemon.run();
    let [seed, leech, halted] = session.ids();
    // It was running then; all of it is there by now.
    daemon.wait_seeding(&leech);
    daemon.wait_state(&halted, State::Stopped, SOON);
    daemon.call(async |client| client.start(Daemon::starting(&halted)).await).unwrap();
    daemon.wait_seeding(&halted);
    assert_eq!(session.seeder.sent(), fetched, "what had been stored since the backup was fetched again");
    until("the changed seed is not believed", TRANSFER, || {
        let torrent = daemon.torrent(&seed);
        (torrent.done_bytes == 23 * MIB as u64).then_some(())
    });
    assert!(!daemon.pieces(&seed)[9]);
}

#[test]
fn what_is_no_good_is_refused_and_the_session_goes_on() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("kept.bin", 300_000, 32_768);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    let good = daemon.home().join("good");
    ctl::run(&daemon, &["backup", text(&good)]).expect(0);
    let bytes = fs::read(&good).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    let newer = [&bytes[..7], &[77], &bytes[8..]].concat();
    let bad = daemon.home().join("bad");
    for (content, words) in [
        (&b""[..], "it is empty"),
        (&bytes[..bytes.len() - 1], "cut short"),
        (&bytes[..bytes.len() / 3], "cut short"),
        (&flipped, "damaged"),
        (&newer, "form 77, this wgod reads up to 1"),
        (&torrent.bytes, "no backup of wgod"),
    ] {
        fs::write(&bad, content).unwrap();
        for how in ["--yes", "--check"] {
            let ran = ctl::run(&daemon, &["restore", how, text(&bad)]).expect(1);
            assert!(ran.err.contains(words) && ran.err.contains(text(&bad)), "{ran:?}");
        }
        let (code, told) = ctl::json(&daemon, &["restore", "--yes", text(&bad)]);
        assert_eq!((code, told["error"]["kind"].as_str()), (1, Some("bad_backup")), "{told}");
    }
    let ran = ctl::run(&daemon, &["restore", "--yes", text(&daemon.home().join("missing"))]).expect(1);
    assert!(ran.err.contains("cannot read") && ran.err.contains("missing"), "{ran:?}");
    ctl::run(&daemon, &["restore", "--check", text(&good)]).expect(0);
    let ran = ctl::run(&daemon, &["backup", "/dev/null"]).expect(2);
    assert!(ran.err.contains("not a regular file"), "{ran:?}");
    let ran = ctl::run(&daemon, &["backup", text(&daemon.home().join("no/such/folder"))]).expect(1);
    assert!(ran.err.contains("cannot write"), "{ran:?}");
    assert_eq!(daemon.torrent(&id).state, State::Seeding);

    let running = wgod(&daemon, &["--restore", text(&good)]);
    assert_eq!(running.status.code(), Some(1));
    assert!(said(&running).contains("let it restore the backup: wgoctl --socket"), "{}", said(&running));
    assert!(daemon.terminate().success());
    fs::write(&bad, &flipped).unwrap();
    let refused = wgod(&daemon, &["--restore", text(&bad)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("nothing was restored"), "{}", said(&refused));
    daemon.run();
    daemon.wait_seeding(&id);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_backup_by_pipe_is_the_one_that_a_file_gets() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("piped.bin", 300_000, 32_768);
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let script = "\"$0\" backup - | \"$0\" restore --yes -";
    let piped = Command::new("sh")
        .args(["-ec", script])
        .arg(binaries::wgoctl())
        .env("WGOD_SOCKET", daemon.socket())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", said(&piped));
    assert_eq!(daemon.process().wait(SOON).code(), START_AGAIN);
    daemon.run();
    assert_eq!(daemon.list().len(), 1);
    assert_eq!(daemon.list()[0].info_hash, id);
    ctl::run(&daemon, &["--json", "backup", "-"]).expect(2);
}

#[test]
fn under_a_service_manager_the_daemon_comes_back_by_itself() {
    let net = Net::new();
    let folder = tempfile::tempdir().unwrap();
    let manager = folder.path().join("notify");
    let listens = UnixDatagram::bind(&manager).unwrap();
    listens.set_nonblocking(true).unwrap();
    let env = vec![("NOTIFY_SOCKET".to_owned(), text(&manager).to_owned())];
    let mut daemon = Daemon::with(Settings { ips: vec![net.home()], env, ..Settings::default() });
    let file = daemon.home().join("backup");
    ctl::run(&daemon, &["backup", text(&file)]).expect(0);
    let (socket, path) = (daemon.socket(), file.clone());
    let caller = std::thread::spawn(move || ctl::at(&socket, &["restore", "--yes", text(&path)], &[]));
    // What `Restart=on-failure` does.
    assert_eq!(daemon.process().wait(SOON).code(), START_AGAIN);
    daemon.run();
    let ran = caller.join().unwrap().expect(0);
    assert!(ran.out.contains(&format!("runs again (pid {})", daemon.pid())), "{ran:?}");
}

#[test]
fn a_damaged_database_names_the_command_that_brings_the_newest_backup_back() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("backed.bin", 300_000, 32_768);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    // A daemon that starts with torrents and has no backup of them makes one.
    assert!(daemon.terminate().success());
    daemon.run();
    until("it backs itself up", SOON, || daemon.log().contains("session backed up").then_some(()));
    let kept = state_dir(&daemon).join("backups/auto-1.wgodbak");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    daemon.kill9();
    let database = state_dir(&daemon).join("state.redb");
    fs::write(&database, [0x55; 9000]).unwrap();

    let refused = wgod(&daemon, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = said(&refused);
    assert!(
        told.contains(text(&database)) && told.contains("is damaged") && told.contains("with 1 torrent;"),
        "{told}"
    );
    let command = told.split_once("to go on with it: wgod ").expect("a command to type").1.trim();
    assert_eq!(fs::read(&database).unwrap(), [0x55; 9000], "it stays as it is");
    let typed = Command::new("sh")
        .args(["-ec", &format!("\"$0\" {command}")])
        .arg(binaries::wgod())
        .env("HOME", daemon.home())
        .output()
        .unwrap();
    assert!(typed.status.success(), "{}", said(&typed));
    assert!(said(&typed).contains("state.redb.before-restore"), "{}", said(&typed));
    daemon.run();
    daemon.wait_seeding(&id);
}

#[test]
fn a_database_from_the_future_is_refused_and_kept() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    assert!(daemon.terminate().success());
    let path = state_dir(&daemon).join("state.redb");
    let database = redb::Database::open(&path).unwrap();
    let change = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    change.open_table(meta).unwrap().insert("schema", 99).unwrap();
    change.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();

    let refused = wgod(&daemon, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = said(&refused);
    assert!(told.contains("has schema 99, this wgod reads up to 1: install the newer wgod again"), "{told}");
    assert!(fs::read(&path).unwrap() == before, "not a byte of it changes");
}

#[test]
fn a_full_state_disk_costs_backups_and_nothing_else() {
    let test = "a_full_state_disk_costs_backups_and_nothing_else";
    let Some(net) = Net::required(test) else { return };
    // Room for the database, and not for another copy of the metainfo in it.
    let mounts = "mkdir -p \"$HOME/state\"\nmount -t tmpfs -o size=4m none \"$HOME/state\"".to_owned();
    let settings = Settings { ips: vec![net.home()], mounts: Some(mounts), ..Settings::default() };
    let daemon = Daemon::with(settings);
    // 65,536 pieces, whose hashes take 1.3 MB.
    let large = Payload::single("large.bin", 128 * MIB, 2_048);
    let torrent = Maker::new(&large).make();
    assert!(torrent.bytes.len() > MIB, "{}", torrent.bytes.len());
    let add = |paused| wgo_api::params::AddParams {
        sources: vec![wgo_api::params::Source::of_file(&torrent.bytes)],
        folder: Some(daemon.downloads()),
        paused,
        ..Default::default()
    };
    daemon.call(async |client| client.add(add(true)).await).unwrap();
    let file = daemon.home().join("backup");
    fs::write(&file, "the backup of yesterday").unwrap();
    let fill = format!(
        "nsenter -t {} -m dd if=/dev/zero of={}/state/ballast bs=64k 2>&1 || true",
        daemon.pid(),
        daemon.home().display()
    );
    let filled = Command::new("sh").args(["-c", &fill]).output().unwrap();
    assert!(said(&filled).contains("No space left"), "{}", said(&filled));

    let (code, told) = ctl::json(&daemon, &["backup", text(&file)]);
    assert_eq!((code, told["error"]["kind"].as_str()), (1, Some("disk_full")), "{told}");
    assert_eq!(fs::read(&file).unwrap(), b"the backup of yesterday", "the old one stays");
    let payload = Payload::single("small.bin", 300_000, 32_768);
    payload.write(&daemon.downloads());
    daemon.call(async |client| client.list(Default::default()).await).unwrap();

    let free = format!("nsenter -t {} -m rm {}/state/ballast", daemon.pid(), daemon.home().display());
    assert!(Command::new("sh").args(["-c", &free]).status().unwrap().success());
    ctl::run(&daemon, &["backup", text(&file)]).expect(0);
    let small = Maker::new(&payload).make();
    daemon.wait_seeding(&daemon.add(&small, &daemon.downloads(), &[]));
}
