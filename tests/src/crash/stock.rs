//! The torrents that are added, removed and fetched: small, of every shape that keeps its state in another way.
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, Settings};
use crate::maker::{Maker, Torrent};
use crate::payload::Payload;

/// A torrent and what is in it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) payload: Payload,
    pub(super) torrent: Torrent,
}

/// All torrents, and a daemon that has them.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) items: Vec<Item>,
    seeder: Daemon,
}

impl Stock {
    /// Makes the torrents, and seeds them at `ip`.
    pub(super) fn new(ip: IpAddr) -> Stock {
        // More files than are synced one by one.
        let many: Vec<String> = (0..80).map(|n| format!("d{}/f{n}", n % 3)).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|path| (&**path, 3_000)).collect();
        let payloads = vec![
            Payload::single("one.bin", 230_000, 1 << 14),
            Payload::single("long.bin", 1_500_000, 1 << 16),
            Payload::multi("few", 1 << 15, &[("a", 100_000), ("b/c", 90_001), ("b/empty", 0), ("z", 65_536)]),
            Payload::multi("shared", 1 << 16, &[("a", 30_000), ("b", 70_000), ("c", 5), ("d", 120_000)]),
            Payload::multi("many", 1 << 15, &many),
            Payload::single("tiny", 700, 1 << 14),
        ];
        let settings = Settings { ips: vec![ip], daemon: "".into(), ..Settings::default() };
        let seeder = Daemon::with(settings);
        let items = payloads.into_iter().map(|payload| {
            payload.write(&seeder.downloads());
            let torrent = Maker::new(&payload).make();
            seeder.add(&torrent, &seeder.downloads(), &[]);
            Item { payload, torrent }
        });
        let items: Vec<Item> = items.collect();
        items.iter().for_each(|item| seeder.wait_seeding(&item.torrent.id()));
        Stock { items, seeder }
    }

    /// Where they can be fetched.
    pub(super) fn addr(&self, ip: IpAddr) -> SocketAddr {
        self.seeder.listens(ip)
    }
}

impl Item {
    /// The paths of its files, relative to its folder, as they are at first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.payload.files.iter().map(|(path, _)| path.clone()).collect()
    }

    /// For each piece, whether it is in the files of one of `places`: folders, and names that the files have there.
    /// Of a file that has bytes elsewhere (`aside`) anything is right.
    pub(super) fn pieces_on_disk(&self, places: &[(&Path, &[PathBuf])], aside: &[bool]) -> Vec<bool> {
        let piece_len = self.payload.piece_len as usize;
        let mut right = vec![true; self.torrent.pieces as usize];
        let mut begin = 0;
        for (at, (_, expected)) in self.payload.files.iter().enumerate() {
            let read = |(folder, names): &(&Path, &[PathBuf])| std::fs::read(folder.join(&names[at])).ok();
            let copies: Vec<Vec<u8>> = places.iter().filter_map(read).collect();
            let mut from = 0;
            while from < expected.len() && !aside.get(at).copied().unwrap_or(false) {
                let piece = (begin + from) / piece_len;
                let to = expected.len().min((piece + 1) * piece_len - begin);
                right[piece] &= copies.iter().any(|copy| copy.get(from..to) == Some(&expected[from..to]));
                from = to;
            }
            begin += expected.len();
        }
        right
    }
}
