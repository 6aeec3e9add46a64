//! Files under other paths than their maker's.
use super::super::{MAX_PATHS_LEN, Metainfo, RenameError};
use crate::bencode::Encoder;
use crate::metainfo::Info;
use crate::path::SafePath;
use crate::units::FileIndex;

/// A file: its path, whether it is padding, and what it links to.
type Made<'a> = (&'a str, bool, &'a str);

fn info(name: &str, files: &[Made<'_>]) -> Info {
    let mut out = Vec::new();
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    Encoder::new(&mut out).dict(|info| {
        info.entry("files").list(|list| {
            for (path, pad, target) in files {
                list.item().dict(|file| {
                    let attr = if *pad { "p" } else { "l" };
                    if *pad || !target.is_empty() {
                        file.entry("attr").bytes(attr);
                    }
                    file.entry("length").int(i64::from(target.is_empty()));
                    file.entry("path").list(|list| parts(path).iter().for_each(|p| list.item().bytes(p)));
                    if !target.is_empty() {
                        file.entry("symlink path")
                            .list(|list| parts(target).iter().for_each(|p| list.item().bytes(p)));
                    }
                });
            }
        });
        info.entry("name").bytes(name);
        info.entry("piece length").int(65536);
        info.entry("pieces").bytes([7; 20]);
    });
    Metainfo::from_info(&out).unwrap().info
}

fn single(name: &str) -> Info {
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|info| {
        info.entry("length").int(1);
        info.entry("name").bytes(name);
        info.entry("piece length").int(65536);
        info.entry("pieces").bytes([7; 20]);
    });
    Metainfo::from_info(&out).unwrap().info
}

fn show() -> Info {
    info("Show", &[("a", false, ""), (".pad/9", true, ""), ("s/b", false, ""), ("s/c/d", false, "")])
}

fn safe(path: &str) -> SafePath {
    SafePath::exact(path).unwrap()
}

fn paths(info: &Info) -> Vec<String> {
    info.files.iter().map(|entry| entry.path.to_string()).collect()
}

/// All paths after a rename.
fn after(info: &Info, from: &str, to: &str) -> Result<Vec<String>, RenameError> {
    let changed = info.renamed(&safe(from), &safe(to))?;
    Ok(paths(&info.with_paths(&changed)?))
}

#[test]
fn a_file_a_folder_and_the_torrents_own_folder_get_other_paths() {
    let show = show();
    for (from, to, want) in [
        ("Show", "Film", ["Film/a", "Film/.pad/9", "Film/s/b", "Film/s/c/d"]),
        ("Show", "TV/Show", ["TV/Show/a", "TV/Show/.pad/9", "TV/Show/s/b", "TV/Show/s/c/d"]),
        ("Show", "Show/1", ["Show/1/a", "Show/1/.pad/9", "Show/1/s/b", "Show/1/s/c/d"]),
        ("Show/a", "Show/s/a", ["Show/s/a", "Show/.pad/9", "Show/s/b", "Show/s/c/d"]),
        ("Show/s", "Show/t", ["Show/a", "Show/.pad/9", "Show/t/b", "Show/t/c/d"]),
        ("Show/s/c", "Show/c", ["Show/a", "Show/.pad/9", "Show/s/b", "Show/c/d"]),
        ("Show/s", "Show/s", ["Show/a", "Show/.pad/9", "Show/s/b", "Show/s/c/d"]),
    ] {
        assert_eq!(after(&show, from, to).unwrap(), want, "{from} to {to}");
    }
    assert_eq!(show.renamed(&safe("Show/a"), &safe("Show/a")), Ok(vec![]));
    assert_eq!(after(&single("f"), "f", "d/g").unwrap(), ["d/g"]);
    let nested = single("f").with_paths(&[(FileIndex(0), safe("d/g"))]).unwrap();
    assert_eq!(after(&nested, "d/g", "h").unwrap(), ["h"], "the only file may leave its folder again");
}

