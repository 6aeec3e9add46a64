//! Tests of the real disk against the file systems of this machine.
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::*;
use crate::files::{BlockingDisk, Buf, Bufs};

fn disk() -> BlockingDisk {
    BlockingDisk::new(Arc::new(RealDisk))
}

const CREATE: OpenHow = OpenHow { mode: OpenMode::Create { executable: false }, follow: false };
const READ: OpenHow = OpenHow { mode: OpenMode::Read, follow: false };
const DIR: OpenHow = OpenHow { mode: OpenMode::Dir, follow: true };

#[test]
fn what_was_written_is_read_back_through_many_buffers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk();
    let file = disk.open(At::path(dir.path().join("f")), CREATE).unwrap();
    let parts = (0..3000_u32).map(|i| Buf::Bytes(i.to_be_bytes().to_vec())).collect();
    let (bufs, result) = disk.write_all_at(&file, 5, Bufs::new(parts));
    result.unwrap();
    assert_eq!(bufs.window(), 0..12_000, "the window is as it was");
    assert_eq!(disk.len(&file).unwrap(), 12_005);
    let (bufs, result) = disk.read_full_at(&file, 0, Bufs::bytes(vec![9; 20_000]));
    assert_eq!(result.unwrap(), 12_005);
    let bytes = bufs.into_bytes();
    assert_eq!(&bytes[..5], [0; 5]);
    assert_eq!(&bytes[5 + 4 * 2999..12_005], 2999_u32.to_be_bytes());
    disk.sync_data(&file).unwrap();
    disk.set_len(&file, 3).unwrap();
    assert_eq!(disk.stat_handle(&file).unwrap().len, 3);
}

#[test]
fn a_file_is_never_opened_through_a_symlink_or_in_place_of_something_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("real"), "x").unwrap();
    symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
    rustix::fs::mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let disk = disk();
    let base = disk.open(At::path(dir.path()), DIR).unwrap();
    for (name, errno) in [("link", Errno::LOOP), ("fifo", Errno::INVAL), ("none", Errno::NOENT)] {
        let error = disk.open(At::inside(&base, name), READ).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()), "{name}");
    }
    disk.open(At::inside(&base, "real"), READ).unwrap();
    disk.open(At::inside(&base, "link"), OpenHow { follow: true, ..READ }).unwrap();
}

#[test]
fn names_are_made_moved_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk();
    let base = disk.open(At::path(dir.path()), DIR).unwrap();
    disk.run(Op::CreateDir { at: At::inside(&base, "a"), mode: None }).unwrap();
    drop(disk.open(At::inside(&base, "f"), CREATE).unwrap());
    disk.run(Op::Rename { from: At::inside(&base, "f"), to: At::inside(&base, "a/g") }).unwrap();
    disk.run(Op::Symlink { at: At::inside(&base, "s"), target: "a/g".into() }).unwrap();
    assert_eq!(disk.stat(At::inside(&base, "s")).unwrap().kind, FileKind::Symlink);
    assert!(disk.run(Op::RemoveDir(At::inside(&base, "a"))).is_err());
    disk.run(Op::Unlink(At::inside(&base, "a/g"))).unwrap();
    disk.run(Op::RemoveDir(At::inside(&base, "a"))).unwrap();
    disk.sync_all(&base).unwrap();
    assert!(disk.stat_fs(&base).unwrap().free > 0);
}

#[test]
fn a_hole_is_found_without_reading_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = disk();
    let file = disk.open(At::path(dir.path().join("f")), CREATE).unwrap();
    disk.set_len(&file, 16 << 20).unwrap();
    let first = disk.next_data(&file, 0).unwrap();
    assert!(first.is_none_or(|at| at == 0), "none, or a file system that doesn't know: {first:?}");
    disk.write_all_at(&file, 8 << 20, Bufs::bytes(vec![1; 4096])).1.unwrap();
    let next = disk.next_data(&file, 0).unwrap().unwrap();
    assert!(next <= 8 << 20);
}

