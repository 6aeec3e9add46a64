//! The shape of files and folders.
use std::process::Command;

use crate::{assert_none, root, sources};

/// Lines of a file at most.
const MAX_FILE: usize = 500;

/// Lines of a function at most, from `fn` to the closing brace.
const MAX_FUNCTION: usize = 80;

/// What may lie at the top of the repository, besides single files.
const FOLDERS: &[&str] = &[".ci", "config", "systemd", "tests", "wgoctl", "wgod"];

#[test]
fn every_file_says_first_what_it_is() {
    let silent = |source: &crate::Source| !source.text.starts_with("//! ");
    let breaches: Vec<_> = sources().iter().filter(|source| silent(source)).map(|s| s.path.clone()).collect();
    assert_none("a file opens with `//!`: what it owns, who calls it (STYLE 1)", &breaches);
}

#[test]
fn files_and_functions_are_short() {
    let mut breaches = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_FILE {
            breaches.push(format!("{}: {lines} lines, at most {MAX_FILE}", source.path));
        }
        for function in source.functions().into_iter().filter(|f| f.lines.len() > MAX_FUNCTION) {
            let (at, len) = (function.lines.start, function.lines.len());
            breaches.push(format!(
                "{}:{at}: fn {} has {len} lines, at most {MAX_FUNCTION}",
                source.path, function.name
            ));
        }
    }
    assert_none("split by concept (STYLE 2)", &breaches);
}

#[test]
fn the_top_of_the_house_has_no_other_rooms() {
    // What git keeps and would keep: build output and scratch are ignored.
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let files = match listed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        _ => return eprintln!("SKIPPED the_top_of_the_house_has_no_other_rooms: this is no git repository"),
    };
    let top = |file: &str| file.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut others: Vec<_> =
        files.lines().filter_map(top).filter(|top| !FOLDERS.contains(&top.as_str())).collect();
    others.sort();
    others.dedup();
    assert!(files.lines().count() > 10, "git lists no files");
    assert_none("no other top-level folder (DESIGN, The house)", &others);
}
