//! Who may drive the daemon, who may look, and what everybody else is told: with processes of other users.
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wgo_api::State;
use wgo_tests::ctl::{Ran, by};
use wgo_tests::net::skip;
use wgo_tests::process::User;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

/// The daemon's user and the two groups, which the tests' own `/etc/group` names.
const WGOD: u32 = 4101;
const WGOD_RO: u32 = 4102;

/// What stands in `/etc/passwd` and `/etc/group` for `wgoctl`. carol's session is older than her
/// membership.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwgod:x:4101:4101::/:/bin/sh\nalice:x:4001:4001::/:/bin/sh\n\
    bob:x:4002:4002::/:/bin/sh\ncarol:x:4003:4003::/:/bin/sh\ndave:x:4004:4004::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwgod:x:4101:alice,carol\nwgod-ro:x:4102:bob\n";

fn user(uid: u32, groups: &[u32]) -> User {
    User { uid, gid: uid, groups: groups.to_vec() }
}

/// A daemon under a user of its own, with a folder for its socket that only its group can look into and
/// one for the read-only socket that only the other group can.
struct Rig {
    daemon: Daemon,
    looking: TempDir,
    /// Shell commands that put the tests' accounts in place.
    accounts: String,
}

impl Rig {
    fn start(test: &str) -> Option<Rig> {
        if !rustix::process::geteuid().is_root() {
            skip(test, "only root can be other users");
            return None;
        }
        let net = Net::required(test)?;
        let looking = tempfile::Builder::new().prefix("wgod-ro-").tempdir().unwrap();
        chown(looking.path(), Some(WGOD), Some(WGOD_RO)).unwrap();
        fs::set_permissions(looking.path(), fs::Permissions::from_mode(0o2750)).unwrap();
        let daemon = Daemon::with(Settings {
            ips: vec![net.home()],
            daemon: format!("socket_ro = \"{}/s\"", looking.path().display()),
            user: Some(user(WGOD, &[])),
            ..Settings::default()
        });
        let mut accounts = String::new();
        for (name, text) in [("passwd", PASSWD), ("group", GROUP)] {
            let file = daemon.home().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
            accounts += &format!("mount --bind {} /etc/{name}\n", file.display());
        }
        Some(Rig { daemon, looking, accounts })
    }

    fn looking(&self) -> PathBuf {
        self.looking.path().join("s")
    }

    fn ctl(&self, user: &User, socket: &Path, args: &[&str]) -> Ran {
        by(user, &self.accounts, &[("WGOD_SOCKET", socket)], args)
    }
}

#[track_caller]
fn says(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.err.contains(part), "no {part:?} in {ran:?}");
    }
}

#[test]
fn a_member_drives_a_looker_looks_and_others_are_told_what_to_do() {
    let Some(rig) = Rig::start("a_member_drives_a_looker_looks_and_others_are_told_what_to_do") else {
        return;
    };
    let (full, looking) = (rig.daemon.socket(), rig.looking());
    let payload = Payload::single("film.bin", 50_000, 16_384);
    let torrent = Maker::new(&payload).tier(["http://198.18.9.9/SECRET/announce?key=SECRET"]).make();
    let id = rig.daemon.add(&torrent, &rig.daemon.downloads(), &[]);
    rig.daemon.wait_state(&id, State::Downloading, SOON);
    let [alice, bob, carol, dave] =
        [user(4001, &[WGOD]), user(4002, &[WGOD_RO]), user(4003, &[]), user(4004, &[])];

    rig.ctl(&alice, &full, &["limit", "--down", "5 MB/s"]).expect(0);
    rig.ctl(&alice, &full, &["stop", &id]).expect(0);
    rig.daemon.wait_state(&id, State::Stopped, SOON);

    for args in [&["status"][..], &["list"], &["show", &id, "--files"], &["limit"], &["config", "show"]] {
        rig.ctl(&bob, &looking, args).expect(0);
    }
    for args in [
        &["start", &id][..],
        &["stop", "--all"],
        &["remove", &id, "--yes"],
        &["limit", "--up", "1"],
        &["reload"],
        &["verify", &id],
        &["quit"],
    ] {
        let ran = rig.ctl(&bob, &looking, args).expect(8);
        says(&ran, &[&format!("`{}` is refused", args[0]), "for looking"]);
    }
    assert_eq!(rig.daemon.torrent(&id).state, State::Stopped);
    let ran = rig.ctl(&alice, &full, &["show", &id, "--trackers"]).expect(0);
    assert!(ran.out.contains("198.18.9.9/SECRET/announce?key=SECRET"), "{ran:?}");
    let ran = rig.ctl(&bob, &looking, &["--json", "show", &id, "--trackers"]).expect(0);
    assert!(ran.out.contains("http://198.18.9.9:80/…") && !ran.out.contains("SECRET"), "{ran:?}");
    // The socket's folder can't be looked into by either, and the advice is right all the same.
    let ran = rig.ctl(&bob, &full, &["status"]).expect(8);
    says(&ran, &["no permission to use", "the group wgod;", "`sudo usermod -aG wgod bob`"]);
    let ran = rig.ctl(&dave, &full, &["status"]).expect(8);
    says(&ran, &["the user wgod and the group wgod;", "`sudo usermod -aG wgod dave`, then log in again"]);
    let ran = rig.ctl(&carol, &full, &["status"]).expect(8);
    says(&ran, &["carol is a member by now", "log in again, or run `newgrp wgod`"]);
    let ran = rig.ctl(&dave, &looking, &["list"]).expect(8);
    says(&ran, &["the group wgod-ro;", "`sudo usermod -aG wgod-ro dave`"]);
    let ran = rig.ctl(&dave, &full, &["--json", "status"]).expect(8);
    assert!(
        ran.out.contains("\"kind\":\"permission\"") || ran.out.contains("\"kind\": \"permission\""),
        "{ran:?}"
    );

    let log = rig.daemon.log();
    for expected in [
        "limit by uid 4001, gid 4001, pid ".to_owned(),
        "stop by uid 4001, gid 4001, pid ".to_owned(),
        "stop by uid 4002, gid 4002, pid ".to_owned(),
        "quit by uid 4002, gid 4002, pid ".to_owned(),
        format!("): ok; {id}"),
        "of the read-only socket): permission".to_owned(),
    ] {
        assert!(log.contains(&expected), "no {expected:?} in\n{log}");
    }
    assert!(!log.contains("list by uid"), "looking is not logged");
    assert!(!log.contains("SECRET"), "no passkeys in the log");
}

