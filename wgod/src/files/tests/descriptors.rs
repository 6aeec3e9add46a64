//! A process that may open few files: the limit holds for the whole process, so a child tries it.
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::rig::*;
use crate::files::*;

/// Set for the child.
const CHILD: &str = "WGOD_TEST_FEW_DESCRIPTORS";
const NAME: &str = "files::tests::descriptors::descriptors_of_256_are_enough_for_direct_writes_to_many_files";

#[test]
fn descriptors_of_256_are_enough_for_direct_writes_to_many_files() {
    if std::env::var_os(CHILD).is_some() {
        return few_descriptors();
    }
    let exe = std::env::current_exe().unwrap();
    let child = Command::new(exe).args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
    text.lines().filter(|line| line.starts_with("SKIPPED")).for_each(|line| println!("{line}"));
}

fn few_descriptors() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: Some(256) }).unwrap();
    let rig = Rig::new();
    let made: Vec<Made> = (0..140).map(|n| file(&format!("{n}"), 1024 * 1024)).collect();
    let torrent = multi("d", 512 * 1024, &made);
    let files = rig.open(&torrent);
    rig.prepare(&files);
    let mut most = 0;
    for piece in 0..torrent.info.layout.piece_count() {
        assert_eq!(rig.store(&files, &torrent, piece), StoreOutcome::Stored, "piece {piece}");
        most = most.max(std::fs::read_dir("/proc/self/fd").unwrap().count());
    }
    assert!(most < 200, "{most} descriptors");
    if most < 100 {
        println!("SKIPPED: no direct I/O in the temp folder, so no file took two descriptors");
    }
    // Without any to spare, what must be opened pushes out what isn't in use.
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    for piece in 0..10 {
        assert_eq!(rig.store(&files, &torrent, piece), StoreOutcome::Stored, "piece {piece}");
    }
    drop(taken);
    assert!(rig.sync(&files, true).is_durable());
    rig.assert_on_disk(&torrent);
}
