//! Writes a draft whose pieces are hashed: the `info` dictionary and the torrent file around it.
use super::{Draft, NewFile, Part};
use crate::bencode::{DictEncoder, Encoder};
use crate::merkle::{self, Hash};
use crate::path::by_component;
use crate::units::{BLOCK_LEN, FileIndex};
use std::collections::BTreeMap;

/// What the pieces of a draft hash to, one for each piece.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// SHA-1, unless it is v2 only.
    pub v1: Vec<[u8; 20]>,
    /// The root of the [`Draft::subtree`], unless it is v1 only.
    pub v2: Vec<Hash>,
}

/// Keys of the `info` dictionary that have nothing to do with the files. They change the info-hash.
#[derive(Clone, Debug, Default)]
pub struct InfoKeys {
    /// Peers come from the trackers alone (BEP 27).
    pub private: bool,
    /// Sets the info-hashes of one content on several sites apart.
    pub source: Option<String>,
}

/// Keys of the torrent file beside `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OuterKeys {
    /// Tracker URLs in their tiers (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// URLs of the content (BEP 19).
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When, in Unix seconds.
    pub creation_date: Option<i64>,
}

/// What a v2 torrent says of the content of a file.
struct Tree<'h> {
    root: Hash,
    /// The roots over its pieces.
    layer: &'h [Hash],
}

/// One file of the `file tree`: its path's components.
type Leaf<'d> = (Vec<&'d str>, &'d NewFile, Option<Hash>);

impl Draft {
    /// The `info` dictionary. `hashes` has as many as the draft has pieces, in their order.
    pub fn info(&self, hashes: &Hashes, keys: &InfoKeys) -> Vec<u8> {
        let (shape, version) = (&self.shape, self.shape.version);
        let mut out = Vec::new();
        Encoder::new(&mut out).dict(|info| {
            let alone = self.files.first().filter(|_| !shape.folder && version.has_v1());
            if alone.is_some_and(|file| file.executable) {
                info.entry("attr").bytes("x");
            }
            if version.has_v2() {
                info.entry("file tree").dict(|tree| folder(tree, &self.leaves(hashes), 0));
            }
            if version.has_v1() && shape.folder {
                info.entry("files").list(|list| {
                    self.parts.iter().for_each(|part| list.item().dict(|file| self.listed(file, *part)));
                });
            }
            if let Some(file) = alone {
                info.entry("length").int(file.len.cast_signed());
            }
            if version.has_v2() {
                info.entry("meta version").int(2);
            }
            info.entry("name").bytes(&shape.name);
            info.entry("piece length").int(shape.piece_len.into());
            if version.has_v1() {
                info.entry("pieces").bytes(hashes.v1.as_flattened());
            }
            if keys.private {
                info.entry("private").int(1);
            }
            if let Some(source) = &keys.source {
                info.entry("source").bytes(source);
            }
        });
        out
    }

    /// The `piece layers` of a v2 torrent, bencoded; none for v1.
    pub fn layers(&self, hashes: &Hashes) -> Option<Vec<u8>> {
        if !self.shape.version.has_v2() {
            return None;
        }
        let trees = self.trees(hashes).filter(|(_, tree)| tree.layer.len() > 1);
        // Files of the same content have one entry.
        let layers: BTreeMap<Hash, &[Hash]> = trees.map(|(_, tree)| (tree.root, tree.layer)).collect();
        let mut out = Vec::new();
        Encoder::new(&mut out).dict(|dict| {
            layers.iter().for_each(|(root, layer)| dict.entry(root).bytes(layer.as_flattened()));
        });
        Some(out)
    }

