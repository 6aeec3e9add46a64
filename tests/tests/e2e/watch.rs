//! Watched folders of a real daemon.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use wgo_api::State;
use wgo_tests::maker::Torrent;
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(name).tempdir().unwrap()
}

fn torrent(name: &str) -> Torrent {
    Maker::new(&Payload::single(name, 50_000, 16_384)).make()
}

/// A daemon that watches the folder, with more lines for the section.
fn watching(net: &Net, folder: &Path, lines: &str) -> Settings {
    let sections = format!("[watch]\nfolders = [\"{}\"]\n{lines}", folder.display());
    Settings { ips: vec![net.home()], sections, ..Settings::default() }
}

/// Puts a file there as `mv` does.
fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let hidden = folder.join(format!(".{name}.part"));
    fs::write(&hidden, bytes).unwrap();
    fs::rename(hidden, folder.join(name)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn wait_names(folder: &Path, want: &[&str]) {
    let mut seen = Vec::new();
    let reached = wgo_tests::wait::try_until(TRANSFER, || {
        seen = names(folder);
        (seen == want).then_some(())
    });
    assert!(reached.is_some(), "{seen:?} instead of {want:?}");
}

fn said(daemon: &Daemon, text: &str) {
    until(&format!("the log says {text:?}"), TRANSFER, || daemon.log().contains(text).then_some(()));
}

fn count(daemon: &Daemon, text: &str) -> usize {
    daemon.log().matches(text).count()
}

#[test]
fn each_folder_has_rules_of_its_own_also_in_a_confined_daemon() {
    let net = Net::new();
    let [media, films, tv] = [folder("wgod-media-"), folder("wgod-films-"), folder("wgod-tv-")];
    let target = media.path().join("tv");
    // One lies there already, from before the start.
    put(films.path(), "film.torrent", &torrent("film").bytes);
    let daemon = Daemon::with(Settings {
        ips: vec![net.home()],
        storage: format!("allowed_folders = [\"{}\"]", media.path().display()),
        args: vec!["--folder".into(), media.path().display().to_string()],
        sections: format!(
            "[watch]\nafter = \"rename\"\n[[watch.folders]]\npath = \"{}\"\n\
            [[watch.folders]]\npath = \"{}\"\nlabel = [\"tv\", \"new\"]\nfolder = \"{}\"\npaused = true\n",
            films.path().display(),
            tv.path().display(),
            target.display()
        ),
        ..Settings::default()
    });
    put(tv.path(), "show.torrent", &torrent("show").bytes);
    wait_names(films.path(), &["film.torrent.added"]);
    wait_names(tv.path(), &["show.torrent.added"]);
    let (film, show) = (daemon.torrent("film"), daemon.torrent("show"));
    assert_eq!((film.folder, film.labels.len()), (media.path().display().to_string(), 0));
    assert_ne!(film.state, State::Stopped);
    assert_eq!((show.folder, show.labels), (target.display().to_string(), vec!["new".into(), "tv".into()]));
    daemon.wait_state(&show.info_hash, State::Stopped, SOON);
    // The daemon may use the folders that it watches, and torrents may not be put there.
    let refused = daemon.try_add(&torrent("other"), tv.path(), &[]);
    assert!(refused.error.unwrap().contains("storage.allowed_folders"));
}

#[test]
fn files_that_are_half_written_wait_and_what_is_no_torrent_is_put_aside() {
    let net = Net::new();
    let watched = folder("wgod-watch-");
    let mut daemon = Daemon::with(watching(&net, watched.path(), ""));
    let at = |name: &str| watched.path().join(name);
    let whole = torrent("slow").bytes;
    let (first, second) = whole.split_at(whole.len() / 2);
    let mut slow = File::create(at("slow.torrent")).unwrap();
    slow.write_all(first).unwrap();
    put(watched.path(), "broken.torrent", b"d4:info");
    put(watched.path(), "empty.torrent", b"");
    put(watched.path(), "link.magnet", b"magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a\n");
    put(watched.path(), "none.magnet", b"magnet:?dn=c12fe1c06bba254a9dc9f519b335aa7c1367a88a\n");
    put(watched.path(), "notes.txt", b"nothing to do with it");
    put(watched.path(), ".hidden.torrent", &torrent("hidden").bytes);
    put(daemon.home(), "secret.torrent", &torrent("secret").bytes);
    symlink(daemon.home().join("secret.torrent"), at("symlink.torrent")).unwrap();
    put(watched.path(), "vanishes.torrent", b"d");
    fs::remove_file(at("vanishes.torrent")).unwrap();
    said(&daemon, "slow.torrent");
    slow.write_all(second).unwrap();
    drop(slow);
    let left = [
        ".hidden.torrent",
        "broken.torrent.error",
        "empty.torrent.error",
        "link.magnet.added",
        "none.magnet.error",
        "notes.txt",
        "slow.torrent.added",
        "symlink.torrent",
    ];
    wait_names(watched.path(), &left);
    for why in [
        "broken.torrent is not added: not a valid torrent",
        "it is now broken.torrent.error",
        "none.magnet is not added: not a magnet link that can be read: the magnet link names no torrent",
        "symlink.torrent is left alone: it is not a plain file",
    ] {
        said(&daemon, why);
    }
    let mut names: Vec<String> = daemon.list().into_iter().map(|torrent| torrent.name).collect();
    names.sort();
    assert_eq!(names, ["c12fe1c06bba254a9dc9f519b335aa7c1367a88a", "slow"]);
    // A new start finds nothing new to do, and the same name does not get into the way.
    assert!(daemon.terminate().success());
    daemon.run();
    put(watched.path(), "slow.torrent", &torrent("again").bytes);
    put(watched.path(), "broken.torrent", b"d");
    let mut left = left.to_vec();
    left.extend(["slow.torrent.added.1", "broken.torrent.error.1"]);
    left.sort_unstable();
    wait_names(watched.path(), &left);
    assert_eq!(daemon.list().len(), 3);
    assert_eq!(count(&daemon, "symlink.torrent is left alone"), 2, "once in each run");
}

#[test]
fn a_file_that_is_kept_does_not_bring_a_removed_torrent_back() {
    let net = Net::new();
    let watched = folder("wgod-watch-");
    let mut daemon = Daemon::with(watching(&net, watched.path(), "after = \"keep\""));
    let gone = torrent("gone");
    put(watched.path(), "gone.torrent", &gone.bytes);
    said(&daemon, "added from a watched folder");
    daemon.remove(&gone.id(), false);
    // What is here already counts as added.
    let here = torrent("here");
    daemon.add(&here, &daemon.downloads(), &[]);
    put(watched.path(), "here.torrent", &here.bytes);
    said(&daemon, "a watched folder has what is here already");
    assert!(daemon.terminate().success());
    daemon.run();
    // Somebody wants it again, and puts it there again.
    put(watched.path(), "new.torrent", &torrent("new").bytes);
    until("the new one is added", SOON, || daemon.list().iter().any(|row| row.name == "new").then_some(()));
    assert!(daemon.list().iter().all(|row| row.name != "gone"), "it came back");
    put(watched.path(), "gone.torrent", &gone.bytes);
    until("it is added again", SOON, || daemon.list().iter().any(|row| row.name == "gone").then_some(()));
    assert_eq!(names(watched.path()), ["gone.torrent", "here.torrent", "new.torrent"]);
}

#[test]
fn a_folder_that_is_missing_is_waited_for_and_many_files_are_no_trouble() {
    const MANY: usize = 400;
    let net = Net::new();
    let top = folder("wgod-watch-");
    let watched = top.path().join("later");
    let daemon = Daemon::with(watching(&net, &watched, "after = \"delete\""));
    said(&daemon, "can't be read, and is tried again: No such file");
    let prepared = top.path().join("prepared");
    fs::create_dir(&prepared).unwrap();
    let name = |n: usize| format!("{n:03}.torrent");
    (0..MANY).for_each(|n| put(&prepared, &name(n), &torrent(&format!("t{n}")).bytes));
    fs::rename(&prepared, &watched).unwrap();
    wait_names(&watched, &[]);
    assert_eq!(daemon.list().len(), MANY);
    said(&daemon, "can be read again");
    assert_eq!(count(&daemon, "can't be read, and is tried again"), 1, "it is said once");

    // It is another folder by then, as after a mount.
    fs::remove_dir(&watched).unwrap();
    until("that is noticed", TRANSFER, || {
        (count(&daemon, "can't be read, and is tried again") == 2).then_some(())
    });
    fs::create_dir(&watched).unwrap();
    put(&watched, "last.torrent", &torrent("last").bytes);
    wait_names(&watched, &[]);
    assert_eq!(daemon.list().len(), MANY + 1);
}
