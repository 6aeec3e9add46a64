//! Rows: what is written is read back, nothing else is taken for a row, and a newer release's fields
//! pass through unharmed.
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wgo_core::ByteRate;
use wgo_core::dht::snapshot::Snapshot;
use wgo_core::piece_mgr::Priority;
use wgo_core::session::{AfterGoal, ChosenGoals, Goals, Place, Ratio, Reached};
use wgo_proto::compact::Family;
use wgo_proto::krpc::Contact;
use wgo_proto::path::SafePath;
use wgo_proto::{FileIndex, InfoHashV1, InfoHashV2, InfoHashes, NodeId, PieceIndex};

use super::record;
use crate::store::codec::{RowReader, RowWriter};
use crate::store::rows::*;
use crate::store::*;

fn path() -> impl Strategy<Value = PathBuf> {
    vec(1u8.., 0..30).prop_map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::Skip), Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)]
}

fn hashes() -> impl Strategy<Value = InfoHashes> {
    let (v1, v2) = (any::<[u8; 20]>().prop_map(InfoHashV1), any::<[u8; 32]>().prop_map(InfoHashV2));
    prop_oneof![
        v1.clone().prop_map(|v1| InfoHashes { v1: Some(v1), v2: None }),
        v2.clone().prop_map(|v2| InfoHashes { v1: None, v2: Some(v2) }),
        (v1, v2).prop_map(|(v1, v2)| InfoHashes { v1: Some(v1), v2: Some(v2) }),
    ]
}

fn fault() -> impl Strategy<Value = TorrentFault> {
    let parts = (any::<String>(), any::<String>(), option::of(path()));
    parts.prop_map(|(kind, message, path)| TorrentFault { kind, message, path })
}

fn moving() -> impl Strategy<Value = Move> {
    let stage = prop_oneof![Just(MoveStage::Placing), Just(MoveStage::Undoing), Just(MoveStage::Switched)];
    (path(), stage).prop_map(|(other, stage)| Move { other, stage })
}

fn final_folder() -> impl Strategy<Value = FinalFolder> {
    (path(), option::of(path())).prop_map(|(path, mount)| FinalFolder { path, mount })
}

fn safe_path() -> impl Strategy<Value = SafePath> {
    vec("[a-cé]{1,4}", 1..5).prop_map(|parts| SafePath::sanitise(parts).unwrap())
}

fn renames() -> impl Strategy<Value = Vec<(FileIndex, SafePath)>> {
    let files = proptest::collection::btree_map(any::<u32>().prop_map(FileIndex), safe_path(), 0..6);
    files.prop_map(|files| files.into_iter().collect())
}

fn renaming() -> impl Strategy<Value = Rename> {
    (safe_path(), safe_path()).prop_map(|(from, to)| Rename { from, to })
}

fn place() -> impl Strategy<Value = Place> {
    let parts = (option::of(any::<i64>()), priority(), any::<bool>());
    parts.prop_map(|(key, priority, forced)| Place { key, priority, forced })
}

fn after() -> impl Strategy<Value = AfterGoal> {
    prop_oneof![
        Just(AfterGoal::Stop),
        Just(AfterGoal::Remove),
        Just(AfterGoal::RemoveWithFiles),
        Just(AfterGoal::Keep),
    ]
}

fn goals() -> impl Strategy<Value = ChosenGoals> {
    let ratio = option::of(any::<u32>().prop_map(Ratio));
    let parts = (ratio, option::of(any::<u64>()), option::of(any::<u64>()), option::of(after()));
    parts.prop_map(|(ratio, time, idle, action)| ChosenGoals { ratio, time, idle, action })
}

fn reached() -> impl Strategy<Value = GoalReached> {
    let which = prop_oneof![
        any::<u32>().prop_map(|ratio| Reached::Ratio(Ratio(ratio))),
        any::<u64>().prop_map(Reached::Time),
        any::<u64>().prop_map(Reached::Idle),
    ];
    let secs = || option::of(0..u64::MAX);
    let goals = (option::of(any::<u32>().prop_map(Ratio)), secs(), secs(), after());
    let goals = goals.prop_map(|(ratio, time, idle, action)| Goals { ratio, time, idle, action });
    let parts = (which, goals, any::<bool>());
    parts.prop_map(|(reached, goals, started_again)| GoalReached { reached, goals, started_again })
}

