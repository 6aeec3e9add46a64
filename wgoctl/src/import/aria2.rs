//! Downloads of aria2: the `.torrent` files in a folder, with the files of the torrents beside them, and of what
//! isn't complete a control file `NAME.aria2`, which says what is there.
use std::path::{Path, PathBuf};

use wgo_proto::Bitfield;

use super::found::{self, Found, Item, Items, Left, files_ending};
use crate::failure::Failure;

/// The programs that may be using a session.
pub(super) const PROGRAMS: &[&str] = &["aria2c"];

/// Bytes of a control file: a bitmap, and one for each piece that is under way.
const MAX_CONTROL: u64 = 64 << 20;

/// Reads the downloads in `folder`.
pub(super) fn read(folder: &Path) -> Result<Items, Failure> {
    let path = folder.to_owned();
    let failed = |source| Failure::File { path: path.clone(), source };
    // Paths of the daemon are absolute.
    let folder = std::path::absolute(folder).map_err(failed)?;
    let torrents = files_ending(&folder, "torrent").map_err(failed)?;
    Ok(Box::new(torrents.into_iter().map(move |torrent| one(&folder, &torrent))))
}

fn one(folder: &Path, torrent: &Path) -> Item {
    let mut found = Found::of_file(torrent)?;
    found.folder = folder.to_owned();
    let mut path: PathBuf = folder.join(&found.metainfo.info.name);
    path.as_mut_os_string().push(".aria2");
    if !path.exists() {
        // It removes the control file of what is complete.
        let is_there = folder.join(&found.metainfo.info.name).exists();
        let all = Bitfield::full(found.pieces());
        found.have = Some(if is_there { all } else { Bitfield::new(found.pieces()) });
        return Ok(found);
    }
    let bytes = found::read(&path, MAX_CONTROL).map_err(|why| found.left(why))?;
    fill(&mut found, &bytes, &path)?;
    let written = std::fs::metadata(&path).map(|metadata| std::os::unix::fs::MetadataExt::mtime(&metadata));
    found.known.as_of = written.ok();
    Ok(found)
}

/// Takes what a control file says; `path` is for messages.
///
/// # Errors
/// Says what keeps the torrent from being taken over.
pub(super) fn fill(found: &mut Found, bytes: &[u8], path: &Path) -> Result<(), Left> {
    let Some(control) = Control::parse(bytes) else {
        return Err(found.left(format!("{} is no control file of aria2, or damaged", path.display())));
    };
    let ours = found.metainfo.hashes.v1.map(|hash| hash.0);
    if !control.info_hash.is_empty() && ours.as_ref().map(|hash| &hash[..]) != Some(control.info_hash) {
        return Err(found.left(format!("{} is of another torrent of the same name", path.display())));
    }
    let layout = &found.metainfo.info.layout;
    if (control.piece_len, control.total_len) != (layout.nominal_piece_len(), layout.total_len()) {
        return Err(found.left(format!("{} is of other content", path.display())));
    }
    found.have = Bitfield::from_wire(control.bits, found.pieces()).ok();
    found.known.uploaded_bytes = control.uploaded;
    Ok(())
}

/// What a control file says. Numbers are big-endian since version 1; version 0 is of before 2008.
struct Control<'a> {
    info_hash: &'a [u8],
    piece_len: u32,
    total_len: u64,
    uploaded: u64,
    bits: &'a [u8],
}

impl<'a> Control<'a> {
    /// `None` if it is none. What is under way, at its end, isn't looked at.
    fn parse(bytes: &'a [u8]) -> Option<Control<'a>> {
        let mut rest = bytes;
        let version = take(&mut rest, 2)?;
        // An extension that says that the info-hash is to be compared.
        take(&mut rest, 4)?;
        if version != [0, 1] {
            return None;
        }
        let hash_len = number(&mut rest)?;
        let info_hash = take(&mut rest, hash_len as usize)?;
        let piece_len = number(&mut rest)?;
        let total_len = long(&mut rest)?;
        let uploaded = long(&mut rest)?;
        let bits_len = number(&mut rest)?;
        let bits = take(&mut rest, bits_len as usize)?;
        Some(Control { info_hash, piece_len, total_len, uploaded, bits })
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

fn long(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?))
}
