//! A daemon that confined itself: its folders are all it reaches, and it works in them as it always did.
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use tempfile::TempDir;
use wgo_api::ApiClient;
use wgo_api::params::ReloadParams;
use wgo_api::{Kind, State};
use wgo_tests::leecher::Leecher;
use wgo_tests::maker::Torrent;
use wgo_tests::payload::files_below;
use wgo_tests::process::Process;
use wgo_tests::seeder::Seeder;
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl, net};

const KEY: &str = "storage.allowed_folders";

fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(name).tempdir().unwrap()
}

/// A folder that only the daemon's mount namespace has, as this test reaches it.
fn seen(daemon: &Daemon, folder: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), folder.display()))
}

/// Lines of `[storage]` that allow the folders.
fn allow(folders: &[&Path]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| format!("\"{}\"", folder.display())).collect();
    format!("allowed_folders = [{}]", folders.join(", "))
}

/// A daemon that allows the folders alone; where torrents go by themselves is the first.
fn confined(net: &Net, folders: &[&Path], more: Settings) -> Option<Daemon> {
    let args = vec!["--folder".into(), folders[0].display().to_string()];
    let storage = allow(folders);
    let daemon = Daemon::with(Settings { ips: vec![net.home()], storage, args, ..more });
    if daemon.status().confinement.landlock.is_none() {
        net::skip("e2e_confined", "this kernel has no Landlock");
        return None;
    }
    Some(daemon)
}

/// The torrent's state becomes `error`; what it says then.
fn fault(daemon: &Daemon, id: &str) -> String {
    until("the torrent is in error", SOON, || {
        let torrent = daemon.torrent(id);
        (torrent.state == State::Error).then_some(torrent.error).flatten()
    })
}

fn refusal(daemon: &Daemon, torrent: &Torrent, folder: &Path) -> String {
    let added = daemon.try_add(torrent, folder, &[]);
    assert_eq!(added.kind, Some(Kind::Permission), "{added:?}");
    added.error.unwrap()
}

/// `name: value` of every thread's status in procfs.
fn of_each_thread(pid: u32, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses =
        threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    statuses.map(value).collect()
}