fn awaited() -> impl Strategy<Value = Box<Awaited>> {
    let texts = || vec(any::<String>(), 0..3);
    let choose = (texts(), texts(), texts(), texts(), texts());
    let ranges = vec((any::<u32>(), any::<u32>()).prop_map(|(first, last)| first..=last), 0..4);
    (ranges, choose, any::<bool>()).prop_map(|(select, (only, normal, low, high, skip), quick)| {
        let choose = wgo_api::params::Choice { only, normal, low, high, skip };
        Box::new(Awaited { select, choose, quick })
    })
}

prop_compose! {
    fn settings()(
        hashes in hashes(),
        (name, folder, added_at) in (any::<String>(), path(), any::<u64>()),
        (stopped, sequential, completion_owed) in any::<(bool, bool, bool)>(),
        error in option::of(fault()),
        labels in vec(any::<String>(), 0..4),
        limits in (option::of(any::<u64>()), option::of(any::<u64>())),
        (place, file_priorities) in (place(), vec(priority(), 0..20)),
        (goals, goal_reached) in (goals(), option::of(reached())).boxed(),
        trackers in option::of(vec(vec(any::<String>(), 0..3), 0..4)),
        check_asked in any::<bool>(),
        moving in option::of(moving()).boxed(),
        parted in option::of(proptest::collection::btree_set(0u32..300, 0..9)),
        (ends_first, awaited) in (any::<bool>(), option::of(awaited())).boxed(),
        final_folder in option::of(final_folder()).boxed(),
        part_suffix in option::of(proptest::sample::select(vec![".part", ".!qB"])),
        (renames, renaming) in (renames(), option::of(renaming())).boxed(),
        user_peers in vec(any::<SocketAddr>().prop_map(|a| SocketAddr::new(a.ip(), a.port())), 0..4),
    ) -> Settings {
        Settings {
            completion_owed,
            hashes, name, folder, added_at, error, labels, sequential, place, file_priorities,
            goals, goal_reached,
            check_asked, ends_first, awaited,
            parted: parted.map(|files| files.into_iter().map(FileIndex).collect()),
            wanted: if stopped { Wanted::Stopped } else { Wanted::Started },
            up_limit: limits.0.map(ByteRate),
            down_limit: limits.1.map(ByteRate),
            trackers, user_peers, moving, final_folder, renames, renaming,
            part_suffix: part_suffix.map(|suffix| suffix.parse().unwrap()),
            newer: NewerFields::default(),
        }
    }
}

fn have() -> impl Strategy<Value = Have> {
    let some = vec(any::<bool>(), 0..70).prop_map(|bits| {
        let mut bytes = vec![0; bits.len().div_ceil(8)];
        for (i, _) in bits.iter().enumerate().filter(|(_, set)| **set) {
            bytes[i / 8] |= 0x80 >> (i % 8);
        }
        Have::Some { pieces: bits.len() as u32, bits: bytes }
    });
    prop_oneof![Just(Have::Nothing), Just(Have::All), some]
}

fn files() -> impl Strategy<Value = Vec<Option<FileStamp>>> {
    named_files(false)
}

/// Those of a check don't say what files were called.
fn named_files(named: bool) -> impl Strategy<Value = Vec<Option<FileStamp>>> {
    let stamp =
        move |(len, mtime_nanos, suffixed)| FileStamp { len, mtime_nanos, suffixed: suffixed && named };
    vec(option::of((0..u64::MAX, any::<i64>(), any::<bool>()).prop_map(stamp)), 0..5)
}

fn check() -> impl Strategy<Value = Box<OwedCheck>> {
    let kind = prop_oneof![Just(CheckKind::Full), Just(CheckKind::Quick), Just(CheckKind::Suspects)];
    let parts = (kind, have(), have(), files());
    parts.prop_map(|(kind, checked, good, files)| Box::new(OwedCheck { kind, checked, good, files }))
}

prop_compose! {
    fn progress()(
        have in have(),
        partials in vec((any::<u32>(), vec(any::<u8>(), 0..5)), 0..4),
        writing in any::<bool>(),
        completed_at in option::of(any::<u64>()),
        files in named_files(true),
        check in option::of(check()),
        mount in option::of(path()),
    ) -> Progress {
        let partial = |(piece, blocks)| Partial { piece: PieceIndex(piece), blocks };
        Progress {
            have, writing, completed_at, check, files, mount,
            partials: partials.into_iter().map(partial).collect(),
            newer: NewerFields::default(),
        }
    }
}

