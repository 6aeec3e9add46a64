//! Makes torrents to parse, from files with real content.
use crate::bencode::{DictEncoder, Encoder};
use crate::merkle::{self, Hash};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

/// Which kinds of hashes the torrent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    V1,
    V2,
    Hybrid,
}

/// A file to put into a torrent.
#[derive(Clone, Debug)]
pub(in super::super) struct Content {
    pub(in super::super) path: Vec<Vec<u8>>,
    pub(in super::super) bytes: Vec<u8>,
}

/// A torrent to be encoded.
#[derive(Clone, Debug)]
pub(in super::super) struct Recipe {
    pub(in super::super) kind: Kind,
    pub(in super::super) name: Vec<u8>,
    pub(in super::super) piece_len: usize,
    /// In byte order of their paths where the kind is not v1.
    pub(in super::super) files: Vec<Content>,
    /// A pad file after the last file, in a hybrid.
    pub(in super::super) tail_pad: bool,
}

const BLOCK: usize = 16384;

/// The root of a file's tree, and its piece layer if it has more than one piece.
fn tree(bytes: &[u8], piece_len: usize) -> (Hash, Option<Vec<Hash>>) {
    let leaves: Vec<Hash> = bytes.chunks(BLOCK).map(merkle::leaf).collect();
    let per_piece = piece_len / BLOCK;
    let layer: Vec<Hash> =
        leaves.chunks(per_piece).map(|piece| merkle::leaves_root(piece, per_piece)).collect();
    (merkle::leaves_root(&leaves, leaves.len()), (bytes.len() > piece_len).then_some(layer))
}

impl Recipe {
    /// The files with pad files between them as a hybrid needs them: path, bytes, whether it is a pad.
    fn listed(&self) -> Vec<(Vec<Vec<u8>>, Vec<u8>, bool)> {
        let mut listed = Vec::new();
        let with_data = |content: &&Content| !content.bytes.is_empty();
        let last = self.files.iter().rposition(|content| with_data(&content));
        for (index, content) in self.files.iter().enumerate() {
            listed.push((content.path.clone(), content.bytes.clone(), false));
            let gap = content.bytes.len().next_multiple_of(self.piece_len) - content.bytes.len();
            let wanted = self.kind == Kind::Hybrid && (Some(index) != last || self.tail_pad);
            if wanted && gap > 0 {
                listed.push((vec![b".pad".to_vec(), gap.to_string().into_bytes()], vec![0; gap], true));
            }
        }
        listed
    }

    /// The bytes of the files in their order, as the pieces of a v1 torrent see them.
    pub(in super::super) fn stream(&self) -> Vec<u8> {
        self.listed().into_iter().flat_map(|(_, bytes, _)| bytes).collect()
    }

    pub(in super::super) fn info(&self) -> Vec<u8> {
        let mut info = Vec::new();
        Encoder::new(&mut info).dict(|dict| {
            if self.kind != Kind::V1 {
                let files: Vec<&Content> = self.files.iter().collect();
                dict.entry("file tree").dict(|tree| self.folder(tree, &files, 0));
            }
            if self.kind != Kind::V2 {
                dict.entry("files").list(|list| {
                    for (path, bytes, pad) in self.listed() {
                        list.item().dict(|file| {
                            if pad {
                                file.entry("attr").bytes("p");
                            }
                            file.entry("length").int(bytes.len() as i64);
                            file.entry("path")
                                .list(|list| path.iter().for_each(|part| list.item().bytes(part)));
                        });
                    }
                });
            }
            if self.kind != Kind::V1 {
                dict.entry("meta version").int(2);
            }
            dict.entry("name").bytes(&self.name);
            dict.entry("piece length").int(self.piece_len as i64);
            if self.kind != Kind::V2 {
                let stream = self.stream();
                let hashes = stream.chunks(self.piece_len).map(|piece| <[u8; 20]>::from(Sha1::digest(piece)));
                dict.entry("pieces").bytes(hashes.flatten().collect::<Vec<u8>>());
            }
        });
        info
    }

    /// Writes the part of `file tree` that has `files`, which agree in their first `depth` components.
    fn folder(&self, tree: &mut DictEncoder<'_>, files: &[&Content], depth: usize) {
        let mut entries: BTreeMap<&[u8], Vec<&Content>> = BTreeMap::new();
        for content in files {
            entries.entry(&content.path[depth]).or_default().push(content);
        }
        for (key, files) in entries {
            tree.entry(key).dict(|below| match files.as_slice() {
                [file] if file.path.len() == depth + 1 => below.entry("").dict(|entry| {
                    entry.entry("length").int(file.bytes.len() as i64);
                    if !file.bytes.is_empty() {
                        entry.entry("pieces root").bytes(self::tree(&file.bytes, self.piece_len).0);
                    }
                }),
                _ => self.folder(below, &files, depth + 1),
            });
        }
    }

    /// The whole torrent file.
    pub(in super::super) fn torrent(&self) -> Vec<u8> {
        let mut torrent = Vec::new();
        Encoder::new(&mut torrent).dict(|dict| {
            dict.entry("announce").bytes("http://t.example/announce");
            dict.entry("info").raw(&self.info());
            if self.kind != Kind::V1 {
                let trees = self.files.iter().map(|file| self::tree(&file.bytes, self.piece_len));
                let layers: BTreeMap<Hash, Vec<Hash>> =
                    trees.filter_map(|(root, layer)| Some((root, layer?))).collect();
                dict.entry("piece layers").dict(|dict| {
                    layers.iter().for_each(|(root, layer)| dict.entry(root).bytes(layer.concat()));
                });
            }
        });
        torrent
    }
}