#[test]
fn without_the_key_any_folder_will_do_and_every_thread_is_filtered() {
    let mut net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("free.bin", 300_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let anywhere = folder("wgod-any-");
    let id = daemon.add(&torrent, anywhere.path(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(anywhere.path());

    let confinement = daemon.status().confinement;
    assert_eq!((confinement.landlock, &confinement.allowed_folders), (None, &None));
    assert!(confinement.seccomp && confinement.no_new_privs, "{confinement:?}");
    for (name, on) in [("Seccomp:", "2"), ("NoNewPrivs:", "1")] {
        let values = of_each_thread(daemon.pid(), name);
        assert!(values.len() > 3 && values.iter().all(|value| value == on), "{name} {values:?}");
    }
    let shown = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(shown.contains("seccomp, no new privileges; torrents may go to any folder"), "{shown}");
}

#[test]
fn with_the_key_torrents_live_in_its_folders_and_nowhere_else() {
    let mut net = Net::new();
    let [media, elsewhere] = [folder("wgod-media-"), folder("wgod-else-")];
    let Some(daemon) = confined(&net, &[media.path()], Settings::default()) else { return };
    let allowed = daemon.status().confinement.allowed_folders;
    assert_eq!(allowed, Some(vec![media.path().display().to_string()]));
    let shown = ctl::run(&daemon, &["status"]).expect(0).out;
    assert!(shown.contains(&format!("to {}, by Landlock ", media.path().display())), "{shown}");

    let payload = Payload::multi("many", 16_384, &[("a", 196_608), ("sub/b", 65_536), ("sub/empty", 0)]);
    let torrent = Maker::new(&payload).make();
    let file = torrent.save(daemon.home());
    for outside in [elsewhere.path().to_owned(), media.path().parent().unwrap().to_owned(), "/".into()] {
        let outside = outside.to_str().unwrap();
        let ran = ctl::run(&daemon, &["add", file.to_str().unwrap(), "--folder", outside]).expect(8);
        for named in [KEY, outside, media.path().to_str().unwrap(), "restart"] {
            assert!(ran.err.contains(named), "{named}: {ran:?}");
        }
    }
    let climbing = media.path().join("x/../..");
    assert!(refusal(&daemon, &torrent, &climbing).contains(KEY));

    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let below = media.path().join("new/deep");
    let id = daemon.add(&torrent, &below, &[seeder.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(&below);
    drop(seeder);
    let to = daemon.listens(net.home());
    let leecher = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, payload.piece_len);
    until("it uploads", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
    daemon.remove(&id, true);
    assert_eq!(files_below(media.path()), Vec::<PathBuf>::new(), "deleted with its files");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn torrents_move_between_allowed_folders_and_to_no_others() {
    let mut net = Net::new();
    let [media, archive, elsewhere] = [folder("wgod-media-"), folder("wgod-arch-"), folder("wgod-else-")];
    // Another file system, where there is one.
    let memory = tempfile::Builder::new().prefix("wgod-shm-").tempdir_in("/dev/shm");
    let memory = memory.unwrap_or_else(|_| folder("wgod-shm-"));
    let allowed = [media.path(), archive.path(), memory.path()];
    let Some(daemon) = confined(&net, &allowed, Settings::default()) else { return };
    let payload = Payload::multi("moved", 16_384, &[("a", 12 * 16_384), ("sub/b", 6 * 16_384)]);
    let torrent = Maker::new(&payload).make();
    payload.write(media.path());
    let inode = |folder: &Path| fs::metadata(folder.join("moved/a")).unwrap().ino();
    let before = inode(media.path());
    let id = daemon.add(&torrent, media.path(), &[]);
    daemon.wait_seeding(&id);
    let deep = archive.path().join("new/deep");
    let mut from = media.path().to_owned();
    for to in [archive.path(), memory.path(), &deep, media.path()] {
        ctl::run(&daemon, &["move", &id, "--to", to.to_str().unwrap()]).expect(0);
        until("it has moved", TRANSFER, || {
            let torrent = daemon.torrent(&id);
            assert_eq!(torrent.error, None);
            (torrent.state == State::Seeding && Path::new(&torrent.folder) == to).then_some(())
        });
        payload.assert_equals(to);
        assert_eq!(files_below(&from), Vec::<PathBuf>::new(), "left behind");
        if to == archive.path() {
            assert_eq!(inode(to), before, "copied although a second name will do");
        }
        from = to.to_owned();
    }
    let refused = ctl::run(&daemon, &["move", &id, "--to", elsewhere.path().to_str().unwrap()]).expect(8);
    assert!(refused.err.contains(KEY), "{refused:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    let to = daemon.listens(net.home());
    let leecher = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, payload.piece_len);
    until("it uploads", SOON, || (leecher.bytes() >= payload.len() as u64).then_some(()));
}

#[test]
fn a_symlink_does_not_lead_out() {
    let mut net = Net::new();
    let [media, elsewhere] = [folder("wgod-media-"), folder("wgod-else-")];
    let Some(daemon) = confined(&net, &[media.path()], Settings::default()) else { return };
    let payload = Payload::multi("root", 16_384, &[("a", 100_000), ("b", 50_000)]);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);

    symlink(elsewhere.path(), media.path().join("link")).unwrap();
    let why = refusal(&daemon, &torrent, &media.path().join("link/x"));
    assert!(why.contains(KEY) && why.contains(&format!("leads to {}", elsewhere.path().display())), "{why}");

    // A torrent's own root may be a symlink, to where torrents may lie.
    payload.write(elsewhere.path());
    symlink(elsewhere.path().join("root"), media.path().join("root")).unwrap();
    let id = daemon.add(&torrent, media.path(), &[seeder.addr()]);
    let why = fault(&daemon, &id);
    assert!(why.contains(KEY) && why.contains(elsewhere.path().to_str().unwrap()), "{why}");
    assert_eq!(daemon.torrent(&id).done_bytes, 0, "what is there was not read");
    let ran = ctl::run(&daemon, &["remove", "--data", "--yes", &id]);
    assert!(ran.code != 0 && ran.err.contains(KEY), "{ran:?}");
    payload.assert_equals(elsewhere.path());

    fs::remove_file(media.path().join("root")).unwrap();
    fs::create_dir(media.path().join("inside")).unwrap();
    symlink(media.path().join("inside"), media.path().join("root")).unwrap();
    let id = daemon.add(&torrent, media.path(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(media.path());
}

#[test]
fn a_disk_mounted_later_is_used_below_an_allowed_folder_and_on_it_after_a_restart() {
    let test = "a_disk_mounted_later_is_used_below_an_allowed_folder_and_on_it_after_a_restart";
    let Some(mut net) = Net::required(test) else { return };
    let [media, single] = [folder("wgod-media-"), folder("wgod-single-")];
    fs::create_dir(media.path().join("disk")).unwrap();
    // A mount namespace of its own, which `mount` enters.
    let more = Settings { mounts: Some("true".into()), ..Settings::default() };
    let Some(mut daemon) = confined(&net, &[media.path(), single.path()], more) else { return };
    let mount = |pid: u32, at: &Path| {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &pid.to_string(), "mount", "-t", "tmpfs", "none"]).arg(at);
        assert!(command.status().unwrap().success());
    };
    let disk = media.path().join("disk");
    mount(daemon.pid(), &disk);
    mount(daemon.pid(), single.path());

    let payload = Payload::single("later.bin", 300_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let other = Payload::single("over.bin", 300_000, 16_384);
    let second = Maker::new(&other).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent), (&other, &second)]);
    let id = daemon.add(&torrent, &disk, &[seeder.addr()]);
    daemon.wait_seeding(&id);
    payload.assert_equals(&seen(&daemon, &disk));
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0, "it went to what is mounted");

    let id = daemon.add(&second, single.path(), &[seeder.addr()]);
    let why = fault(&daemon, &id);
    assert!(why.contains(KEY) && why.contains("restart wgod"), "{why}");
    // The new process has a new namespace, in which nothing is mounted: all is as it was known.
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
}

#[test]
fn a_folder_that_was_missing_at_the_start_is_told_of_and_used_after_the_next() {
    let mut net = Net::new();
    let parent = folder("wgod-media-");
    let (there, missing) = (parent.path().join("there"), parent.path().join("missing"));
    fs::create_dir(&there).unwrap();
    let Some(mut daemon) = confined(&net, &[&there, &missing], Settings::default()) else { return };
    let told = format!("{}, of {KEY}, is out of reach until wgod is restarted", missing.display());
    assert!(daemon.log().contains(&told), "{}", daemon.log());
    let payload = Payload::single("late.bin", 100_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    fs::create_dir(&missing).unwrap();
    let id = daemon.add(&torrent, &missing, &[seeder.addr()]);
    let why = fault(&daemon, &id);
    assert!(why.contains(KEY) && why.contains("restart wgod"), "{why}");
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
    payload.assert_equals(&missing);
}

#[test]
fn torrents_outside_of_new_bounds_say_so_until_these_take_them_in() {
    let mut net = Net::new();
    let [media, elsewhere] = [folder("wgod-media-"), folder("wgod-else-")];
    let mut daemon = Daemon::start(&net);
    let payload = Payload::single("old.bin", 300_000, 16_384);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, elsewhere.path(), &[seeder.addr()]);
    daemon.wait_seeding(&id);
    let free = fs::read_to_string(daemon.config()).unwrap();
    let bounded = |folders: &[&Path]| {
        let folder = format!("folder = \"{}\"\n{}\n[network]", media.path().display(), allow(folders));
        let start = free.find("folder = ").unwrap();
        format!("{}{folder}{}", &free[..start], free.split_once("[network]").unwrap().1)
    };
    fs::write(daemon.config(), bounded(&[media.path()])).unwrap();
    let reloaded = daemon.call(async |client| client.reload(ReloadParams::default()).await).unwrap();
    assert!(reloaded.restart.contains(&KEY.to_owned()), "{reloaded:?}");
    assert_eq!(daemon.status().confinement.allowed_folders, None, "that takes a restart");

    daemon.terminate();
    daemon.run();
    let why = fault(&daemon, &id);
    assert!(why.contains(KEY) && why.contains(elsewhere.path().to_str().unwrap()), "{why}");
    payload.assert_equals(elsewhere.path());
    fs::write(daemon.config(), bounded(&[media.path(), elsewhere.path()])).unwrap();
    daemon.terminate();
    daemon.run();
    daemon.wait_seeding(&id);
}

#[test]
fn a_reload_cannot_move_the_default_folder_out_of_the_bounds_of_this_run() {
    let net = Net::new();
    let [media, elsewhere] = [folder("wgod-media-"), folder("wgod-else-")];
    let Some(daemon) = confined(&net, &[media.path()], Settings::default()) else { return };
    let before = fs::read_to_string(daemon.config()).unwrap();
    let folders = allow(&[media.path(), elsewhere.path()]);
    let after =
        before.replace(&allow(&[media.path()]), &folders).replace("up = \"0 B/s\"", "up = \"7 KB/s\"");
    let label = format!("\n[labels.tv]\nfolder = \"{}\"\n", elsewhere.path().display());
    fs::write(daemon.config(), after + &label).unwrap();
    let reloaded = daemon.call(async |client| client.reload(ReloadParams::default()).await).unwrap();
    assert_eq!(reloaded.restart, [KEY, "labels.tv.folder"], "{reloaded:?}");
    assert_eq!(daemon.status().limits.up, 7000, "the file could be read and the rest took effect");
    let torrent = Maker::new(&Payload::single("x.bin", 1000, 16_384)).make();
    assert!(refusal(&daemon, &torrent, elsewhere.path()).contains(KEY));
    ctl::run_with(&daemon, &["add", "-", "--label", "tv", "--paused"], &torrent.bytes).expect(0);
    assert_eq!(daemon.torrent(&torrent.id()).folder, media.path().display().to_string());
}

/// Answers every question for an IPv4 address with `address`, and any other with nothing (RFC 1035).
fn serve_names(socket: UdpSocket, address: [u8; 4]) {
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut question) {
            let name = question[12..len].iter().position(|byte| *byte == 0).unwrap() + 13;
            let is_a = question[name..name + 2] == [0, 1];
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            answer.extend(&question[12..name + 4]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}

/// What comes in at a socket, as text.
fn listen(at: &Path) -> Arc<Mutex<String>> {
    let socket = UnixDatagram::bind(at).unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let all = heard.clone();
    std::thread::spawn(move || {
        let mut record = vec![0; 1 << 16];
        while let Ok(len) = socket.recv(&mut record) {
            all.lock().unwrap().push_str(&String::from_utf8_lossy(&record[..len]));
        }
    });
    heard
}

#[test]
fn trackers_by_name_authorities_systemd_and_the_journal_are_still_reached() {
    let test = "trackers_by_name_authorities_systemd_and_the_journal_are_still_reached";
    let Some(mut net) = Net::required(test) else { return };
    let [media, elsewhere] = [folder("wgod-media-"), folder("wgod-else-")];
    let at = |name: &str| elsewhere.path().join(name);
    let payload = Payload::single("named.bin", 300_000, 16_384);
    let unnamed = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &unnamed)]);
    let place = net.ip();
    let IpAddr::V4(address) = place else { panic!("{place}") };
    let tracker = Tracker::start(place, &[seeder.addr()]);
    let server = SocketAddr::new(net.ip(), 53);
    serve_names(UdpSocket::bind(server).unwrap(), address.octets());
    fs::write(at("resolv.conf"), format!("nameserver {}\n", server.ip())).unwrap();
    fs::copy("../wgod/src/tracker/tests/certificate.pem", at("ca.pem")).unwrap();
    let [systemd, journal] = ["systemd", "journal"].map(|name| listen(&at(name)));

    // The file of the command line lies where nothing may be read later.
    let url = tracker.url(Over::Http).replace(&place.to_string(), "tracker.example");
    let torrent = Maker::new(&payload).tier([url]).make();
    let file = torrent.save(elsewhere.path());
    let mounts = format!(
        "mount --bind {resolver} /etc/resolv.conf\nmount -t tmpfs none /run\nmkdir -p /run/systemd/journal\n\
        touch /run/systemd/journal/socket\nmount --bind {journal} /run/systemd/journal/socket\n\
        export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)",
        resolver = at("resolv.conf").display(),
        journal = at("journal").display()
    );
    let env = [("NOTIFY_SOCKET", at("systemd")), ("SSL_CERT_FILE", at("ca.pem"))];
    let env = env.map(|(name, path)| (name.to_owned(), path.display().to_string())).to_vec();
    let args = ["--folder", media.path().to_str().unwrap(), "--torrent", file.to_str().unwrap()];
    let mut daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        storage: allow(&[media.path()]),
        mounts: Some(mounts),
        env,
        args: args.map(str::to_owned).to_vec(),
        ..Settings::default()
    });
    if daemon.status().confinement.landlock.is_none() {
        return net::skip(test, "this kernel has no Landlock");
    }
    until("the torrent of the command line is complete", TRANSFER, || {
        daemon.list().iter().any(|torrent| torrent.state == State::Seeding).then_some(())
    });
    assert_eq!(daemon.list()[0].info_hash, torrent.id());
    payload.assert_equals(media.path());
    assert_eq!(tracker.heard().first().map(|heard| heard.announce.hash), Some(torrent.hash));

    let said = until("the journal has it", SOON, || {
        let said = journal.lock().unwrap().clone();
        (said.contains("wgod is running") && said.contains("complete")).then_some(said)
    });
    assert!(!said.contains("no certificate authorities"), "{said}");
    daemon.terminate();
    until("systemd was told", SOON, || {
        let told = systemd.lock().unwrap();
        (told.contains("READY=1") && told.contains("STOPPING=1")).then_some(())
    });
    assert!(!daemon.socket().exists(), "its socket is gone with it");
}

