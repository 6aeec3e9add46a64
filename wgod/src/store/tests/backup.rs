//! Backups: what is written is loaded again, nothing else is taken for one, and whatever interrupts the
//! making, the loading or the swap, the state is the old one or the restored one, whole.
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use wgo_core::TorrentId;

use super::power_disk::{Fault, PowerDisk, Survives};
use super::world::{self, World, requests};
use super::{add, writing};
use crate::store::backup::format::{Column, Frame, Header, TableHead, put_magic};
use crate::store::backup::load::load;
use crate::store::backup::{self, BackupError, Export, Slots, TransferError, restore};
use crate::store::database::Database;
use crate::store::schema::{self, MIGRATIONS};
use crate::store::state_dir::StateDir;
use crate::store::{Change, CheckKind, Counters, Have, StoreError, tables, worker};

const ONE: TorrentId = TorrentId(1);

fn dir(disk: &PowerDisk) -> StateDir {
    StateDir::open(Arc::new(disk.clone()), Path::new("/state")).unwrap()
}

/// The backup of what is committed.
fn backup_of(database: &mut Database) -> Vec<u8> {
    let mut export = Export::begin(database.snapshot().unwrap(), 5, 0).unwrap();
    let mut bytes = Vec::new();
    while let Some(page) = export.next_page().unwrap() {
        bytes.extend(page);
    }
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    bytes.extend(sum);
    bytes
}

fn verify(bytes: &[u8]) -> Result<backup::Contents, BackupError> {
    backup::verify(bytes, bytes.len() as u64)
}

/// A disk with the state after `requests`, its database closed.
pub(super) fn disk_with(requests: &[Vec<Change>]) -> PowerDisk {
    let disk = PowerDisk::new();
    let mut database = world::open(&disk).unwrap().database;
    requests.iter().for_each(|request| worker::write(&mut database, request.iter()).unwrap());
    database.commit(tables::end_run).unwrap();
    database.close().unwrap();
    disk
}

fn world_of(disk: &PowerDisk) -> World {
    World::read(&mut world::open(disk).unwrap().database).unwrap()
}

/// The backup of a session with a torrent or two.
fn small() -> Vec<u8> {
    let disk = disk_with(&[vec![add(1), Change::Metainfo(ONE, vec![7; 100]), add(3)]]);
    backup_of(&mut world::open(&disk).unwrap().database)
}

#[test]
fn a_restored_session_is_the_one_that_was_backed_up_and_the_other_is_kept() {
    let all = requests();
    let disk = disk_with(&all[..5]);
    let bytes = backup_of(&mut world::open(&disk).unwrap().database);
    let contents = verify(&bytes).unwrap();
    assert_eq!((contents.torrents, contents.created_at, contents.schema), (2, 5, 1));
    let other = disk_with(&[vec![add(40)]]);
    let before = world_of(&other);
    backup::stage(&dir(&other), &bytes[..], bytes.len() as u64, MIGRATIONS).unwrap();

    let mut opened = world::open(&other).unwrap();
    assert_eq!(opened.loaded.restored.as_deref(), Some(Path::new("/state/state.redb.before-restore")));
    assert!(opened.loaded.recovery.clean && opened.loaded.recovery.suspect.is_empty());
    let mut found = World::read(&mut opened.database).unwrap();
    let restored = found.progress_of(ONE).clone();
    // Of the torrent that was being written to, files that changed since are looked at in full.
    let check = restored.check.as_ref().unwrap();
    assert_eq!((check.kind, &check.checked), (CheckKind::Full, &Have::All));
    assert!(check.good == restored.have && !restored.writing);
    *found.progress_of(ONE) = writing(4000, &[0, 5]);
    found.without_checks();
    assert!(found == World::after_each(&all[..5]).pop().unwrap(), "something is missing or too much");

    other.rename("state.redb.before-restore", "state.redb");
    assert!(world_of(&other) == before);
    assert!(world::open(&other).unwrap().loaded.restored.is_none());
}

