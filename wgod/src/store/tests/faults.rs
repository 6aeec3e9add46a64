//! The disk is full or fails at every operation of a workload: the request is told, the store goes on
//! when the disk does, and what was acknowledged survives a power cut right after.
use rustix::io::Errno;

use super::power_disk::{Fault, PowerDisk, Survives};
use super::world::{self, World, requests};
use crate::store::{StoreError, worker};

fn check(errno: Errno, count: u64) {
    let worlds = World::after_each(&requests());
    let mut hit = 0;
    for from in 0.. {
        let disk = PowerDisk::new();
        let mut opened = world::open(&disk).unwrap();
        let fault = Fault { from: disk.ops() + from, count, errno };
        disk.fail(Some(fault));
        for (n, request) in requests().into_iter().enumerate() {
            let what = format!("{errno:?} at {from}, {count} times, request {n}");
            let mut tries = 0;
            while let Err(error) = worker::write(&mut opened.database, request.iter()) {
                tries += 1;
                assert!(matches!(error, StoreError::Io { .. }), "{what}: {error}");
                assert_eq!(error.is_disk_full(), errno == Errno::NOSPC, "{what}: {error}");
                assert!(tries <= count, "{what}: it doesn't heal");
            }
            hit += tries;
            assert_eq!(World::read(&mut opened.database).unwrap(), worlds[n + 1], "{what}");
            if tries > 0 || n + 1 == requests().len() {
                let mut after = world::open(&disk.restart(Survives::Nothing)).unwrap();
                let found = World::read(&mut after.database).unwrap();
                assert_eq!(found, worlds[n + 1], "{what}: lost in a power cut after the fault");
            }
        }
        if disk.ops() < fault.from {
            break;
        }
    }
    assert!(hit > 50, "{hit} requests failed");
}

#[test]
fn a_full_disk_fails_the_request_and_the_store_goes_on() {
    check(Errno::NOSPC, 1);
}

#[test]
fn an_io_error_fails_the_request_and_nothing_is_built_on_what_a_failed_sync_lost() {
    check(Errno::IO, 1);
}

#[test]
fn a_disk_that_fails_for_a_while_heals_when_the_disk_does() {
    check(Errno::IO, 7);
}

#[test]
fn the_log_catches_up_after_the_disk_refused_it() {
    use crate::store::log_thread::{LogWork, perform};
    use wgo_core::TorrentId;
    use wgo_proto::PieceIndex;

    let disk = PowerDisk::new();
    let mut opened = world::open(&disk).unwrap();
    worker::write(&mut opened.database, requests()[..3].iter().flatten()).unwrap();
    let mut store = |piece| perform(&mut opened.log, vec![LogWork::Stored(TorrentId(1), PieceIndex(piece))]);
    store(1).unwrap();
    disk.fail(Some(Fault { from: disk.ops(), count: 2, errno: Errno::NOSPC }));
    store(2).unwrap_err();
    store(3).unwrap_err();
    store(4).unwrap();
    let restarted = world::open(&disk.restart(Survives::All)).unwrap();
    let suspect = &restarted.loaded.recovery.suspect[&TorrentId(1)];
    assert_eq!(*suspect, [1, 2, 3, 4].map(PieceIndex));
    assert_eq!(restarted.loaded.recovery.damaged_entries, 0);
}