#[test]
fn a_configuration_named_relatively_and_linked_to_is_read_again() {
    let _net = Net::new();
    let [home, place] = [folder("wgod-home-"), folder("wgod-conf-")];
    let path = |name: &str| home.path().join(name);
    let text = format!("[storage]\nfolder = \"{0}\"\nallowed_folders = [\"{0}\"]\n", path("dl").display());
    fs::create_dir(path("dl")).unwrap();
    fs::write(place.path().join("real.toml"), &text).unwrap();
    symlink(place.path().join("real.toml"), path("wgod.toml")).unwrap();
    let mut wgod = Process::spawn("wgod", &wgo_tests::binaries::wgod(), &path("log"), |command| {
        command.args(["--config", "wgod.toml", "--state-dir", "state", "--socket", "state/s", "--port", "0"]);
        command.env("HOME", home.path()).current_dir(home.path());
    });
    let told = "configuration read again applied=1";
    until("it runs", SOON, || wgod.log_tail().contains("wgod is running").then_some(()));
    // As editors do: a new file in the place of the old one.
    fs::write(place.path().join("new"), text + "[limits]\nup = 9\n").unwrap();
    fs::rename(place.path().join("new"), place.path().join("real.toml")).unwrap();
    wgod.signal(Signal::HUP);
    until("it has read the file again", SOON, || wgod.log_tail().contains(told).then_some(()));
    assert!(wgod.terminate(SOON).success(), "{}", wgod.log_tail());
}

#[test]
fn bounds_that_cannot_be_are_refused_before_anything_is_done() {
    let home = folder("wgod-home-");
    for (value, named) in [
        ("[]", "nothing could be downloaded"),
        ("\"\"", "nothing could be downloaded"),
        ("[\"/\"]", "\"any\""),
        ("[\"srv\"]", "an absolute path"),
        ("[\"/srv/../etc\"]", "climbs with .."),
        ("[\"/srv\"]", "storage.folder: /media is in none of"),
    ] {
        let config = home.path().join("wgod.toml");
        fs::write(&config, format!("[storage]\nfolder = \"/media\"\nallowed_folders = {value}\n")).unwrap();
        let mut command = Command::new(wgo_tests::binaries::wgod());
        let out = command.arg("--check-config").arg("--config").arg(&config).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{value}: {said}");
        assert!(said.contains(named) && said.contains("wgod.toml:"), "{value}: {said}");
    }
}
