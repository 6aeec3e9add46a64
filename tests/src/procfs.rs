//! What the kernel says of a process, as evidence from outside of it.
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files below `folder` that the process has open, deleted ones included.
pub fn open_below(pid: u32, folder: &Path) -> Vec<PathBuf> {
    let folder = folder.to_str().unwrap();
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with(folder)).collect()
}

/// How many descriptors the process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Bytes that the process has read by system calls, from whatever.
pub fn read_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// Resident memory of the process in bytes.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most memory that was resident since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Has [`peak`] begin anew (`proc_pid_clear_refs(5)`).
pub fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Processor time that the process has had, in user mode and in the kernel's.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program, in parentheses, may have blanks.
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks = |nth: usize| after.split_whitespace().nth(nth).unwrap().parse::<u64>().unwrap();
    // The 14th and the 15th field of all; two stand before.
    Duration::from_millis((ticks(11) + ticks(12)) * 1000 / rustix::param::clock_ticks_per_second())
}

/// Time that the process's threads were ready and had no processor (`schedstat` of the kernel's documentation); none
/// where the kernel doesn't say.
pub fn waited(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        // One that has just ended waits no more.
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').nth(1)?.parse().ok()
    };
    tasks.filter_map(of_task).map(Duration::from_nanos).sum()
}

/// A size that the kernel states in its status.
fn status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}
