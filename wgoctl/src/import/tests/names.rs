//! Names that aren't the maker's: good ones, and those that somebody wrote into a session to harm.
use std::fs;
use std::path::{Path, PathBuf};

use super::super::found::Found;
use super::super::names::Renamed;
use super::super::plan::Plan;
use super::super::{Args, Client, planned};
use super::made::Session;
use super::{args, only, read};

/// The folder that the daemon is told, and the paths of files below it.
fn names(found: Found) -> (PathBuf, Vec<Option<String>>) {
    let plan = Plan::of(found).expect("its files are there");
    let known = plan.params.known.expect("it is from another client");
    (plan.params.folder.expect("named"), known.paths)
}

#[test]
fn renames_are_taken_over_and_a_suffix_is_none() {
    let path = |path: &str| Some(path.to_owned());
    let session = Session::new();
    let folder = session.files();
    let paths = |last: &str| vec![String::new(), "t/b".to_owned(), last.to_owned()];
    session.write(&[]);
    session.qbittorrent(&folder, &paths("t/c.!qB"));
    let found = only(Client::Qbittorrent, session.path());
    assert_eq!(found.suffix, Some(".!qB"));
    assert_eq!(names(found), (folder.clone(), Vec::new()));
    fs::create_dir(folder.join("t/new")).expect("made");
    fs::rename(folder.join("t/c"), folder.join("t/new/d.!qB")).expect("renamed");
    for last in ["t/new/d.!qB".to_owned(), folder.join("t/new/d").display().to_string()] {
        session.qbittorrent(&folder, &paths(&last));
        let mut found = only(Client::Qbittorrent, session.path());
        found.suffix = Some(".!qB");
        let plan = Plan::of(found).expect("it is there");
        assert_eq!(plan.renames, [(folder.join("t/new/d.!qB"), folder.join("t/new/d"))], "{last}");
        let known = plan.params.known.expect("it is from another client");
        assert_eq!(known.paths, [None, None, path("t/new/d")], "{last}");
        let renamed = Renamed { from: "t/c".to_owned(), to: "t/new/d".to_owned() };
        assert_eq!(plan.renamed, [renamed], "{last}");
    }
    let session = Session::new();
    session.transmission("", "another name");
    let found = only(Client::Transmission, session.path());
    assert_eq!(found.known.name.as_deref(), Some("another name"));
    assert!(Plan::of(found).expect_err("not there").why.contains("another name/b"));
    session.write(&[]);
    fs::rename(session.files().join("t"), session.files().join("another name")).expect("renamed");
    let (_, paths) = names(only(Client::Transmission, session.path()));
    assert_eq!(paths, ["another name/a", "another name/b", "another name/c"].map(path));
}

#[test]
fn files_that_lie_loose_in_a_folder_have_that_as_their_own() {
    let in_files = |name: &str| Some(format!("files/{name}"));
    let session = Session::new();
    let above = session.path().to_owned();
    for name in ["a", "b", "c"] {
        fs::write(session.files().join(name), vec![0; 50_000]).expect("written");
    }
    let loose = ["a", "b", "c"].map(str::to_owned);
    session.qbittorrent(&session.files(), &loose);
    let found = only(Client::Qbittorrent, session.path());
    assert_eq!(found.known.final_folder.as_deref(), Some(Path::new("/films")));
    let plan = Plan::of(found).expect("its files are there");
    assert!(plan.notes().iter().any(|note| note.contains("lie loose")), "{:?}", plan.notes());
    assert!(plan.notes().iter().any(|note| note.contains("/films")), "{:?}", plan.notes());
    let known = plan.params.known.expect("it is from another client");
    assert_eq!(known.paths, ["a", "b", "c"].map(in_files));
    assert_eq!((plan.params.folder, known.final_folder), (Some(above.clone()), None));
    // rTorrent's folder of another name is the same, wherever a container had it.
    session.rtorrent(Path::new("/downloads/other"), 0);
    let found = only(Client::Rtorrent, session.path());
    let map = vec![("/downloads/other".into(), session.files())];
    let plan = planned(found, &Args { map, ..args() }).expect("its files are there");
    let known = plan.params.known.expect("it is from another client");
    assert_eq!(known.paths, ["a", "b", "c"].map(in_files));
    assert_eq!(plan.params.folder, Some(above));
    // The top of a file system is no torrent's own folder.
    session.rtorrent(Path::new("/"), 0);
    let error = Plan::of(only(Client::Rtorrent, session.path())).expect_err("no folder above").why;
    assert!(error.contains("folder of their own"), "{error}");
}

#[test]
fn names_that_cannot_be_are_refused_by_torrent_and_name() {
    let session = Session::new();
    session.write(&[]);
    let long = format!("t/{}", "x".repeat(256));
    let deep = "d/".repeat(200) + "c";
    for (last, why) in [
        ("/elsewhere/c", "it is not in "),
        ("t/../c", "cannot be part of a path"),
        ("../c", "cannot be part of a path"),
        ("..", "cannot be part of a path"),
        ("t//c", "cannot be part of a path"),
        ("t/c/", "cannot be part of a path"),
        ("t/c\0d", "cannot be part of a path"),
        ("t/c\n", "cannot be part of a path"),
        ("t/\u{1b}[2J", "cannot be part of a path"),
        ("t/\u{202e}gnp.exe", "cannot be part of a path"),
        (&long, "cannot be part of a path"),
        (&deep, "128 components"),
        // Another file's, and a folder that would have to be one.
        ("t/b", "t/b"),
        ("t/b/c", "t/b"),
    ] {
        let paths = [String::new(), "t/b".to_owned(), last.to_owned()];
        session.qbittorrent(&session.files(), &paths);
        let item = read(Client::Qbittorrent, session.path()).remove(0);
        let left = item.and_then(|found| Plan::of(*found)).expect_err(last);
        assert_eq!(left.label, "t");
        let said = left.why;
        assert!(said.contains(why), "{last:?}: {said}");
        assert!(said.contains("can't be used") || said.contains("can't be taken over"), "{said}");
        assert!(!said.contains(|letter: char| letter.is_control()), "{said:?}");
    }
    // The same of Transmission, as an absolute path, and in bytes that are no text.
    session.transmission("", "/etc");
    let item = read(Client::Transmission, session.path()).remove(0);
    assert!(item.expect_err("it leads out").why.contains("it is not in "));
}
