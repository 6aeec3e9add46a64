//! The `info` dictionary: what the info-hash covers and what is downloaded (BEP 3, BEP 27, BEP 52).
use super::entry::{FileEntry, string};
use super::hashes::PieceHashes;
use super::parts::Parts;
use super::suffix::Suffixed;
use super::{MetainfoError, tree, v1};
use crate::bencode::{Dict, Value};
use crate::layout::{Layout, LayoutError, MAX_PIECE_LEN};
use crate::path::{dedupe, safe_component};
use crate::units::{BLOCK_LEN, FileIndex, InfoHashV1, InfoHashV2, InfoHashes};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::sync::Arc;

/// What a torrent's pieces are, and the files they make up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The torrent's name as a safe file name; its info-hash if it has none.
    pub name: String,
    /// Peers come from the trackers alone (BEP 27).
    pub private: bool,
    /// The files in the order of their bytes. A hybrid's are those of its v1 list, pad files included; a
    /// v2-only torrent has no pad files.
    pub files: Vec<FileEntry>,
    /// Where the bytes of pieces lie in `files`.
    pub layout: Layout,
    /// What the pieces must hash to.
    pub hashes: PieceHashes,
    /// Sets the info-hashes of one content on several sites apart.
    pub source: Option<String>,
    /// Bytes of the `info` dictionary, for those who fetch it from us (BEP 9); 0 while it is not known.
    pub dict_len: u32,
    /// The part file, which then is the last of `files`; see [`Info::with_parts`].
    pub(super) parts: Option<Arc<Parts>>,
    /// Second names of files; see [`Info::with_suffix`].
    pub(super) suffixed: Option<Arc<Suffixed>>,
}

/// The keys that say what kind of torrent it is.
struct Keys<'a> {
    files: Option<Value<'a>>,
    name: Option<Value<'a>>,
    name_utf8: Option<Value<'a>>,
    piece_len: Option<Value<'a>>,
    pieces: Option<Value<'a>>,
    private: Option<Value<'a>>,
    source: Option<Value<'a>>,
    tree: Option<Value<'a>>,
}

/// Reads `info`; `layers` is the `piece layers` dictionary from beside it.
pub(super) fn read(info: Dict<'_>, layers: Option<Dict<'_>>) -> Result<(InfoHashes, Info), MetainfoError> {
    let at = info.value().span().start;
    // BEP 52: before anything else, so that a newer torrent is not called broken.
    let version = info.pick(["meta version"])?[0].map_or(Some(1), |value| value.as_int());
    let is_v2 = match version {
        Some(1) => false,
        Some(2) => true,
        Some(found) => return Err(MetainfoError::MetaVersion { found }),
        None => return Err(MetainfoError::Invalid { key: "meta version", at, expected: "a number" }),
    };
    let [tree, files, name, name_utf8, piece_len, pieces, private, source] = info.pick([
        "file tree",
        "files",
        "name",
        "name.utf-8",
        "piece length",
        "pieces",
        "private",
        "source",
    ])?;
    let keys = Keys { files, name, name_utf8, piece_len, pieces, private, source, tree };

    let is_v1 = !is_v2 || keys.pieces.is_some();
    let hashes = InfoHashes {
        v1: is_v1.then(|| InfoHashV1(Sha1::digest(info.value().raw()).into())),
        v2: is_v2.then(|| InfoHashV2(Sha256::digest(info.value().raw()).into())),
    };
    let name = v1::name(keys.name, keys.name_utf8, at)?;
    let safe_name = match name {
        b"" => hashes.canonical().to_string(),
        _ => safe_component(name),
    };
    let name = safe_name.as_bytes();
    let piece_len = piece_len_of(&keys, is_v2, at)?;
    let (mut files, layout, piece_hashes) = match is_v1 {
        true => read_v1(info, name, &keys, piece_len, is_v2.then_some(layers))?,
        false => read_v2(name, &keys, piece_len, layers, at)?,
    };
    make_distinct(&mut files);
    let private = keys.private.and_then(|value| value.as_int()).is_some_and(|private| private != 0);
    let source = keys.source.and_then(|value| value.as_bytes()).map(String::from_utf8_lossy);
    let source = source.map(|source| source.into_owned());
    // Of 4 GiB and more nobody asks for any piece.
    let dict_len = u32::try_from(info.value().raw().len()).unwrap_or(0);
    let info = Info {
        name: safe_name,
        private,
        files,
        layout,
        hashes: piece_hashes,
        source,
        dict_len,
        parts: None,
        suffixed: None,
    };
    Ok((hashes, info))
}

impl Info {
    /// What is known of a torrent before its metadata has come (BEP 9): a name to show.
    pub fn unknown(name: String) -> Info {
        Info {
            name,
            private: false,
            files: Vec::new(),
            layout: Layout::unknown(),
            hashes: PieceHashes::default(),
            source: None,
            dict_len: 0,
            parts: None,
            suffixed: None,
        }
    }
}

type Content = (Vec<FileEntry>, Layout, PieceHashes);

