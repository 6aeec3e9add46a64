//! `wgoctl create` and libtorrent make the same torrents of the same files, and what `wgoctl create` makes is
//! seeded and downloaded.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;
use wgo_proto::units::WireHash;
use wgo_tests::ctl;
use wgo_tests::peers::libtorrent_creates::{Wanted, hashes};
use wgo_tests::peers::{Kind, wait_complete};
use wgo_tests::tracker::Over;
use wgo_tests::wait::{TRANSFER, until};
use wgo_tests::{Daemon, Net, Payload, Settings, Torrent, Tracker};

/// Folders and files that programs might see differently.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut shapes = Payload::shapes();
    shapes.push(Payload::multi("one file in a folder", 16384, &[("alone.bin", 70_000)]));
    shapes.push(Payload::multi("one file in a folder of a folder", 16384, &[("sub/alone.bin", 70_000)]));
    shapes.push(Payload::multi("small", 16384, &[("a", 1), ("b", 16_384), ("c", 32_768), ("d/e", 16_385)]));
    // Two equal files have one tree between them.
    shapes.push(Payload::multi("twins", 16384, &[("x", 40_000), ("y", 100), (".hidden/.file", 20_000)]));
    shapes.iter().for_each(|payload| payload.write(folder));
    fs::copy(folder.join("twins/x"), folder.join("twins/z")).unwrap();
    fs::set_permissions(folder.join("twins/y"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.join("exact.bin"), fs::Permissions::from_mode(0o711)).unwrap();
    symlink("../small/d", folder.join("twins/link to a folder")).unwrap();
    symlink("x", folder.join("twins/link to a file")).unwrap();
    shapes.iter().map(|payload| folder.join(&payload.name)).collect()
}

/// The options that ask `wgoctl create` for the same.
fn options(wanted: Wanted) -> Vec<String> {
    let mut options: Vec<String> = match wanted.version {
        "aligned" => vec!["--v1".into(), "--align".into()],
        version => vec![format!("--{version}")],
    };
    if wanted.piece_length > 0 {
        options.push(format!("--piece-length={}", wanted.piece_length));
    }
    options.extend(wanted.private.then(|| "--private".to_owned()));
    options.extend(wanted.no_attributes.then(|| "--no-attributes".to_owned()));
    options
}

/// Makes a torrent file of `source`, and says what it is.
#[track_caller]
fn create(socket: &Path, source: &Path, file: &Path, options: &[String]) -> Value {
    let mut args =
        vec!["--json", "create", source.to_str().unwrap(), "-o", file.to_str().unwrap(), "--force"];
    args.extend(options.iter().map(String::as_str));
    let ran = ctl::at(socket, &args, b"").expect(0);
    serde_json::from_str(&ran.out).unwrap()
}

/// The torrent that was made.
fn torrent(made: &Value, file: &Path) -> Torrent {
    let made = &made["torrent"];
    Torrent {
        bytes: fs::read(file).unwrap(),
        hash: made["info_hash"].as_str().unwrap().parse::<WireHash>().unwrap(),
        name: made["name"].as_str().unwrap().to_owned(),
        pieces: made["pieces"].as_u64().unwrap() as u32,
    }
}

#[test]
fn the_info_hashes_are_those_of_libtorrent() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(folder.path());
    let mut wanted: Vec<(&Path, Wanted)> = Vec::new();
    for source in &sources {
        for version in ["v1", "aligned", "v2", "hybrid"] {
            for piece_length in [0, 16 << 10, 64 << 10, 1 << 20] {
                let private = piece_length == 0;
                wanted.push((source, Wanted { version, piece_length, private, no_attributes: !private }));
            }
        }
    }
    let Some(theirs) = hashes("the_info_hashes_are_those_of_libtorrent", &wanted) else { return };
    let file = folder.path().join("made.torrent");
    for ((source, wanted), (v1, v2)) in wanted.iter().zip(theirs) {
        let made = create(Path::new("/nowhere"), source, &file, &options(*wanted));
        let torrent = &made["torrent"];
        let (info_hash, info_hash_v2) = (torrent["info_hash"].as_str(), torrent["info_hash_v2"].as_str());
        let context = format!("{} {wanted:?}", source.display());
        match wanted.version {
            "v1" | "aligned" => assert_eq!((info_hash, info_hash_v2), (Some(&v1[..]), None), "{context}"),
            "v2" => {
                assert_eq!((info_hash, info_hash_v2), (Some(&v2[..40]), Some(&v2[..])), "{context}");
            }
            _ => assert_eq!((info_hash, info_hash_v2), (Some(&v1[..]), Some(&v2[..])), "{context}"),
        }
    }
}