#[test]
fn nowait_reads_what_is_cached_on_disk_and_in_memory() {
    let places = [Some(std::env::temp_dir()), Path::new("/dev/shm").is_dir().then(|| "/dev/shm".into())];
    for place in places.into_iter().flatten() {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [7; 10_000]).unwrap();
        let file = disk().open(At::path(&path), READ).unwrap();
        let (mut a, mut b) = ([0; 3], [0; 4000]);
        let n = RealDisk.read_nowait(&file, 1, &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]);
        match n {
            Ok(n) => assert_eq!((n, a, b[3999]), (4003, [7; 3], 7), "{}", place.display()),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::WouldBlock, "{}", place.display());
                println!("SKIPPED: no RWF_NOWAIT on {}", place.display());
            }
        }
        assert_eq!(RealDisk.read_nowait(&file, 10_000, &mut [IoSliceMut::new(&mut a)]).unwrap_or(0), 0);
    }
}

#[test]
fn the_hint_agrees_with_the_device_of_an_ordinary_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let disk = disk();
    let base = disk.open(At::path(&path), DIR).unwrap();
    let real = disk.stat_handle(&base).unwrap().device;
    let hint = RealDisk.device_hint(&path);
    if real != hint {
        println!("the mount table says {hint}, stat says {real}: several devices on one mount (btrfs)");
    }
    assert_ne!(hint, 0);
}

#[test]
fn disks_that_turn_are_known_also_by_a_partition() {
    let sys = tempfile::tempdir().unwrap();
    let (devices, block) = (sys.path().join("dev/block"), sys.path().join("devices/sda"));
    std::fs::create_dir_all(&devices).unwrap();
    std::fs::create_dir_all(block.join("sda1")).unwrap();
    std::fs::create_dir_all(block.join("queue")).unwrap();
    symlink(&block, devices.join("8:0")).unwrap();
    symlink(block.join("sda1"), devices.join("8:1")).unwrap();
    for (says, turns) in [("1\n", true), ("0\n", false), ("", false)] {
        std::fs::write(block.join("queue/rotational"), says).unwrap();
        for minor in [0, 1] {
            assert_eq!(is_rotational(&devices, fs::makedev(8, minor)), turns, "{says:?} {minor}");
        }
        assert!(!is_rotational(&devices, fs::makedev(0, 44)), "a network's");
    }
}

#[test]
fn what_is_made_gets_the_mode_that_was_asked_for_and_folders_keep_an_inherited_setgid_bit() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let disk = disk();
    let base = disk.open(At::path(dir.path()), DIR).unwrap();
    let mode = |name: &str| dir.path().join(name).symlink_metadata().unwrap().permissions().mode() & 0o7777;
    for bits in [0o600, 0o640, 0o666, 0o777] {
        let name = format!("f{bits:o}");
        let how =
            OpenHow { mode: OpenMode::CreateNew { executable: false, mode: Some(bits) }, follow: false };
        drop(disk.open(At::inside(&base, &name), how).unwrap());
        assert_eq!(mode(&name), bits);
        let again = disk.open(At::inside(&base, &name), how).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
    for bits in [0o700, 0o755, 0o2775, 0o777] {
        let name = format!("d{bits:o}");
        disk.run(Op::CreateDir { at: At::inside(&base, &name), mode: Some(bits) }).unwrap();
        assert_eq!(mode(&name), bits);
    }
    disk.run(Op::CreateDir { at: At::inside(&base, "d2775/sub"), mode: Some(0o750) }).unwrap();
    assert_eq!(mode("d2775/sub"), 0o2750);
    assert!(disk.run(Op::CreateDir { at: At::inside(&base, "d755"), mode: Some(0o700) }).is_err());
    assert_eq!(mode("d755"), 0o755, "what was there keeps its mode");
}