prop_compose! {
    fn counters()(n in any::<[u64; 6]>()) -> Counters {
        Counters {
            downloaded: n[0], uploaded: n[1], wasted: n[2], active_secs: n[3], seeding_secs: n[4],
            idle_secs: n[5],
            newer: NewerFields::default(),
        }
    }
}

proptest! {
    #[test]
    fn settings_are_read_as_they_were_written(s in settings()) {
        prop_assert_eq!(decode_settings(&encode_settings(&s)), Ok(s));
    }

    #[test]
    fn progress_is_read_as_it_was_written(p in progress()) {
        prop_assert_eq!(decode_progress(&encode_progress(&p)), Ok(p));
    }

    #[test]
    fn counters_are_read_as_they_were_written(c in counters()) {
        prop_assert_eq!(decode_counters(&encode_counters(&c)), Ok(c));
    }

    #[test]
    fn a_flipped_bit_or_a_lost_end_is_noticed(s in settings(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let row = encode_settings(&s);
        let at = at.index(row.len());
        let mut flipped = row.clone();
        flipped[at] ^= 1u8 << bit;
        prop_assert!(decode_settings(&flipped).is_err());
        prop_assert!(decode_settings(&row[..at]).is_err());
    }

    /// Any fields behind a checksum that is right: an error or a value, never a panic, and a value
    /// is written as it was read.
    #[test]
    fn fields_of_any_content_are_read_or_refused(fields in vec((1u64..4, vec(any::<u8>(), 0..12)), 0..8)) {
        let mut row = RowWriter::new();
        let mut tag = 0;
        for (step, payload) in &fields {
            tag += step;
            row.field(tag, |p| p.rest(payload));
        }
        let row = row.finish(&NewerFields::default());
        if let Ok(s) = decode_settings(&row) {
            prop_assert_eq!(decode_settings(&encode_settings(&s)), Ok(s));
        }
        if let Ok(p) = decode_progress(&row) {
            prop_assert_eq!(decode_progress(&encode_progress(&p)), Ok(p));
        }
        if let Ok(c) = decode_counters(&row) {
            prop_assert_eq!(decode_counters(&encode_counters(&c)), Ok(c));
        }
    }
}

/// A row with one field.
fn row(tag: u64, payload: &[u8]) -> Vec<u8> {
    let mut row = RowWriter::new();
    row.field(tag, |p| p.rest(payload));
    row.finish(&NewerFields::default())
}

#[test]
fn malformed_fields_are_refused_with_their_tag() {
    let cases: &[(&str, u64, &[u8])] = &[
        ("a bitmap too short", 2, &[9, 0xff]),
        ("a bitmap too long", 2, &[8, 0xff, 0]),
        ("a spare bit", 2, &[7, 0xff]),
        ("a mark that isn't 1", 4, &[2]),
        ("an empty mark", 4, &[]),
        ("a number with a spare byte", 5, &[0x80, 0]),
        ("a number above 2^64", 5, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
        ("a byte behind a number", 5, &[1, 1]),
        ("a stamp without a time", 6, &[1]),
        ("a check of no kind", 7, &[3, 0, 0]),
        ("a check without its sets", 7, &[0, 0]),
        ("a check of fewer pieces than bits", 7, &[0, 3, 1, 0xff, 0]),
        ("the name of a file that was not there", 9, &[0]),
    ];
    for &(what, tag, payload) in cases {
        match decode_progress(&row(tag, payload)) {
            Err(RowError::Field { tag: found, .. }) => assert_eq!(found, tag, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let many = RowError::Field { tag: 14, why: "more trackers than bytes" };
    assert_eq!(decode_settings(&row(14, &[0xff, 0x7f])), Err(many), "a count claims no memory");
    let long = RowError::Field { tag: 13, why: "a run of files is empty or too long" };
    assert_eq!(decode_settings(&row(13, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f])), Err(long));
    let shares = RowError::Field { tag: 18, why: "a path shares more than there is" };
    assert_eq!(decode_settings(&row(18, &[0, 1, 1, b'a'])), Err(shares));
    let far = [&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1, b'a'][..], &[0, 0, 1, b'a']].concat();
    let far = decode_settings(&row(18, &far));
    assert_eq!(far, Err(RowError::Field { tag: 18, why: "a file's number is above 2^32" }));
    for climbs in [&b"\x02..\x01a"[..], b"\x01a\x01/", b"\x01\n\x01a"] {
        let why = "no such path can be";
        assert_eq!(decode_settings(&row(20, climbs)), Err(RowError::Field { tag: 20, why }));
    }
    let (deep, mut greedy) = (vec!["long"; 100].join("/"), RowWriter::new());
    greedy.field(18, |p| {
        p.varint(0);
        p.varint(0);
        p.bytes(deep.as_bytes());
        for _ in 0..200_000 {
            p.varint(0);
            p.varint(deep.len() as u64);
            p.bytes(b"");
        }
    });
    let greedy = greedy.finish(&NewerFields::default());
    let claimed = decode_settings(&greedy).unwrap_err();
    assert_eq!(claimed, RowError::Field { tag: 18, why: "no such path can be" }, "paths claim no memory");
    assert_eq!(decode_settings(&row(3, b"name")), Err(RowError::Missing { tag: 1 }));
}

#[test]
fn a_field_of_a_newer_release_passes_through() {
    let mut newer = RowWriter::new();
    newer.field(1, |p| p.varint(77));
    newer.field(900, |p| p.rest(b"what is to come"));
    newer.field(901, |_| {});
    let row = newer.finish(&NewerFields::default());
    let mut counters = decode_counters(&row).unwrap();
    assert_eq!(counters.downloaded, 77);
    counters.downloaded = 78;
    counters.uploaded = 1;
    let row = encode_counters(&counters);
    let mut reader = RowReader::new(&row).unwrap();
    let mut seen = Vec::new();
    while let Some(mut field) = reader.next_field().unwrap() {
        seen.push((field.tag, field.rest().to_vec()));
    }
    let want = [(1, vec![78]), (2, vec![1]), (900, b"what is to come".to_vec()), (901, vec![])];
    assert_eq!(seen, want);
}

#[test]
fn what_the_dht_knows_comes_back_and_any_damage_to_it_is_noticed() {
    let contact = |n: u8| Contact { id: NodeId([n; 20]), addr: SocketAddr::from(([192, 0, 2, n], 6881)) };
    let known = Snapshot { ids: vec![(Family::V4, NodeId([7; 20]))], nodes: (1..9).map(contact).collect() };
    let row = encode_dht(&known);
    assert_eq!(decode_dht(&row), Ok(known));
    for at in 0..row.len() {
        let mut damaged = row.clone();
        damaged[at] ^= 1;
        assert!(decode_dht(&damaged).is_err(), "byte {at}");
    }
    assert!((0..row.len()).all(|len| decode_dht(&row[..len]).is_err()));
}

#[test]
fn a_row_of_another_version_is_refused() {
    let mut row = encode_counters(&Counters::default());
    row.truncate(1);
    row[0] = 9;
    let crc = crc32fast::hash(&row);
    row.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(decode_counters(&row), Err(RowError::Version { found: 9 }));
}

/// The bytes of version 1, so that a change of the form can't go unnoticed.
#[test]
fn the_form_of_version_1_stays_as_it_is() {
    let counters = Counters { uploaded: 300, ..Counters::default() };
    let row = encode_counters(&counters);
    assert_eq!(row[..row.len() - 4], [1, 2, 2, 0xac, 0x02]);
    let row = encode_progress(&Progress { writing: true, ..Progress::default() });
    assert_eq!(row[..row.len() - 4], [1, 4, 1, 1]);
    let (mut one, safe) = (record(1).settings, |path: &str| SafePath::exact(path).unwrap());
    let before = encode_settings(&one).len();
    one.renames = vec![(FileIndex(1), safe("f/aé")), (FileIndex(4), safe("f/aè"))];
    one.renaming = Some(Rename { from: safe("f"), to: safe("g") });
    let row = encode_settings(&one);
    let new = b"\x12\x0d\x01\x00\x05f/a\xc3\xa9\x02\x03\x02\xc3\xa8\x14\x04\x01f\x01g";
    assert_eq!(&row[before - 4..row.len() - 4], new, "{row:?}");
    assert!(encode_settings(&record(1).settings).len() < 100, "100,000 torrents take some 10 MB");
}