#[test]
fn what_can_not_be_is_refused_with_the_path_that_stands_in_the_way() {
    let show = show();
    let refused = |from: &str, to: &str| after(&show, from, to).unwrap_err();
    for from in ["Show/x", "Sho", "Show/s/b/x", "a"] {
        assert_eq!(refused(from, "Show/y"), RenameError::NoSuchPath { path: safe(from) });
    }
    for from in ["Show/.pad", "Show/.pad/9"] {
        assert_eq!(refused(from, "Show/y"), RenameError::Padding { path: safe(from) });
    }
    for (from, to, path, other) in [
        ("Show/a", "Show/s/b", "Show/s/b", "Show/s/b"),
        ("Show/a", "Show/s", "Show/s", "Show/s/b"),
        ("Show/s", "Show/a", "Show/a/b", "Show/a"),
        ("Show/s/b", "Show/.pad/9", "Show/.pad/9", "Show/.pad/9"),
    ] {
        let clash = RenameError::Clash { path: safe(path), other: safe(other) };
        assert_eq!(refused(from, to), clash, "{from} to {to}");
    }
    for (from, to) in [("Show/a", "Film/a"), ("Show/s", "s"), ("Show/s/c/d", "d")] {
        let outside = RenameError::Outside { to: safe(to), root: "Show".into() };
        assert_eq!(refused(from, to), outside, "{from} to {to}");
    }
    let deep = vec!["d"; 127].join("/");
    assert!(matches!(refused("Show", &deep), RenameError::Path { .. }));
    let far = show.with_paths(&[(FileIndex(4), safe("x"))]);
    assert_eq!(far, Err(RenameError::NoSuchFile { file: FileIndex(4) }));
    let twice = [(FileIndex(0), safe("Show/x")), (FileIndex(2), safe("Show/x"))];
    assert!(matches!(show.with_paths(&twice), Err(RenameError::Clash { .. })));
}

#[test]
fn a_file_never_takes_a_place_that_another_has_to_leave_in_the_same_step() {
    let chain = info("t", &[("a/x", false, ""), ("a/a/x", false, ""), ("a/a/a/x", false, "")]);
    for (from, to) in [("t/a", "t/a/a"), ("t/a/a", "t/a"), ("t/a/x", "t/a/x/x")] {
        let error = after(&chain, from, to).unwrap_err();
        let wanted = matches!(error, RenameError::Tangled { .. } | RenameError::Clash { .. });
        assert!(wanted, "{from} to {to}: {error}");
    }
    let (third, end) = (after(&chain, "t/a", "t/b").unwrap(), ["t/b/x", "t/b/a/x", "t/b/a/a/x"]);
    assert_eq!(third, end);
}

#[test]
fn names_that_others_had_are_free() {
    let show = show();
    let swap = [("Show/a", "Show/x"), ("Show/s/b", "Show/a"), ("Show/x", "Show/s/b")];
    let swapped = swap.iter().fold(show.clone(), |info, (from, to)| {
        info.with_paths(&info.renamed(&safe(from), &safe(to)).unwrap()).unwrap()
    });
    assert_eq!(paths(&swapped), ["Show/s/b", "Show/.pad/9", "Show/a", "Show/s/c/d"]);
    let all: Vec<_> = (0..).map(FileIndex).zip(swapped.files.iter().map(|e| e.path.clone())).collect();
    assert_eq!(show.with_paths(&all).unwrap(), swapped, "in one step, from what its maker wrote");
}

