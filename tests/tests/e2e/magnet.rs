//! Magnet links (BEP 9, 53): added at once and kept, fetched from one another, chosen from, and what comes of wrong
//! and hostile metadata.
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sha1::{Digest, Sha1};
use wgo_api::params::{AddParams, Choice, MetainfoParams, Source, WaitParams};
use wgo_api::result::AddStatus;
use wgo_api::torrent::{FilePriority, State};
use wgo_api::{ApiClient, Kind};
use wgo_proto::metainfo::Metainfo;
use wgo_proto::units::WireHash;
use wgo_proto::wire::extended::ut_metadata::METADATA_PIECE_LEN;
use wgo_proto::wire::{ExtHandshake, ExtMessage, Extension, ExtensionIds, MetadataMessage, Reserved};
use wgo_tests::ctl;
use wgo_tests::daemon::{Daemon, Settings};
use wgo_tests::maker::{Maker, Torrent};
use wgo_tests::net::Net;
use wgo_tests::payload::{Payload, files_below};
use wgo_tests::wait::{SOON, throughout, until};
use wgo_tests::wire::{Got, Wire, dial, peer_id};

/// A daemon on an address of its own.
fn daemon(net: &mut Net, sections: &str) -> (Daemon, IpAddr) {
    let ip = net.ip();
    let settings = Settings { ips: vec![ip], sections: sections.to_owned(), ..Settings::default() };
    (Daemon::with(settings), ip)
}

/// One that seeds the payload, and where it listens.
fn seed(net: &mut Net, payload: &Payload, torrent: &Torrent) -> (Daemon, SocketAddr) {
    let (daemon, ip) = daemon(net, "");
    payload.write(&daemon.downloads());
    daemon.add(torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&torrent.id());
    let addr = daemon.listens(ip);
    (daemon, addr)
}

fn payload() -> Payload {
    Payload::multi("show", 16_384, &[("a.mkv", 300_000), ("b.mkv", 200_000), ("sub/c.srt", 40_000)])
}

fn link(link: &str) -> Vec<Source> {
    vec![Source::Uri(link.to_owned())]
}

fn wait_error(daemon: &Daemon, id: &str) -> String {
    until("it shows an error", SOON, || {
        let torrent = daemon.torrent(id);
        torrent.error.filter(|_| torrent.state == State::Error)
    })
}

/// What needs the metadata says so.
fn assert_needs_metadata(daemon: &Daemon, id: &str) {
    for args in [
        &["show", "--save", "/dev/null", id][..],
        &["verify", id],
        &["files", id],
        &["rename", id, "show", "x"],
    ] {
        let ran = ctl::run(daemon, args);
        assert!(ran.code != 0 && ran.err.contains("metadata is not known yet"), "{args:?}: {ran:?}");
    }
    let late = ctl::run(daemon, &["--timeout", "1", "wait", id, "--for", "metadata"]).expect(7);
    assert!(late.err.contains("its metadata is not known"), "{late:?}");
}

#[test]
fn a_link_is_kept_over_a_crash_with_all_that_was_chosen_until_its_metadata_comes() {
    let mut net = Net::new();
    let payload = payload();
    let torrent = Maker::new(&payload).make();
    let told = tempfile::tempdir().unwrap();
    let note = told.path().join("told");
    let hook = format!("[hooks]\non_metadata = [\"sh\", \"-c\", \"echo $WGOD_NAME > {}\"]", note.display());
    let (mut daemon, _) = daemon(&mut net, &hook);
    let (folder, id) = (daemon.downloads().join("tv"), torrent.id());
    let url = "http://198.18.255.254:1/announce?key=secret";
    let added = daemon.add_with(AddParams {
        sources: link(&torrent.magnet(&[url], &[])),
        folder: Some(folder.clone()),
        labels: vec!["tv".into()],
        choose: Choice { only: vec!["*.mkv".into()], skip: vec!["b.*".into()], ..Choice::default() },
        ..AddParams::default()
    });
    assert_eq!(
        (added.status, added.info_hash.as_deref()),
        (AddStatus::Added, Some(&*id)),
        "{:?}",
        added.error
    );
    daemon.limit(Some(&id), Some(1_000_000), None);
    daemon.kill9();
    daemon.run();
    daemon.wait_state(&id, State::Metadata, SOON);
    let shown = daemon.show(&id);
    let row = &shown.torrent.torrent;
    assert_eq!(
        (row.name.as_str(), &row.labels[..], row.limits.up),
        ("show", &["tv".to_owned()][..], 1_000_000)
    );
    assert_eq!((row.size_bytes, row.private, row.progress, shown.torrent.pieces), (None, None, 0.0, None));
    assert_eq!(shown.trackers.unwrap()[0].url, url);
    assert_eq!(daemon.status().torrents[&State::Metadata], 1);

    assert_needs_metadata(&daemon, &id);
    let again =
        daemon.add_with(AddParams { sources: link(&torrent.magnet(&[], &[])), ..AddParams::default() });
    assert_eq!(again.status, AddStatus::Present);

    let (seeding, at) = seed(&mut net, &payload, &torrent);
    let second = "http://198.18.255.254:2/announce";
    daemon.add_with(AddParams { sources: link(&torrent.magnet(&[second], &[at])), ..AddParams::default() });
    let waits = WaitParams { id: id.clone(), goal: wgo_api::params::Goal::Metadata, timeout_secs: Some(60) };
    daemon.call(async |client| client.wait(waits).await).unwrap();
    daemon.wait_seeding(&id);
    let shown = daemon.show(&id);
    assert_eq!(shown.torrent.torrent.size_bytes, Some(300_000));
    let chosen: Vec<_> = shown.files.unwrap().iter().map(|file| file.priority).collect();
    let (wanted, skipped) = (Some(FilePriority::Normal), Some(FilePriority::Skip));
    assert_eq!(chosen, [wanted, skipped, skipped]);
    assert_eq!(fs::read(folder.join("show/a.mkv")).unwrap(), payload.stream()[..300_000]);
    assert!(!folder.join("show/b.mkv").exists() && !folder.join("show/sub/c.srt").exists());
    assert_eq!(seeding.torrent(&id).uploaded_bytes, shown.torrent.torrent.downloaded_bytes);
    until("the hook ran", SOON, || fs::read_to_string(&note).ok().filter(|told| told == "show\n"));

    // As a torrent file, with the link's trackers.
    let file = told.path().join("saved.torrent");
    ctl::run(&daemon, &["show", "--save", file.to_str().unwrap(), &id]).expect(0);
    let saved = Metainfo::parse(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        (saved.hashes.canonical(), saved.tiers),
        (torrent.hash, vec![vec![url.to_owned()], vec![second.to_owned()]])
    );
    assert!(!daemon.log().contains("secret"), "keys to accounts are not logged");
    daemon.kill9();
    daemon.run();
    daemon.wait_seeding(&id);
    assert_eq!(daemon.torrent(&id).size_bytes, Some(300_000));
}