    /// An entry of `files`.
    fn listed(&self, entry: &mut DictEncoder<'_>, part: Part) {
        let (attr, len, path) = match part {
            Part::Pad(len) => (Some("p"), len, format!(".pad/{len}")),
            Part::File(index) => {
                let file = &self.files[index];
                (file.executable.then_some("x"), file.len, file.path.to_string())
            }
        };
        if let Some(attr) = attr {
            entry.entry("attr").bytes(attr);
        }
        entry.entry("length").int(len.cast_signed());
        entry.entry("path").list(|list| path.split('/').for_each(|name| list.item().bytes(name)));
    }

    /// The trees of the files that have data, by the files' indices.
    fn trees<'h>(&self, hashes: &'h Hashes) -> impl Iterator<Item = (usize, Tree<'h>)> {
        let piece_height = (self.shape.piece_len / BLOCK_LEN).trailing_zeros();
        (0u32..).zip(&self.parts).filter_map(move |(at, part)| {
            let Part::File(index) = *part else { return None };
            let pieces = self.layout.pieces_of(FileIndex(at));
            let layer = hashes.v2.get(pieces.start as usize..pieces.end as usize).unwrap_or_default();
            let root = match layer {
                [] => return None,
                [root] => *root,
                layer => merkle::layer_root(layer, piece_height),
            };
            Some((index, Tree { root, layer }))
        })
    }

    fn leaves(&self, hashes: &Hashes) -> Vec<Leaf<'_>> {
        let mut roots: Vec<Option<Hash>> = vec![None; self.files.len()];
        self.trees(hashes).for_each(|(index, tree)| roots[index] = Some(tree.root));
        let mut files: Vec<_> = self.files.iter().zip(roots).collect();
        files.sort_by(|(a, _), (b, _)| by_component(a.path.as_str(), b.path.as_str()));
        files.into_iter().map(|(file, root)| (file.path.components().collect(), file, root)).collect()
    }
}

/// Writes the part of the `file tree` that has `leaves`, which agree in their first `depth` components. The
/// depth is bounded where a draft is made.
fn folder(tree: &mut DictEncoder<'_>, leaves: &[Leaf<'_>], depth: usize) {
    for leaves in leaves.chunk_by(|(a, ..), (b, ..)| a.get(depth) == b.get(depth)) {
        let Some((path, file, root)) = leaves.first() else { continue };
        let Some(name) = path.get(depth) else { continue };
        tree.entry(name).dict(|below| match path.len() == depth + 1 {
            true => below.entry("").dict(|entry| {
                if file.executable {
                    entry.entry("attr").bytes("x");
                }
                entry.entry("length").int(file.len.cast_signed());
                if let Some(root) = root {
                    entry.entry("pieces root").bytes(root);
                }
            }),
            false => folder(below, leaves, depth + 1),
        });
    }
}

/// The torrent file around an `info` dictionary and the `piece layers` that go with it.
pub fn torrent(info: &[u8], layers: Option<&[u8]>, keys: &OuterKeys) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|dict| {
        let urls = || keys.tiers.iter().flatten();
        if let Some(first) = urls().next() {
            dict.entry("announce").bytes(first);
        }
        if urls().count() > 1 {
            dict.entry("announce-list").list(|list| {
                for tier in keys.tiers.iter().filter(|tier| !tier.is_empty()) {
                    list.item().list(|list| tier.iter().for_each(|url| list.item().bytes(url)));
                }
            });
        }
        if let Some(comment) = &keys.comment {
            dict.entry("comment").bytes(comment);
        }
        if let Some(created_by) = &keys.created_by {
            dict.entry("created by").bytes(created_by);
        }
        if let Some(date) = keys.creation_date {
            dict.entry("creation date").int(date);
        }
        dict.entry("info").raw(info);
        if let Some(layers) = layers {
            dict.entry("piece layers").raw(layers);
        }
        match keys.web_seeds.as_slice() {
            [] => {}
            // BEP 19 has a string for one.
            [seed] => dict.entry("url-list").bytes(seed),
            seeds => {
                dict.entry("url-list").list(|list| seeds.iter().for_each(|seed| list.item().bytes(seed)))
            }
        }
    });
    out
}