#[test]
fn links_lead_to_the_same_files_as_before() {
    let files =
        [("a", false, ""), ("s/b", false, ""), ("l", false, "s/b"), ("m", false, "s"), ("n", false, "x")];
    let info = info("t", &files);
    let targets = |info: &Info| -> Vec<String> {
        info.files.iter().filter_map(|entry| entry.symlink.as_ref()).map(ToString::to_string).collect()
    };
    assert_eq!(targets(&info), ["t/s/b", "t/s", "t/x"]);
    for (from, to, want) in [
        ("t/s", "t/r", ["t/r/b", "t/r", "t/x"]),
        ("t/s/b", "t/s/c", ["t/s/c", "t/s", "t/x"]),
        ("t", "u", ["u/s/b", "u/s", "t/x"]),
    ] {
        let changed = info.renamed(&safe(from), &safe(to)).unwrap();
        assert_eq!(targets(&info.with_paths(&changed).unwrap()), want, "{from} to {to}");
    }
}

#[test]
fn a_torrent_is_named_after_the_one_thing_that_is_all_of_it() {
    let show = show();
    for (from, named) in [("Show", true), ("Show/s", false), ("Show/a", false)] {
        assert_eq!(show.is_named_after(&safe(from)), named, "{from}");
    }
    assert!(single("f").is_named_after(&safe("f")));
    let nested = single("f").with_paths(&[(FileIndex(0), safe("d/f"))]).unwrap();
    assert!(nested.is_named_after(&safe("d/f")) && !nested.is_named_after(&safe("d")));
}

#[test]
fn a_torrent_has_one_place_while_all_its_files_lie_in_one_folder() {
    let moved = |path: &str| show().with_paths(&[(FileIndex(0), safe(path))]).unwrap();
    assert!(single("f").has_one_place() && show().has_one_place() && moved("Show/x/a").has_one_place());
    assert!(!moved("Other/a").has_one_place() && !moved("a").has_one_place());
}

#[test]
fn paths_are_never_longer_in_all_than_those_of_a_torrent_may_be() {
    let deep = safe(&vec!["x".repeat(200); 14].join("/"));
    let files: Vec<String> = (0..MAX_PATHS_LEN / deep.as_str().len() + 1).map(|n| n.to_string()).collect();
    let made: Vec<Made<'_>> = files.iter().map(|name| (name.as_str(), false, "")).collect();
    let info = info("Show", &made);
    // That they are one path would be found next.
    let all: Vec<_> = (0..).map(FileIndex).zip(files.iter().map(|_| deep.clone())).collect();
    assert_eq!(info.with_paths(&all).map(|_| ()), Err(RenameError::TooLong));
    assert!(matches!(info.with_paths(&all[..2]), Err(RenameError::Clash { .. })));
}

#[test]
fn a_name_that_a_file_has_until_it_is_complete_is_not_free() {
    let plain = info("t", &[("a", false, ""), ("b", false, ""), ("y.part", false, ""), ("d/c", false, "")]);
    let info = plain.with_suffix(Some(&".part".parse().unwrap()));
    for (from, to, why) in [
        ("t/b", "t/a.part", "reserved"),
        ("t/b", "t/a.part/b", "reserved"),
        ("t/d", "t/a.part", "reserved"),
        // Found as `y.part`, a file could have its old name, or its new one and not be complete.
        ("t/y.part", "t/y", "tangled"),
        ("t/a", "t/a.part", "tangled"),
        ("t/a.part", "t/f", "suffixed"),
        ("t/b", "t/c", ""),
        ("t/d", "t/e/d", ""),
        ("t", "u", ""),
    ] {
        let found = match info.renamed(&safe(from), &safe(to)) {
            Err(RenameError::Reserved { .. }) => "reserved",
            Err(RenameError::Tangled { .. }) => "tangled",
            Err(RenameError::Suffixed { own, .. }) => {
                assert_eq!(own, safe("t/a"));
                "suffixed"
            }
            renamed => renamed.map(|_| "").unwrap(),
        };
        assert_eq!(found, why, "{from} to {to}");
        let without = plain.renamed(&safe(from), &safe(to));
        assert_eq!(without.is_ok(), why != "suffixed", "{from} to {to} without a suffix");
    }
}