#[test]
fn numbers_in_the_link_choose_files_and_none_that_exist_is_an_error_to_be_mended() {
    let mut net = Net::new();
    let payload = payload();
    let torrent = Maker::new(&payload).make();
    let (_seeding, at) = seed(&mut net, &payload, &torrent);
    let (mut leech, _) = daemon(&mut net, "");
    let (id, folder) = (torrent.id(), leech.downloads());
    leech.add_link(&format!("{}&so=2,7-9", torrent.magnet(&[], &[at])), &folder);
    leech.wait_seeding(&id);
    assert_eq!(leech.torrent(&id).size_bytes, Some(40_000));
    assert!(folder.join("show/sub/c.srt").exists() && !folder.join("show/a.mkv").exists());
    leech.remove(&id, true);

    leech.add_link(&format!("{}&so=7-9", torrent.magnet(&[], &[at])), &folder);
    let why = wait_error(&leech, &id);
    assert!(why.contains("none of the numbers in the magnet link's `so`"), "{why}");
    leech.kill9();
    leech.run();
    leech.wait_state(&id, State::Error, SOON);
    assert_eq!(leech.torrent(&id).error.as_ref(), Some(&why), "it is still so");
    throughout("nothing is fetched", Duration::from_secs(1), || leech.torrent(&id).state == State::Error);
    assert_eq!(files_below(&folder), Vec::<std::path::PathBuf>::new());
    ctl::run(&leech, &["files", &id, "--only", "b.mkv"]).expect(0);
    ctl::run(&leech, &["start", &id]).expect(0);
    leech.wait_seeding(&id);
    assert_eq!(leech.torrent(&id).size_bytes, Some(200_000));
    leech.remove(&id, true);

    let refused = leech.add_with(AddParams {
        sources: link(&torrent.magnet(&[], &[])),
        choose: Choice { only: vec!["[".into()], ..Choice::default() },
        ..AddParams::default()
    });
    assert_eq!((refused.status, refused.kind), (AddStatus::Failed, Some(Kind::BadRequest)), "{refused:?}");
}

#[test]
fn what_is_on_the_disk_already_is_checked_and_not_fetched() {
    let mut net = Net::new();
    let payload = payload();
    let torrent = Maker::new(&payload).make();
    let (seeding, at) = seed(&mut net, &payload, &torrent);
    let (leech, _) = daemon(&mut net, "");
    payload.write(&leech.downloads());
    leech.add_link(&torrent.magnet(&[], &[at]), &leech.downloads());
    leech.wait_seeding(&torrent.id());
    assert_eq!(
        (leech.torrent(&torrent.id()).downloaded_bytes, seeding.torrent(&torrent.id()).uploaded_bytes),
        (0, 0)
    );
    payload.assert_equals(&leech.downloads());
}