/// What is transferred. The last one has its files in an order that libtorrent's writer gets wrong, for hybrids,
/// and its reader right.
fn payloads() -> Vec<Payload> {
    let odd = [("a/z", 20_000), ("a.b", 70_000), ("a-b/c", 1), ("a-b/d", 16_384)];
    let mut payloads = Payload::shapes();
    payloads.push(Payload::multi("one file in a folder", 16384, &[("alone.bin", 70_000)]));
    payloads.push(Payload::multi("names that begin alike", 16384, &odd));
    payloads
}

#[test]
fn libtorrent_finds_the_content_of_each_kind_complete() {
    let test = "libtorrent_finds_the_content_of_each_kind_complete";
    let Some(mut net) = Net::required(test) else { return };
    let Some(mut peer) = Kind::Libtorrent.start(test, net.ip()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made.torrent");
    for payload in payloads() {
        payload.write(folder.path());
        for version in ["v1", "v2", "hybrid"] {
            let options = [format!("--{version}"), format!("--source={version}")];
            let made = create(Path::new("/nowhere"), &folder.path().join(&payload.name), &file, &options);
            // A v2 torrent of one file leaves the folder out.
            let flat = version == "v2" && payload.files.len() == 1 && !payload.is_single();
            let place = if flat { folder.path().join(&payload.name) } else { folder.path().to_owned() };
            let torrent = torrent(&made, &file);
            peer.add(&torrent, &place);
            wait_complete(peer.as_mut(), &torrent);
        }
    }
}

#[test]
fn a_torrent_that_was_made_is_seeded_at_once_and_libtorrent_downloads_it() {
    let test = "a_torrent_that_was_made_is_seeded_at_once_and_libtorrent_downloads_it";
    let Some(mut net) = Net::required(test) else { return };
    let peer_ip = net.ip();
    let Some(mut peer) = Kind::Libtorrent.start(test, peer_ip) else { return };
    let daemon = Daemon::with(Settings { ips: vec![net.home()], ..Settings::default() });
    let tracker = Tracker::start(net.ip(), &[daemon.listens(peer_ip)]);
    let payloads = payloads();
    for version in ["v1", "hybrid"] {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for payload in &payloads {
            payload.write(ours.path());
            let file = ours.path().join("made.torrent");
            let options = [
                format!("--{version}"),
                format!("--piece-length={}", payload.piece_len),
                format!("--tracker={}", tracker.url(Over::Http)),
                // A name of its own, so that each gets its own info-hash.
                format!("--source={version}"),
                "--add".to_owned(),
            ];
            let made = create(&daemon.socket(), &ours.path().join(&payload.name), &file, &options);
            assert_eq!(made["added"]["status"], "added", "{made}");
            let id = made["torrent"]["info_hash"].as_str().unwrap().to_owned();
            daemon.wait_seeding(&id);
            let torrent = torrent(&made, &file);
            peer.add(&torrent, theirs.path());
            wait_complete(peer.as_mut(), &torrent);
            let payload = payload.clone().without_empty();
            until(&format!("the peer's files of {version} {} are right", payload.name), TRANSFER, || {
                payload.difference(theirs.path()).is_none().then_some(())
            });
        }
    }
}