#[test]
fn a_backup_cut_short_at_any_length_or_with_any_bit_flipped_is_refused() {
    let bytes = small();
    assert!(verify(&bytes).is_ok());
    let disk = disk_with(&requests());
    let live = disk.content("state.redb").unwrap();
    let refused = |bytes: &[u8], what: &str| {
        assert!(verify(bytes).is_err(), "{what}");
        let staged = backup::stage(&dir(&disk), bytes, bytes.len() as u64, MIGRATIONS);
        assert!(matches!(staged, Err(TransferError::Backup(_))), "{what}: {staged:?}");
        assert!(!restore::swap(&dir(&disk)).unwrap(), "{what}: it would be restored");
    };
    for len in 0..bytes.len() {
        assert!(verify(&bytes[..len]).is_err(), "{len}");
        if len % 61 == 0 {
            refused(&bytes[..len], &format!("cut at {len}"));
        }
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&flipped).is_err(), "bit {bit}");
        if bit % 397 == 0 {
            refused(&flipped, &format!("bit {bit}"));
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    refused(&longer, "a byte more");
    assert!(disk.content("state.redb").unwrap() == live);
}

#[test]
fn each_kind_of_wrong_file_is_told_apart() {
    let bytes = small();
    let says = |bytes: &[u8], words: &str| {
        let error = verify(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{error}: {words}");
    };
    says(b"", "empty");
    says(b"d8:announce", "no backup of wgod");
    says(b"wgod", "no backup of wgod");
    says(&bytes[..bytes.len() - 1], "cut short");
    says(&[&bytes[..7], &[9], &bytes[8..]].concat(), "form 9, this wgod reads up to 1");
    let mut damaged = bytes.clone();
    let at = bytes.len() - 50;
    damaged[at] ^= 1;
    says(&damaged, "damaged");
    let newer = frames(&[Frame::Header(Header { schema: 99, release: "7.1.0".into(), ..header() })]);
    says(&newer, "wgod 7.1.0 made it, with schema 99, and this wgod reads up to 1");
}

fn header() -> Header {
    Header { schema: 1, created_at: 1, release: "0.1.0".into(), serial: 0 }
}

fn frames(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_magic(&mut bytes);
    frames.iter().for_each(|frame| frame.put(&mut bytes));
    sealed(bytes)
}

#[test]
fn content_that_makes_no_sense_is_refused_though_its_checksum_is_right() {
    let head = || Frame::Header(header());
    let table =
        |name: &str| Frame::Table(TableHead { name: name.into(), key: Column::Number, value: Column::Bytes });
    let row = |key: u64| Frame::Record { key: key.to_be_bytes().to_vec(), value: vec![1] };
    let short = Frame::Record { key: vec![1, 2], value: vec![] };
    let text = TableHead { name: "o".into(), key: Column::Text, value: Column::Text };
    let not_text = Frame::Record { key: vec![0xff], value: vec![] };
    assert!(
        verify(&frames(&[head(), table("a"), row(1), row(2), table("b"), row(1), Frame::End(3)])).is_ok()
    );
    for (what, wrong) in [
        ("nothing", vec![]),
        ("no header", vec![Frame::End(0)]),
        ("no end", vec![head(), table("a"), row(1)]),
        ("two headers", vec![head(), head(), Frame::End(0)]),
        ("no table", vec![head(), row(1), Frame::End(1)]),
        ("a table twice", vec![head(), table("a"), table("a"), Frame::End(0)]),
        ("tables out of order", vec![head(), table("b"), table("a"), Frame::End(0)]),
        ("a key twice", vec![head(), table("a"), row(1), row(1), Frame::End(2)]),
        ("keys out of order", vec![head(), table("a"), row(256), row(1), Frame::End(2)]),
        ("a wrong count", vec![head(), table("a"), row(1), Frame::End(2)]),
        ("a short number", vec![head(), table("a"), short, Frame::End(1)]),
        ("bytes for text", vec![head(), Frame::Table(text), not_text, Frame::End(1)]),
        ("something after the end", vec![head(), Frame::End(0), table("a")]),
    ] {
        assert!(verify(&frames(&wrong)).is_err(), "{what}");
    }
    // A length that the file doesn't hold is not believed.
    let mut huge = Vec::new();
    put_magic(&mut huge);
    huge.extend([b'H', 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(verify(&sealed(huge)), Err(BackupError::CutShort)));
}

#[test]
fn tables_that_a_backup_lacks_or_that_are_of_other_types_do_not_break_the_next_start() {
    let disk = disk_with(&requests());
    let (live, bare) = (world_of(&disk), frames(&[Frame::Header(header()), Frame::End(0)]));
    let odd = TableHead { name: "torrents".into(), key: Column::Text, value: Column::Text };
    let odd = frames(&[
        Frame::Header(header()),
        Frame::Table(odd),
        Frame::Record { key: vec![], value: vec![] },
        Frame::End(1),
    ]);
    let staged = backup::stage(&dir(&disk), &odd[..], odd.len() as u64, MIGRATIONS);
    assert!(staged.is_err(), "{staged:?}");
    assert_eq!(world_of(&disk), live);
    backup::stage(&dir(&disk), &bare[..], bare.len() as u64, MIGRATIONS).unwrap();
    assert_eq!(world_of(&disk), World::default());
}

#[test]
fn a_cut_at_any_moment_of_a_backup_leaves_the_state_and_each_backup_whole() {
    let mut at = 0;
    loop {
        let disk = disk_with(&requests()[..4]);
        let world = world_of(&disk);
        let mut database = world::open(&disk).unwrap().database;
        let mut add_one = |disk: &PowerDisk| {
            let snapshot = database.snapshot().unwrap();
            Slots::open(&dir(disk)).unwrap().add(2, |serial| {
                let mut export = Export::begin(snapshot, 9, serial).unwrap();
                Ok(Box::new(move || Ok(export.next_page().unwrap())))
            })
        };
        add_one(&disk).unwrap();
        add_one(&disk).unwrap();
        disk.cut_at(disk.ops() + at);
        let finished = add_one(&disk).is_ok();
        for survives in [Survives::All, Survives::Nothing, Survives::Some(at), Survives::Some(at + 1000)] {
            let what = format!("cut at {at}, survives {survives:?}");
            let left = disk.restart(survives);
            let (_, newest) = Slots::open(&dir(&left)).unwrap().newest_good().expect(&what);
            let least = if finished { 3 } else { 2 };
            assert!((least..=3).contains(&newest.serial), "{what}: {}", newest.serial);
            for name in ["auto-1.wgodbak", "auto-2.wgodbak", "auto-3.wgodbak"] {
                let Some(content) = left.content(name) else { continue };
                verify(&content).unwrap_or_else(|e| panic!("{what}: {name}: {e}"));
            }
            assert_eq!(world_of(&left), world, "{what}");
        }
        if finished {
            break;
        }
        at += 1;
    }
    assert!(at > 5, "{at}");
}

#[test]
fn a_cut_at_any_moment_of_a_restore_leaves_the_old_state_or_the_restored_one() {
    let bytes = backup_of(&mut world::open(&disk_with(&requests()[..2])).unwrap().database);
    let (old, restored) = (vec![vec![add(40)]], World::after_each(&requests()[..2]).pop().unwrap());
    let old_world = World::after_each(&old).pop().unwrap();
    let mut at = 0;
    loop {
        let disk = disk_with(&old);
        disk.cut_at(disk.ops() + at);
        let staged = backup::stage(&dir(&disk), &bytes[..], bytes.len() as u64, MIGRATIONS).is_ok();
        let swapped = staged && world::open(&disk).is_ok();
        for survives in [Survives::All, Survives::Nothing, Survives::Some(at), Survives::Some(at + 1000)] {
            let what = format!("cut at {at}, survives {survives:?}");
            let mut opened = world::open(&disk.restart(survives)).unwrap_or_else(|e| panic!("{what}: {e}"));
            let mut found = World::read(&mut opened.database).unwrap();
            found.without_checks();
            assert!(found == restored || (!staged && found == old_world), "{what}, staged: {staged}");
        }
        if swapped {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "{at}");
}

#[test]
fn a_disk_that_refuses_a_restore_changes_nothing_and_it_can_be_tried_again() {
    let bytes = small();
    for from in 0.. {
        let disk = disk_with(&requests());
        let world = world_of(&disk);
        let fault = Fault { from: disk.ops() + from, count: 1, errno: Errno::NOSPC };
        disk.fail(Some(fault));
        let staged = backup::stage(&dir(&disk), &bytes[..], bytes.len() as u64, MIGRATIONS);
        let over = disk.ops() <= fault.from;
        disk.fail(None);
        match staged {
            Ok(_) => assert!(over, "a refusal at {from} went unnoticed"),
            Err(TransferError::Store(error)) => {
                assert!(error.is_disk_full(), "{from}: {error}");
                assert_eq!(world_of(&disk.restart(Survives::All)), world, "{from}");
                backup::stage(&dir(&disk), &bytes[..], bytes.len() as u64, MIGRATIONS).unwrap();
                assert_eq!(world_of(&disk).torrent_count(), 2, "{from}");
            }
            Err(other) => panic!("{from}: {other}"),
        }
        if over {
            assert!(from > 10, "{from}");
            return;
        }
    }
}

fn slots_with(keep: u32, count: u64) -> (PowerDisk, Slots) {
    let disk = disk_with(&requests()[..1]);
    let slots = Slots::open(&dir(&disk)).unwrap();
    for n in 0..count {
        // The clock goes back between them.
        add_to(&slots, keep, 1_000_000 - n * 1000);
    }
    (disk, slots)
}

fn add_to(slots: &Slots, keep: u32, created_at: u64) {
    let mut page = Some(());
    slots
        .add(keep, |serial| {
            Ok(Box::new(move || {
                Ok(page.take().map(|()| {
                    let mut bytes = Vec::new();
                    put_magic(&mut bytes);
                    Frame::Header(Header { serial, created_at, ..header() }).put(&mut bytes);
                    Frame::End(0).put(&mut bytes);
                    bytes
                }))
            }))
        })
        .unwrap();
}

fn serials(disk: &PowerDisk) -> Vec<u64> {
    let of = |n| verify(&disk.content(&format!("auto-{n}.wgodbak"))?).ok().map(|contents| contents.serial);
    let mut serials: Vec<u64> = (1..20).filter_map(of).collect();
    serials.sort_unstable();
    serials
}

#[test]
fn the_newest_backups_are_kept_whatever_the_clock_says() {
    let (disk, slots) = slots_with(3, 5);
    assert_eq!(serials(&disk), [3, 4, 5]);
    assert_eq!(slots.newest().unwrap(), Some(996_000), "the newest is the one that came last");
    add_to(&slots, 2, 0);
    assert_eq!(serials(&disk), [5, 6]);
    add_to(&slots, 2, u64::MAX);
    add_to(&slots, 4, 7);
    assert_eq!(serials(&disk), [6, 7, 8]);
}

#[test]
fn a_damaged_backup_is_passed_over_and_what_is_not_ours_is_left_alone() {
    let (disk, slots) = slots_with(3, 3);
    let name = |serial| {
        (1..20).map(|n| format!("auto-{n}.wgodbak")).find(|name| {
            disk.content(name)
                .is_some_and(|bytes| verify(&bytes).is_ok_and(|contents| contents.serial == serial))
        })
    };
    let (newest, second) = (name(3).unwrap(), name(2).unwrap());
    disk.edit(&newest, |content| *content.last_mut().unwrap() ^= 1);
    assert_eq!(slots.newest_good().unwrap().1.serial, 2);
    // One of a later release.
    disk.edit(&second, |content| content[7] = 200);
    assert_eq!(slots.newest_good().unwrap().1.serial, 1);
    (0..4).for_each(|_| add_to(&slots, 1, 5));
    assert_eq!(disk.content(&second).unwrap()[7], 200, "what only a later release reads stays");
    assert_eq!(serials(&disk).len(), 1);
}

#[test]
fn an_old_database_is_backed_up_before_its_migration_and_the_backup_can_be_migrated_too() {
    let disk = super::schema::old();
    let mut opened = super::schema::open_newer_keeping(&disk, 3).unwrap();
    assert_eq!(super::schema::uploaded(&mut opened), 3 * 1024);
    drop(opened);
    let bytes = disk.content("auto-1.wgodbak").unwrap();
    assert_eq!(verify(&bytes).unwrap().schema, 1);
    // Opened once more, there is nothing to migrate, and none is made.
    drop(super::schema::open_newer_keeping(&disk, 3).unwrap());
    assert_eq!(serials(&disk).len(), 1);

    backup::stage(&dir(&disk), &bytes[..], bytes.len() as u64, super::schema::WITH_ONE_MORE).unwrap();
    let mut opened = super::schema::open_newer_keeping(&disk, 3).unwrap();
    assert_eq!(super::schema::uploaded(&mut opened), 3 * 1024, "migrated once, not twice");
}

#[test]
fn a_migration_goes_on_without_a_backup_where_there_is_no_room_for_one() {
    let disk = super::schema::old();
    // The first operations of all: the backup's.
    disk.fail(Some(Fault { from: disk.ops(), count: 1, errno: Errno::NOSPC }));
    let mut opened = super::schema::open_newer_keeping(&disk, 3).unwrap();
    assert_eq!(super::schema::uploaded(&mut opened), 3 * 1024);
    assert!(disk.content("auto-1.wgodbak").is_none());
}

fn any_change() -> impl Strategy<Value = Change> {
    let id = || (1..6_u64).prop_map(TorrentId);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..400);
    prop_oneof![
        (1..6_u64).prop_map(add),
        (id(), bytes()).prop_map(|(id, bytes)| Change::Metainfo(id, bytes)),
        (id(), proptest::option::of(any::<String>()))
            .prop_map(|(id, mount)| Change::Writing(id, mount.map(Into::into))),
        id().prop_map(Change::Remove),
        (id(), any::<u64>())
            .prop_map(|(id, uploaded)| Change::Counters(id, Counters { uploaded, ..Counters::default() })),
        (id(), proptest::collection::btree_set(0..3000_u32, 0..40)).prop_map(|(id, have)| Change::Progress(
            id,
            writing(3000, &have.into_iter().collect::<Vec<_>>())
        )),
        (any::<String>(), any::<Option<String>>())
            .prop_map(|(key, value)| Change::Override { key, value: value.map(serde_json::Value::String) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_loaded_is_what_was_written(changes in proptest::collection::vec(any_change(), 0..30)) {
        let disk = disk_with(&[changes]);
        let bytes = backup_of(&mut world::open(&disk).unwrap().database);
        let mut loaded = Database::create_empty(&dir(&disk), restore::RESTORING).unwrap();
        load(&bytes[..], bytes.len() as u64, &mut loaded, MIGRATIONS).unwrap();
        prop_assert!(backup_of(&mut loaded) == bytes);
    }
}

#[test]
fn every_table_of_the_schema_is_in_a_backup() {
    let disk = PowerDisk::new();
    let mut database = world::open(&disk).unwrap().database;
    let tables = database.read(|txn| Ok(txn.list_tables()?.count())).unwrap();
    let bytes = backup_of(&mut database);
    let mut names = Vec::new();
    let mut reader = crate::store::backup::format::Reader::new(&bytes[..], bytes.len() as u64).unwrap();
    loop {
        match reader.next_frame().unwrap() {
            Frame::Table(head) => names.push(head.name),
            Frame::End(_) => break,
            _ => {}
        }
    }
    assert_eq!(names, ["counters", "dht", "meta", "metainfo", "overrides", "peers", "progress", "torrents"]);
    assert_eq!(names.len(), tables);
    assert_eq!(schema::newest(MIGRATIONS), 1);
}

#[test]
fn a_backup_ends_when_the_database_had_to_be_opened_again() {
    let disk = disk_with(&requests());
    let mut database = world::open(&disk).unwrap().database;
    let wanted = Arc::new(());
    let number = database.begin_export(&wanted, 0, 0).unwrap();
    let second = database.begin_export(&wanted, 0, 0).unwrap();
    assert_ne!(number, second);
    assert!(database.next_page(number).unwrap().is_some());
    disk.fail(Some(Fault { from: disk.ops(), count: 1, errno: Errno::IO }));
    worker::write(&mut database, [add(9)].iter()).unwrap_err();
    worker::write(&mut database, [add(9)].iter()).unwrap();
    for number in [number, second] {
        let error = database.next_page(number).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
    }
}