#[test]
fn a_torrent_file_completes_a_link_that_is_under_way_and_private_ones_are_told_to_nobody() {
    let mut net = Net::new();
    let payload = payload();
    let torrent = Maker::new(&payload).tier(["http://198.18.255.254:1/a"]).private().make();
    let (_seeding, at) = seed(&mut net, &payload, &torrent);
    let (leech, _) = daemon(&mut net, "");
    let id = torrent.id();
    leech.add_link(&torrent.magnet(&["http://198.18.255.254:1/b"], &[at]), &leech.downloads());
    until("it is connected", SOON, || (leech.torrent(&id).peers > 0).then_some(()));
    assert_eq!(
        leech.torrent(&id).state,
        State::Metadata,
        "the seed gives the metadata of a private torrent to nobody"
    );
    let params = AddParams { sources: vec![Source::of_file(&torrent.bytes)], ..AddParams::default() };
    let twice = leech.add_with(AddParams { fail_if_exists: true, ..params.clone() });
    assert_eq!((twice.status, twice.kind), (AddStatus::Failed, Some(Kind::Present)));
    assert_eq!(leech.add_with(params).status, AddStatus::Present);
    assert_eq!(leech.torrent(&id).private, Some(true));
    leech.wait_seeding(&id);
    payload.assert_equals(&leech.downloads());
    let trackers = leech.show(&id).trackers.unwrap();
    let urls: Vec<&str> = trackers.iter().map(|tracker| tracker.url.as_str()).collect();
    assert_eq!(urls, ["http://198.18.255.254:1/b", "http://198.18.255.254:1/a"]);
    let params = MetainfoParams { id: id.clone() };
    let file = leech.call(async |client| client.metainfo(params).await).unwrap().torrent;
    assert_eq!(file.0, torrent.bytes, "the file as it was given");
}

/// A peer that dials and says it has metadata, which it gives whenever it is asked. Returns when it is hung up on.
fn give_metadata(from: IpAddr, to: SocketAddr, hash: WireHash, metadata: &[u8]) {
    let extended = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);
    let stream = dial(Some(from), to, false).unwrap();
    let mut wire = Wire::open(stream, hash, peer_id(), extended).unwrap();
    let mut bytes = Vec::new();
    let handshake = ExtHandshake {
        extensions: ExtensionIds::local([Extension::Metadata]),
        metadata_size: Some(metadata.len() as u32),
        ..ExtHandshake::default()
    };
    ExtMessage::Handshake(Box::new(handshake)).encode(&ExtensionIds::default(), &mut bytes);
    wire.send_raw(&bytes).unwrap();
    while let Ok(got) = wire.next(Duration::from_millis(100)) {
        let Some(Got::Extended(1, body)) = got else { continue };
        let Ok(MetadataMessage::Request { piece }) = MetadataMessage::decode(&body) else { continue };
        let start = (piece * METADATA_PIECE_LEN) as usize;
        let data = &metadata[start..(start + METADATA_PIECE_LEN as usize).min(metadata.len())];
        let message = MetadataMessage::Data { piece, total_size: Some(metadata.len() as u32), data };
        let mut bytes = Vec::new();
        ExtMessage::Metadata(message).encode(&ExtensionIds::local([Extension::Metadata]), &mut bytes);
        if wire.send_raw(&bytes).is_err() {
            return;
        }
    }
}

#[test]
fn who_sends_wrong_metadata_is_banned_and_the_right_one_is_fetched_from_others() {
    let mut net = Net::new();
    let payload = payload();
    let torrent = Maker::new(&payload).make();
    let (leech, ip) = daemon(&mut net, "");
    let at = leech.listens(ip);
    leech.add_link(&torrent.magnet(&[], &[]), &leech.downloads());
    leech.wait_state(&torrent.id(), State::Metadata, SOON);
    let liar = net.ip();
    give_metadata(liar, at, torrent.hash, &vec![b'x'; 40_000]);
    until("the liar is banned", SOON, || {
        leech.log().contains("sent metadata with a wrong hash").then_some(())
    });
    let stream = dial(Some(liar), at, false).unwrap();
    let again = Wire::open(stream, torrent.hash, peer_id(), Reserved::default());
    assert!(again.is_err() || again.unwrap().is_closed_within(SOON), "it may not come back");
    let (_seeding, seeder) = seed(&mut net, &payload, &torrent);
    leech.add_link(&torrent.magnet(&[], &[seeder]), &leech.downloads());
    leech.wait_seeding(&torrent.id());
    payload.assert_equals(&leech.downloads());
}

#[test]
fn metadata_that_describes_nothing_usable_is_an_error_that_is_shown() {
    let mut net = Net::new();
    let (leech, ip) = daemon(&mut net, "");
    let metadata = b"d6:lengthi9e4:name1:a12:piece lengthi0e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let hash = WireHash(Sha1::digest(metadata).into());
    let id = hash.to_string();
    leech.add_link(&format!("magnet:?xt=urn:btih:{id}"), &leech.downloads());
    leech.wait_state(&id, State::Metadata, SOON);
    give_metadata(net.ip(), leech.listens(ip), hash, metadata);
    let why = wait_error(&leech, &id);
    assert!(why.contains("no torrent can be made of it") && why.contains("wgoctl start"), "{why}");
    assert_eq!(files_below(Path::new(&leech.downloads())), Vec::<std::path::PathBuf>::new());
    leech.remove(&id, true);
}
