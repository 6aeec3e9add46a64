//! File systems that only the daemon's mount namespace has: reached, filled, mounted and unmounted.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Daemon;

/// A folder of the daemon's namespace, as a test reaches it.
pub fn seen(daemon: &Daemon, folder: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), folder.display()))
}

/// Runs a script in the daemon's namespace.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn within(daemon: &Daemon, script: &str) {
    let pid = daemon.pid().to_string();
    let done = Command::new("nsenter").args(["-t", &pid, "-m", "sh", "-ec", script]).status().unwrap();
    assert!(done.success(), "{script}");
}

/// Writes a file until nothing more goes on its file system.
pub fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
}

/// Shell commands that mount a file system at `folder` which never answers: the daemon that is started from
/// them holds its only end.
pub fn mount_hung(folder: &Path) -> String {
    format!(
        "exec 9<>/dev/fuse\nmount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none {}",
        folder.display()
    )
}