/// Reads a v1 torrent, or a hybrid if `hybrid` has its piece layers, where those came.
fn read_v1(
    info: Dict<'_>,
    name: &[u8],
    keys: &Keys<'_>,
    piece_len: u32,
    hybrid: Option<Option<Dict<'_>>>,
) -> Result<Content, MetainfoError> {
    let at = info.value().span().start;
    let mut files = v1::files(info, name)?;
    let layout = Layout::v1(piece_len, &lens(&files))?;
    let v2_layout = match hybrid {
        Some(_) => Some(join(&mut files, &layout, &tree_of(keys, name, at, keys.files.is_some())?)?),
        None => None,
    };
    let pieces = string("pieces", keys.pieces.ok_or(MetainfoError::Missing { key: "pieces", at })?)?;
    let mut hashes = PieceHashes::from_v1(pieces, layout.piece_count())?;
    if let Some(v2_layout) = v2_layout {
        let stored: Vec<_> = files.iter().filter(|file| !file.pad).map(|file| file.pieces_root).collect();
        hashes = hashes.with_v2(&v2_layout, &stored, hybrid.flatten())?;
    }
    Ok((files, layout, hashes))
}

fn read_v2(
    name: &[u8],
    keys: &Keys<'_>,
    piece_len: u32,
    layers: Option<Dict<'_>>,
    at: usize,
) -> Result<Content, MetainfoError> {
    let files = tree_of(keys, name, at, false)?;
    let layout = Layout::v2(piece_len, &lens(&files))?;
    let roots: Vec<_> = files.iter().map(|file| file.pieces_root).collect();
    let hashes = PieceHashes::default().with_v2(&layout, &roots, layers)?;
    Ok((files, layout, hashes))
}

fn tree_of(keys: &Keys<'_>, name: &[u8], at: usize, listed: bool) -> Result<Vec<FileEntry>, MetainfoError> {
    tree::files(keys.tree.ok_or(MetainfoError::Missing { key: "file tree", at })?, name, listed)
}

/// Joins the two halves of a hybrid: they must list the same files in the same order, and each file with
/// data must begin at the same piece in both, so the pad files of v1 fill exactly the gaps of v2. After
/// the last file a pad file may stand or not. Returns the layout of the v2 half.
fn join(files: &mut [FileEntry], layout: &Layout, tree: &[FileEntry]) -> Result<Layout, MetainfoError> {
    let differ = |difference: String| Err(MetainfoError::Hybrid { difference });
    let v2_layout = Layout::v2(layout.nominal_piece_len(), &lens(tree))?;
    let mut rest = (0u32..).zip(tree);
    for (index, file) in (0u32..).zip(files.iter_mut()).filter(|(_, file)| !file.pad) {
        let Some((tree_index, twin)) = rest.next() else {
            return differ(format!("{:?} is only in `files`", file.path));
        };
        if (&file.path, file.len) != (&twin.path, twin.len) {
            let (path, len) = (&file.path, file.len);
            return differ(format!(
                "{path:?} of {len} bytes stands where {:?} of {} does",
                twin.path, twin.len
            ));
        }
        let (v1, v2) = (layout.file_start(FileIndex(index)), v2_layout.file_start(FileIndex(tree_index)));
        if file.len > 0 && v1 != v2 {
            return differ(format!(
                "{:?} begins at byte {v1} of the pieces, in `file tree` at {v2}",
                file.path
            ));
        }
        file.pieces_root = twin.pieces_root;
    }
    if let Some((_, file)) = rest.next() {
        return differ(format!("{:?} is only in `file tree`", file.path));
    }
    if layout.piece_count() != v2_layout.piece_count() {
        return differ(format!("{} and {} pieces", layout.piece_count(), v2_layout.piece_count()));
    }
    Ok(v2_layout)
}

fn piece_len_of(keys: &Keys<'_>, is_v2: bool, at: usize) -> Result<u32, MetainfoError> {
    let key = "piece length";
    let value = keys.piece_len.ok_or(MetainfoError::Missing { key, at })?;
    let len = value.as_int().and_then(|len| u32::try_from(len).ok());
    let len = len.filter(|len| (1..=MAX_PIECE_LEN).contains(len));
    let expected = "a number of bytes from 1 to 536870912";
    let len = len.ok_or(MetainfoError::Invalid { key, at: value.span().start, expected })?;
    match is_v2 && (len < BLOCK_LEN || !len.is_power_of_two()) {
        true => Err(LayoutError::PieceLenV2 { found: len }.into()),
        false => Ok(len),
    }
}

/// Files come before pad files: those are not stored, so they give way.
fn make_distinct(files: &mut [FileEntry]) {
    let mut ordered: Vec<&mut FileEntry> = files.iter_mut().collect();
    ordered.sort_by_key(|file| file.pad);
    let mut paths: Vec<_> = ordered.into_iter().map(|file| &mut file.path).collect();
    dedupe(&mut paths);
}

fn lens(files: &[FileEntry]) -> Vec<u64> {
    files.iter().map(|file| file.len).collect()
}