#[test]
fn the_read_only_socket_belongs_to_the_group_of_its_folder_and_goes_with_the_daemon() {
    let Some(mut rig) = Rig::start("the_read_only_socket_belongs_to_the_group_of_its_folder") else { return };
    for (socket, group) in [(rig.daemon.socket(), WGOD), (rig.looking(), WGOD_RO)] {
        let found = fs::metadata(&socket).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o660, WGOD, group), "{socket:?}");
    }
    assert!(rig.daemon.terminate().success());
    assert!(!rig.looking().exists() && !rig.daemon.socket().exists());
}

#[test]
fn lookers_who_take_every_connection_lock_nobody_out() {
    let Some(rig) = Rig::start("lookers_who_take_every_connection_lock_nobody_out") else { return };
    let bob = user(4002, &[WGOD_RO]);
    // Far more than there are places.
    let held: Vec<_> = (0..400).map(|_| UnixStream::connect(rig.looking()).unwrap()).collect();
    rig.ctl(&user(4001, &[WGOD]), &rig.daemon.socket(), &["limit", "--up", "7"]).expect(0);
    // Those that are idle for a second make room.
    until("lookers are let in", SOON, || {
        (rig.ctl(&bob, &rig.looking(), &["status"]).code == 0).then_some(())
    });
    drop(held);
}

/// What stands in for /run: the daemon's folder as `wgod`, that of the read-only socket as `wgod-ro`.
#[test]
fn wgoctl_looks_where_it_may_not_drive_and_says_so_when_it_is_to_change_something() {
    let test = "wgoctl_looks_where_it_may_not_drive";
    let Some(rig) = Rig::start(test) else { return };
    let run = tempfile::tempdir().unwrap();
    fs::set_permissions(run.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mounts = format!(
        "{accounts}mount -t tmpfs -o mode=755 none /run\nmkdir /run/wgod /run/wgod-ro\n\
         mount --bind {home} /run/wgod\nmount --bind {looking} /run/wgod-ro\n\
         # Under the names that the service gives them.\n",
        accounts = rig.accounts,
        home = rig.daemon.home().display(),
        looking = rig.looking.path().display(),
    );
    fs::hard_link(rig.daemon.socket(), rig.daemon.home().join("wgod.sock")).unwrap();
    fs::hard_link(rig.looking(), rig.looking.path().join("wgod-ro.sock")).unwrap();
    // A session of its own, in which no wgod runs.
    let env = [("XDG_RUNTIME_DIR", run.path()), ("HOME", run.path())];
    let ctl = |user: &User, args: &[&str]| by(user, &mounts, &env, args);
    ctl(&user(4001, &[WGOD]), &["limit", "--up", "9"]).expect(0);
    let bob = user(4002, &[WGOD_RO]);
    ctl(&bob, &["status"]).expect(0);
    ctl(&bob, &["list"]).expect(0);
    let ran = ctl(&bob, &["limit", "--up", "1"]).expect(8);
    says(
        &ran,
        &["`limit` is refused", "There is no permission to use /run/wgod/wgod.sock", "usermod -aG wgod bob"],
    );
    let ran = ctl(&user(4004, &[]), &["status"]).expect(8);
    says(&ran, &["/run/wgod/wgod.sock", "usermod -aG wgod dave", "The group wgod-ro may look and not touch"]);
    let ran = by(&bob, &mounts, &[("WGOD_SOCKET", Path::new("/run/wgod/wgod.sock"))], &["status"]).expect(8);
    says(&ran, &["--socket /run/wgod-ro/wgod-ro.sock"]);
}
