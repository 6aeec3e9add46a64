//! Pieces hashed by all threads are the pieces of the files, wherever those are read from.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use wgo_hash::{Sha1, digests};
use wgo_proto::PieceIndex;
use wgo_proto::merkle::{leaf, leaves_root};
use wgo_proto::metainfo::draft::{Draft, Hashes, Part, Shape, Version};

use super::exclude::Excludes;
use super::read::{FromDevice, Opened, Window};
use super::walk::{Listing, Walk};
use super::{hash, line};
use crate::failure::Failure;

const M: usize = 1 << 20;

fn noise(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at ^ seed).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

fn list(root: &Path) -> Result<Listing, Failure> {
    Walk { exclude: &Excludes::new(&[]), attributes: true, output: None }.list(root, "n")
}

fn draft(listing: &Listing, version: Version, piece_len: u32) -> Draft {
    let shape = Shape { version, name: "n".into(), folder: true, piece_len, aligned: false };
    Draft::new(shape, listing.files.clone()).unwrap()
}

/// By the definition, one piece after the other.
fn expected(draft: &Draft, listing: &Listing) -> Hashes {
    let contents: Vec<Vec<u8>> = listing.found.iter().map(|found| fs::read(&found.path).unwrap()).collect();
    let mut hashes = Hashes::default();
    for piece in (0..draft.layout().piece_count()).map(PieceIndex) {
        let mut bytes = Vec::new();
        for span in draft.layout().spans(piece, 0, u32::MAX) {
            match draft.part(span.file).unwrap() {
                Part::Pad(_) => bytes.resize(bytes.len() + span.len as usize, 0),
                Part::File(index) => {
                    bytes.extend_from_slice(&contents[index][span.offset as usize..][..span.len as usize]);
                }
            }
        }
        if draft.version().has_v1() {
            digests::<Sha1>(&[&bytes], |hash| hashes.v1.push(hash));
        }
        if let Some(tree) = draft.subtree(piece) {
            let leaves: Vec<_> = bytes[..tree.len as usize].chunks(16384).map(leaf).collect();
            hashes.v2.push(leaves_root(&leaves, tree.width as usize));
        }
    }
    hashes
}

/// Takes a file out of the page cache, if its file system has one.
fn make_cold(path: &Path) {
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

#[test]
fn pieces_are_hashed_right_from_any_place_at_any_length() {
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        let Ok(dir) = tempfile::tempdir_in(&place) else { continue };
        for (name, len) in
            [("a", 3 * M + 777), ("b", 0), ("c", 5), ("d", 16384), ("e", 2 * M), ("f", 100_001)]
        {
            fs::write(dir.path().join(name), noise(len, len)).unwrap();
        }
        let listing = list(dir.path()).unwrap();
        for version in [Version::V1, Version::V2, Version::Hybrid] {
            for piece_len in [16 << 10, 64 << 10, 1 << 20, 4 << 20] {
                let draft = draft(&listing, version, piece_len);
                listing.found.iter().for_each(|found| make_cold(&found.path));
                for state in ["cold", "cached"] {
                    let mut done = 0;
                    let made =
                        hash::pieces(&draft, &listing.found, Duration::ZERO, |now| done = now).unwrap();
                    let want = expected(&draft, &listing);
                    let context = format!("{version:?} {piece_len} {state} in {}", place.display());
                    assert!(made.v1 == want.v1 && made.v2 == want.v2, "{context}");
                    assert_eq!(done, listing.files.iter().map(|file| file.len).sum::<u64>(), "{context}");
                }
            }
        }
    }
}

#[test]
fn what_is_read_from_the_device_does_not_stay_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, noise(8 * M, 1)).unwrap();
    let listing = list(dir.path()).unwrap();
    make_cold(&path);
    let mut window = Window::new();
    // Bytes that a fill takes from the device.
    let mut fill = |offset: usize| {
        let opened = Opened::open(&listing.found[0]).unwrap_or_else(|_| panic!("it is there"));
        let mut device = FromDevice::default();
        let filled = window.fill(&opened, &path, offset as u64, M as u64, &mut device);
        assert!(filled.is_ok() && !window.bytes().is_empty());
        device.bytes
    };
    if fill(4 * M) == 0 {
        return println!("SKIPPED: the temp folder doesn't tell what it caches");
    }
    assert!(fill(4 * M) > 0, "it is read from the device again");
    // What was cached is read from there, and stays.
    fs::read(&path).unwrap();
    assert_eq!((fill(M), fill(M)), (0, 0));
}

#[test]
fn a_file_that_changed_since_it_was_found_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("growing");
    for change in [&noise(M + 1, 1)[..], &noise(M - 1, 1)] {
        fs::write(&path, noise(M, 1)).unwrap();
        let listing = list(dir.path()).unwrap();
        let draft = draft(&listing, Version::Hybrid, 16384);
        fs::write(&path, change).unwrap();
        let failed = hash::pieces(&draft, &listing.found, Duration::ZERO, |_| ()).unwrap_err().to_string();
        assert!(failed.contains("growing: changed while it was hashed"), "{failed}");
        assert!(super::unchanged(&listing).is_err());
    }
    fs::remove_file(&path).unwrap();
    fs::write(dir.path().join("x"), "x").unwrap();
    let listing = list(dir.path()).unwrap();
    assert!(super::unchanged(&listing).is_ok());
    fs::remove_file(dir.path().join("x")).unwrap();
    let draft = draft(&listing, Version::V1, 16384);
    assert!(hash::pieces(&draft, &listing.found, Duration::ZERO, |_| ()).is_err());
}

#[test]
fn links_are_followed_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir(dir.path().join("beside")).unwrap();
    fs::write(root.join("sub/f"), "f").unwrap();
    fs::write(dir.path().join("beside/g"), "gg").unwrap();
    symlink("../beside", root.join("folder")).unwrap();
    symlink("sub/f", root.join("file")).unwrap();
    symlink("gone", root.join("broken")).unwrap();
    symlink("itself", root.join("itself")).unwrap();
    let listing = list(&root).unwrap();
    let names: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["file", "folder/g", "sub/f"]);
    let skipped: Vec<_> = listing.skipped.iter().map(|(path, _)| path.file_name().unwrap()).collect();
    assert_eq!(skipped, ["broken", "itself"]);
    symlink("..", root.join("sub/up")).unwrap();
    let failed = list(&root).unwrap_err().to_string();
    assert!(failed.contains("sub/up: is a link to a folder that it lies in"), "{failed}");
}

#[test]
fn the_progress_line_survives_odd_figures() {
    let text = line(50, 100, 2.0, "a\u{1b}");
    assert!(text.starts_with("[==========>         ] 50.0%  50 B of 100 B  25 B/s  "), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(line(0, 1, 0.0, "n").contains("- left"));
}
