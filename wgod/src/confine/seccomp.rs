//! System calls that a BitTorrent daemon never needs, given up for good (seccomp(2)).
//!
//! A list of what is refused, since what the C library and the allocator call differs from one to the next.
//! Refused calls fail with `EPERM`: a library that tries one goes on without.
use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Refused on every architecture.
const REFUSED: &[c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts, roots and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Files by number instead of by name, and devices.
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_fanotify_init,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // The machine's clock and names.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Large parts of the kernel that attacks on it have gone through, and that this daemon has no use for.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// What more there is on this architecture.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_lookup_dcookie,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[libc::SYS_kexec_file_load];

/// On x86-64 the kernel may take each call by a second number too (`__X32_SYSCALL_BIT`).
#[cfg(target_arch = "x86_64")]
const ALIASES: &[c_long] = &[0, 0x4000_0000];
#[cfg(not(target_arch = "x86_64"))]
const ALIASES: &[c_long] = &[0];

/// Refuses them to this thread and those that it starts.
pub(super) fn install() -> Result<(), seccompiler::Error> {
    apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let calls = REFUSED.iter().chain(REFUSED_HERE);
    let rules: BTreeMap<i64, _> =
        calls.flat_map(|call| ALIASES.iter().map(move |alias| (call | alias, Vec::new()))).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::process::Command;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn no_call_is_refused_twice() {
        let mut calls: Vec<c_long> = REFUSED.iter().chain(REFUSED_HERE).copied().collect();
        let count = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), count);
    }

    /// A call that is refused to us and to nobody else.
    fn make_fifo(path: &Path) -> Result<(), Errno> {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0)
    }

    #[test]
    fn refused_calls_fail_and_the_others_work() {
        let dir = tempfile::tempdir().unwrap();
        make_fifo(&dir.path().join("before")).unwrap();
        let fifo = dir.path().join("after");
        let filtered = std::thread::spawn(move || {
            install().unwrap();
            assert_eq!(make_fifo(&fifo), Err(Errno::PERM));
            let executed = Command::new("true").status().map_err(|error| error.kind());
            assert_eq!(executed.unwrap_err(), io::ErrorKind::PermissionDenied);
            // Threads that are started from here are bound too, and start.
            let inherited = std::thread::spawn(move || make_fifo(&fifo));
            assert_eq!(inherited.join().unwrap(), Err(Errno::PERM));
            std::fs::read_dir("/").unwrap();
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        });
        filtered.join().unwrap();
    }
}
