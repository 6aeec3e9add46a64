//! The rules of the house that no compiler checks: who may depend on whom, what the lower floors
//! must not touch, and the shape of files. The rules are those of STYLE and DESIGN; nothing is
//! exempt by name.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]
mod generated;
mod layering;
mod names;
mod shape;
mod source;

use std::path::{Path, PathBuf};

use source::Source;

/// The top of the workspace.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are a folder of the workspace").to_owned()
}

/// Every Rust file of the workspace, its fuzz targets included.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["wgod", "wgoctl", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 10, "only {} Rust files found below {}", files.len(), root().display());
    let mut sources: Vec<_> = files.iter().map(|path| Source::read(&root(), path)).collect();
    source::mark_test_modules(&mut sources);
    sources
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

/// Fails with every breach at once.
fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n{}\n", breaches.join("\n"));
}
