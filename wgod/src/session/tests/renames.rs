//! Renames: what goes on behind them, what stands in their way, and what is left of one that was cut off.
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rustix::io::Errno;
use sha1::{Digest, Sha1};
use wgo_api::params::{RemoveParams, RenameParams, ShowParams};
use wgo_api::result::RenameResult;
use wgo_api::torrent::State;
use wgo_api::{ApiError, Kind};
use wgo_proto::bencode::Encoder;
use wgo_proto::path::SafePath;
use wgo_proto::wire::message::id;

use super::super::{Command, Verb};
use super::{PIECE, downloading, seed, until_listed};
use crate::files::disk::OnDone;
use crate::files::{Disk, Handle, Op, RealDisk};
use crate::rig::*;
use crate::store::{Change, Rename, Settings};

/// A real disk that dies after so many renames, until it is well again.
#[derive(Default)]
struct Mortal {
    /// Renames until then; below 0 it lives.
    left: AtomicI64,
    dead: AtomicBool,
}

impl Mortal {
    fn die_after(&self, renames: i64) {
        self.left.store(renames, Ordering::Relaxed);
        self.dead.store(false, Ordering::Relaxed);
    }
}

impl Disk for Mortal {
    fn submit(&self, op: Op, done: OnDone) {
        if matches!(op, Op::RenameNew { .. }) && self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.dead.store(true, Ordering::Relaxed);
        }
        match self.dead.load(Ordering::Relaxed) {
            true => done(Err(io::Error::from_raw_os_error(Errno::IO.raw_os_error())).into()),
            false => RealDisk.submit(op, done),
        }
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

const FILES: [(&str, usize); 3] = [("a", 30_000), ("s/b", 50_000), ("s/c", 20_000)];

/// A `.torrent` file of the torrent `t` with `FILES`.
fn folder_file(payload: &[u8]) -> Vec<u8> {
    let pieces: Vec<u8> = payload.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut info = Vec::new();
    Encoder::new(&mut info).dict(|info| {
        info.entry("files").list(|list| {
            for (path, len) in FILES {
                list.item().dict(|file| {
                    file.entry("length").int(len as i64);
                    file.entry("path").list(|list| path.split('/').for_each(|part| list.item().bytes(part)));
                });
            }
        });
        info.entry("name").bytes("t");
        info.entry("piece length").int(PIECE as i64);
        info.entry("pieces").bytes(&pieces);
    });
    [b"d4:info", &info[..], b"e"].concat()
}

/// A seed of `FILES` on a disk that dies at will.
async fn seeding() -> (Rig, Arc<Mortal>, Vec<u8>, Vec<u8>) {
    let disk = Arc::new(Mortal { left: AtomicI64::new(-1), dead: AtomicBool::default() });
    let rig = Rig::on(disk.clone()).await;
    let payload = noise(FILES.iter().map(|(_, len)| len).sum());
    let mut at = 0;
    for (path, len) in FILES {
        let path = rig.folder.join("t").join(path);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        std::fs::write(path, &payload[at..at + len]).expect("written");
        at += len;
    }
    let file = folder_file(&payload);
    rig.add(&file).await;
    rig.until("t", State::Seeding).await;
    (rig, disk, payload, file)
}

async fn rename(rig: &Rig, id: &str, path: &str, to: &str) -> Result<RenameResult, ApiError> {
    let params = RenameParams { id: id.into(), path: path.into(), to: to.into() };
    rig.session.ask(|reply| Command::Rename(params, reply)).await.expect("it answers")
}

/// Waits until the torrent, whatever it is called now, has this name and state.
async fn until_named(rig: &Rig, file: &[u8], name: &str, state: State) -> wgo_api::Torrent {
    let id = super::hash_of(file).to_string();
    rig.until_row(&id, |row| row.name == name && row.state == state).await
}

async fn paths(rig: &Rig, name: &str) -> Vec<String> {
    let params = ShowParams { id: name.to_owned(), files: true, ..ShowParams::default() };
    let shown = rig.session.ask(|reply| Command::Show(params, reply)).await;
    let files = shown.expect("it answers").expect("it is there").files.expect("asked for");
    files.into_iter().map(|file| file.path).collect()
}

/// The files are at these paths and nowhere else.
fn assert_only(rig: &Rig, payload: &[u8], wanted: [&str; 3]) {
    let mut at = 0;
    for (path, (_, len)) in wanted.iter().zip(FILES) {
        let found = std::fs::read(rig.folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(found == payload[at..at + len], "{path}");
        at += len;
    }
    let (mut folders, mut files) = (vec![rig.folder.clone()], 0);
    while let Some(folder) = folders.pop() {
        let entries: Vec<_> =
            std::fs::read_dir(&folder).expect("read").map(|e| e.expect("read").path()).collect();
        assert!(!entries.is_empty(), "{} is left", folder.display());
        for path in entries {
            if path.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    assert_eq!(files, 3);
}

async fn stored(rig: &Rig) -> Settings {
    let mut settings = None;
    rig.engine
        .store
        .load(|record| settings = record.ok().map(|record| record.settings))
        .await
        .expect("loads");
    settings.expect("there is one")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_seed_is_served_found_again_and_removed_whole() {
    let (rig, _, payload, file) = seeding().await;
    let done = rename(&rig, "t", "t", "film").await.expect("done");
    assert_eq!((&*done.name, &*done.path, &*done.to, done.files), ("film", "t", "film", 3));
    let row = rig.until("film", State::Seeding).await;
    assert_eq!((row.done_bytes, row.error), (payload.len() as u64, None));
    assert_only(&rig, &payload, ["film/a", "film/s/b", "film/s/c"]);
    let peer = seed_of(&rig, &file, &payload).await;
    assert_eq!(rename(&rig, "film", "film/s", "film/t").await.expect("done").name, "film");
    assert!(peer.is_closed().await, "it was interrupted for that");
    rename(&rig, "film", "film/t/c", "film/s/c").await.expect("done");
    let new = ["film/a", "film/t/b", "film/s/c"];
    assert_eq!(paths(&rig, "film").await, new);
    let none = rename(&rig, "film", "film/a", "film/a").await.expect("nothing to do");
    assert_eq!(none.files, 0);
    let (kept, hashed) = (stored(&rig).await, rig.engine.storage.hashed_bytes());
    assert_eq!((kept.renames.len(), kept.renaming), (3, None));
    assert_eq!(hashed, payload.len() as u64, "once, when it was added");
    let rig = rig.restart().await;
    rig.until("film", State::Seeding).await;
    assert_eq!(paths(&rig, "film").await, new);
    assert_only(&rig, &payload, new);
    assert_eq!(rig.engine.storage.hashed_bytes(), 0);
    seed_of(&rig, &file, &payload).await;
    let params = RemoveParams { all: true, data: true, ..RemoveParams::default() };
    let removed = rig.session.ask(|reply| Command::Remove(params, reply)).await;
    removed.expect("it answers").expect("it is done");
    assert_eq!(std::fs::read_dir(&rig.folder).expect("read").count(), 0);
    rig.quit().await;
}

/// A peer that gets the first piece.
async fn seed_of(rig: &Rig, file: &[u8], payload: &[u8]) -> Peer {
    use wgo_proto::wire::Message;
    until_listed(rig, &super::hash_of(file), true).await;
    let peer = rig.peer(super::hash_of(file), 3).await;
    peer.says(&[Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    peer.says(&[Message::Request(block(0, 0))]).await;
    let body = peer.expect(id::PIECE).await;
    assert!(body[8..] == payload[..body.len() - 8]);
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_watched_and_held_under_their_new_names() {
    let (rig, _, payload, file) = seeding().await;
    rename(&rig, "t", "t", "film").await.expect("done");
    until_listed(&rig, &super::hash_of(&file), true).await;
    std::fs::write(rig.folder.join("film/a"), &noise(FILES[0].1)[1..]).expect("written");
    let peer = rig.peer(super::hash_of(&file), 3).await;
    peer.says(&[wgo_proto::wire::Message::Interested]).await;
    peer.expect(id::UNCHOKE).await;
    peer.says(&[wgo_proto::wire::Message::Request(block(0, 0))]).await;
    assert!(peer.is_closed().await, "what was changed is not served");
    let less =
        |row: &wgo_api::Torrent| row.state == State::Downloading && row.done_bytes < payload.len() as u64;
    rig.until_row("film", less).await;
    // A twin that comes and goes takes nothing along that this one needs.
    rig.act(Verb::Stop).await;
    rig.until("film", State::Stopped).await;
    rename(&rig, "film", "film/a", "film/x").await.expect("done");
    let id = wgo_core::TorrentId(99);
    let shared = rig.folder.join("film/s/b");
    assert!(rig.engine.storage.is_used(id, &shared), "{}", shared.display());
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_under_its_new_name() {
    let (rig, payload, file, peer) = downloading(2).await;
    let first = block_of(&peer.expect(id::REQUEST).await, None);
    peer.send(&piece_message(first, &payload, PIECE)).await;
    rig.until_row("t", |row| row.downloaded_bytes > 0).await;
    rename(&rig, "t", "t", "d/u").await.expect("done");
    assert!(peer.is_closed().await);
    assert!(!rig.folder.join("t").exists() && rig.folder.join("d/u").exists(), "the block is in it");
    let peer = seed(&rig, &file).await;
    for _ in 0..7 {
        let asked = block_of(&peer.expect(id::REQUEST).await, None);
        assert_ne!(asked, first, "it is on disk");
        peer.send(&piece_message(asked, &payload, PIECE)).await;
    }
    rig.until_row("u", |row| row.completed_at.is_some()).await;
    assert!(std::fs::read(rig.folder.join("d/u")).expect("there") == payload);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_renamed_says_why_and_nothing_changes() {
    let (rig, _, payload, _) = seeding().await;
    std::fs::write(rig.folder.join("t/mine"), "of somebody else").expect("written");
    for (path, to, kind, says) in [
        ("x", "y", Kind::NoMatch, "no file or folder “x”"),
        ("../t", "y", Kind::NoMatch, "no file or folder"),
        ("t/a", "../a", Kind::BadRequest, "can't be a new path"),
        ("t/a", "/etc/passwd", Kind::BadRequest, "it is absolute"),
        ("t/a", "t/", Kind::BadRequest, "give the new name"),
        ("t/a", "t/\u{1b}[2J", Kind::BadRequest, "can't be a new path"),
        ("t/a", "b", Kind::BadRequest, "such as “t/b”"),
        ("t/a", "t/s/b", Kind::Conflict, "another of the torrent's files"),
        ("t/a", "t/mine", Kind::Conflict, "is there already"),
        ("t/s", "t/s/b", Kind::Conflict, "in one step"),
    ] {
        let error = rename(&rig, "t", path, to).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{path} to {to}: {error}");
        assert!(error.message.contains(says), "{path} to {to}: {error}");
    }
    assert_eq!(rename(&rig, "nobody", "a", "b").await.map_err(|e| e.kind()), Err(Kind::NoMatch));
    std::fs::remove_file(rig.folder.join("t/mine")).expect("removed");
    rig.until("t", State::Seeding).await;
    assert_only(&rig, &payload, ["t/a", "t/s/b", "t/s/c"]);
    assert_eq!(stored(&rig).await.renames, []);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_dies_in_the_middle_is_waited_for() {
    let (rig, disk, payload, file) = seeding().await;
    disk.die_after(1);
    let error = rename(&rig, "t", "t", "film").await.expect_err("it failed");
    assert_eq!(error.kind(), Kind::Disk, "{error}");
    let row = rig.until("t", State::Error).await;
    assert!(row.error.is_some_and(|error| error.contains("tried again by itself")));
    let again = rename(&rig, "t", "t", "other").await.expect_err("refused");
    assert!(again.message.contains("still becoming “film”"), "{again}");
    disk.die_after(-1);
    until_named(&rig, &file, "film", State::Seeding).await;
    assert_only(&rig, &payload, ["film/a", "film/s/b", "film/s/c"]);
    assert_eq!(
        (stored(&rig).await.renaming, rig.engine.storage.hashed_bytes()),
        (None, payload.len() as u64)
    );
    // One that ends while its disk is dead is taken up by the next run.
    disk.die_after(2);
    rename(&rig, "film", "film", "u").await.expect_err("it failed");
    let healed = disk.clone();
    let rig = rig.restart_after(move || healed.die_after(-1)).await;
    until_named(&rig, &file, "u", State::Seeding).await;
    assert_only(&rig, &payload, ["u/a", "u/s/b", "u/s/c"]);
    assert_eq!(rig.engine.storage.hashed_bytes(), 0);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_that_was_cut_off_is_ended_also_of_a_stopped_torrent_and_one_to_be_removed() {
    for removed in [false, true] {
        let (rig, _, payload, file) = seeding().await;
        rig.act(Verb::Stop).await;
        rig.until("t", State::Stopped).await;
        // As a crash would leave it: the store knows of it, and one file has its new name.
        let mut settings = stored(&rig).await;
        let safe = |path: &str| SafePath::exact(path).expect("safe");
        settings.renaming = Some(Rename { from: safe("t"), to: safe("film") });
        let mut torrent = None;
        rig.engine.store.load(|record| torrent = record.ok().map(|record| record.id)).await.expect("loads");
        let change = Change::Settings(torrent.expect("there is one"), Box::new(settings));
        rig.engine.store.put(vec![change]).await.expect("saved");
        let folder = rig.folder.clone();
        let rig = rig
            .restart_after(move || {
                std::fs::create_dir_all(folder.join("film/s")).expect("made");
                std::fs::rename(folder.join("t/s/b"), folder.join("film/s/b")).expect("renamed");
            })
            .await;
        if removed {
            let params = RemoveParams { all: true, data: true, ..RemoveParams::default() };
            let removed = rig.session.ask(|reply| Command::Remove(params, reply)).await;
            removed.expect("it answers").expect("it is done");
            assert_eq!(std::fs::read_dir(&rig.folder).expect("read").count(), 0);
        } else {
            until_named(&rig, &file, "film", State::Stopped).await;
            assert_only(&rig, &payload, ["film/a", "film/s/b", "film/s/c"]);
        }
        rig.quit().await;
    }
}
