//! Databases of other schemas: a newer one isn't touched, an older one is brought forward, once.
use std::path::Path;
use std::sync::Arc;

use wgo_core::TorrentId;

use super::power_disk::{PowerDisk, Survives};
use super::world::{self, World, requests};
use crate::store::recovery::{self, Opened};
use crate::store::schema::{COUNTERS, META, MIGRATIONS, Migration, newest};
use crate::store::{Counters, StoreError, rows, tables, worker};

/// A fake schema 2: uploads were counted in KiB before.
fn to_bytes(txn: &redb::WriteTransaction) -> Result<(), redb::Error> {
    use redb::ReadableTable;
    let mut table = txn.open_table(COUNTERS)?;
    let mut migrated = Vec::new();
    for entry in table.iter()? {
        let (id, row) = entry?;
        let mut counters = rows::decode_counters(row.value()).unwrap();
        counters.uploaded *= 1024;
        migrated.push((id.value(), rows::encode_counters(&counters)));
    }
    for (id, row) in migrated {
        table.insert(id, row.as_slice())?;
    }
    txn.open_table(META)?.insert("migrated by the test", 1)?;
    Ok(())
}

pub(super) const WITH_ONE_MORE: &[Migration] = &[to_bytes];

fn open_newer(disk: &PowerDisk) -> Result<Opened, StoreError> {
    open_newer_keeping(disk, 0)
}

/// The same with automatic backups.
pub(super) fn open_newer_keeping(disk: &PowerDisk, keep: u32) -> Result<Opened, StoreError> {
    assert!(MIGRATIONS.is_empty(), "put the fake one behind the real ones");
    recovery::open(Arc::new(disk.clone()), Path::new("/state"), WITH_ONE_MORE, keep)
}

/// A database of schema 1 with one torrent that uploaded 3.
pub(super) fn old() -> PowerDisk {
    let disk = PowerDisk::new();
    let Opened { mut database, .. } = world::open(&disk).unwrap();
    worker::write(&mut database, requests()[0].iter()).unwrap();
    let counters = Counters { uploaded: 3, ..Counters::default() };
    let change = crate::store::Change::Counters(TorrentId(1), counters);
    worker::write(&mut database, [&change].into_iter()).unwrap();
    database.close().unwrap();
    disk
}

pub(super) fn uploaded(opened: &mut Opened) -> u64 {
    let id = TorrentId(1);
    let page = opened.database.read(|txn| tables::page(txn, id, 1)).unwrap();
    page[0].decode().unwrap().counters.uploaded
}

#[test]
fn an_older_database_is_migrated_once() {
    let disk = old();
    let mut opened = open_newer(&disk).unwrap();
    assert_eq!(uploaded(&mut opened), 3 * 1024);
    opened.database.close().unwrap();
    assert_eq!(uploaded(&mut open_newer(&disk).unwrap()), 3 * 1024);
}

#[test]
fn a_power_cut_during_a_migration_repeats_all_of_it_or_nothing() {
    let mut at = 0;
    loop {
        let disk = old().restart(Survives::All);
        disk.cut_at(at);
        let finished = open_newer(&disk).is_ok();
        for survives in [Survives::All, Survives::Nothing, Survives::Some(at)] {
            let mut opened = open_newer(&disk.restart(survives)).unwrap();
            assert_eq!(uploaded(&mut opened), 3 * 1024, "cut at {at}, survives {survives:?}");
        }
        if finished {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "{at}");
}

#[test]
fn a_newer_database_is_refused_and_not_a_byte_of_it_changes() {
    let disk = old();
    open_newer(&disk).unwrap().database.close().unwrap();
    let before = disk.content("state.redb").unwrap();
    match world::open(&disk) {
        Err(StoreError::Newer { path, found: 2, known: 1 }) => {
            assert_eq!(path, Path::new("/state/state.redb"));
        }
        other => panic!("{other:?}"),
    }
    assert!(disk.content("state.redb").unwrap() == before);
    assert_eq!(newest(MIGRATIONS), 1);
}

#[test]
fn a_newer_database_that_ended_in_a_crash_is_refused_with_its_content() {
    let disk = old();
    let mut opened = open_newer(&disk).unwrap();
    let world = World::read(&mut opened.database).unwrap();
    let disk = disk.restart(Survives::All);
    assert!(matches!(world::open(&disk), Err(StoreError::Newer { .. })));
    let mut opened = open_newer(&disk).unwrap();
    assert_eq!(World::read(&mut opened.database).unwrap(), world);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_kept() {
    let disk = old();
    let bytes = vec![0x55; 9000];
    disk.edit("state.redb", |content| *content = bytes.clone());
    let error = world::open(&disk).unwrap_err().to_string();
    assert!(error.contains("/state/state.redb"), "{error}");
    assert!(disk.content("state.redb").unwrap() == bytes);
}
