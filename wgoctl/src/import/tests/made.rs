//! Sessions as clients write them, of one torrent of three files.
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wgo_proto::Bitfield;
use wgo_proto::bencode::{DictEncoder, Encoder};
use wgo_proto::metainfo::Metainfo;

/// Pieces of 16 KiB.
pub(super) const COUNT: u32 = 10;
/// The files; they add up to the pieces.
const FILES: [(&str, usize); 3] = [("a", 20_000), ("b", 100_000), ("c", 43_840)];

pub(super) fn torrent() -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(|dict| {
        dict.entry("announce-list").list(|tiers| {
            tiers.item().list(|tier| {
                ["http://there/", "http://off/"].map(|url| tier.item().bytes(url)).into_iter().collect()
            });
        });
        dict.entry("info").dict(|info| {
            info.entry("files").list(|list| {
                for (name, len) in FILES {
                    list.item().dict(|file| {
                        file.entry("length").int(len as i64);
                        file.entry("path").list(|path| path.item().bytes(name));
                    });
                }
            });
            info.entry("name").bytes("t");
            info.entry("piece length").int(16_384);
            info.entry("pieces").bytes(vec![7; 20 * COUNT as usize]);
        });
    });
    out
}

/// `torrents.state`, as Python writes it with protocol 0: its one torrent is the second in the queue, called
/// "shown", removed at a ratio of 1.5, and goes to /films.
const DELUGE_STATE: &[u8] =
    b"(iM\nTorrentManagerState\n(dS'torrents'\n(l(iM\nTorrentState\n(dS'torrent_id'\nS'x'\n\
    sS'queue'\nI1\nsS'name'\nVshown\nsS'stop_at_ratio'\nI01\nsS'stop_ratio'\nF1.5\nsS'remove_at_ratio'\nI01\n\
    sS'move_completed'\nI01\nsS'move_completed_path'\nS'/films'\nsbasb.";

fn hash() -> [u8; 20] {
    Metainfo::parse(&torrent()).expect("ours").hashes.v1.expect("it is v1").0
}

fn half() -> Vec<u8> {
    let mut have = Bitfield::new(COUNT);
    have.set_range(0..COUNT / 2);
    have.to_wire()
}

fn encode(fill: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out).dict(fill);
    out
}

/// A folder with a session in it, and one for the files.
pub(super) struct Session(TempDir);

impl Session {
    pub(super) fn new() -> Session {
        let session = Session(tempfile::tempdir().expect("a folder"));
        fs::create_dir(session.files()).expect("made");
        session
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn files(&self) -> PathBuf {
        self.path().join("files")
    }

    /// Writes the torrent's files, of zeros; those that are named only in part.
    pub(super) fn write(&self, partial: &[&str]) {
        let folder = self.files().join("t");
        fs::create_dir_all(&folder).expect("made");
        for (name, len) in FILES {
            let len = if partial.contains(&name) { len - 1 } else { len };
            fs::write(folder.join(name), vec![0; len]).expect("written");
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(&path, bytes).expect("written");
        path
    }

    /// `spelling`: what stands for `-` in keys, if not that. `name`: what the torrent was renamed to.
    pub(super) fn transmission(&self, spelling: &str, name: &str) -> Vec<PathBuf> {
        let key = |key: &str| if spelling.is_empty() { key.to_owned() } else { key.replace('-', spelling) };
        let files = self.files();
        let resume = encode(|dict| {
            dict.entry(key("added-date")).int(11);
            dict.entry("destination").bytes(files.to_str().expect("UTF-8"));
            dict.entry("dnd").list(|list| [1, 0, 0].map(|n| list.item().int(n)).into_iter().collect());
            dict.entry(key("done-date")).int(0);
            dict.entry("downloaded").int(8);
            dict.entry(key("downloading-time-seconds")).int(10);
            if !name.is_empty() {
                dict.entry("files").list(|list| {
                    for file in ["a", "b", "c"] {
                        list.item().bytes(format!("{name}/{file}"));
                    }
                });
            }
            dict.entry(key("idle-limit")).dict(|goal| {
                goal.entry(key("idle-limit")).int(30);
                goal.entry(key("idle-mode")).int(2);
            });
            dict.entry("labels").list(|list| ["tv", "new"].iter().for_each(|label| list.item().bytes(label)));
            dict.entry("name").bytes(if name.is_empty() { "t" } else { name });
            dict.entry("paused").int(1);
            dict.entry("priority").list(|list| [1, -1, 1].map(|n| list.item().int(n)).into_iter().collect());
            dict.entry("progress").dict(|progress| {
                progress.entry("blocks").bytes(half());
                progress
                    .entry("mtimes")
                    .list(|list| [1000, 0, 1002].map(|n| list.item().int(n)).into_iter().collect());
            });
            dict.entry(key("ratio-limit")).dict(|goal| {
                goal.entry(key("ratio-limit")).bytes("1.500000");
                goal.entry(key("ratio-mode")).int(1);
            });
            dict.entry(key("seeding-time-seconds")).int(9);
            dict.entry(key("speed-limit-up")).dict(|limit| {
                limit.entry(key("speed-Bps")).int(5000);
                limit.entry(key("use-speed-limit")).int(1);
            });
            dict.entry("uploaded").int(7);
        });
        vec![self.put("resume/t.resume", &resume), self.put("torrents/t.torrent", &torrent())]
    }

    pub(super) fn transmission_blocks(&self, blocks: &[u8]) {
        let resume = encode(|dict| {
            dict.entry("destination").bytes("/x");
            dict.entry("progress").dict(|progress| progress.entry("blocks").bytes(blocks));
        });
        self.put("resume/t.resume", &resume);
    }

    fn libtorrent(&self, folder: &Path, mapped: &[String], own: bool) -> Vec<u8> {
        encode(|dict| {
            dict.entry("active_time").int(10);
            dict.entry("auto_managed").int(1);
            dict.entry("download_rate_limit").int(1000);
            dict.entry("file_priority")
                .list(|list| [0, 1, 7].map(|n| list.item().int(n)).into_iter().collect());
            dict.entry("info-hash").bytes(hash());
            if !mapped.is_empty() {
                dict.entry("mapped_files")
                    .list(|list| mapped.iter().for_each(|path| list.item().bytes(path)));
            }
            dict.entry("paused").int(1);
            let pieces: Vec<u8> = (0..COUNT).map(|piece| u8::from(piece < COUNT / 2)).collect();
            dict.entry("pieces").bytes(pieces);
            if own {
                dict.entry("qBt-category").bytes("films");
                dict.entry("qBt-firstLastPiecePriority").int(1);
                dict.entry("qBt-ratioLimit").int(1500);
                dict.entry("qBt-savePath").bytes("/films");
                dict.entry("qBt-seedingTimeLimit").int(-1);
                dict.entry("qBt-shareLimitAction").bytes("RemoveWithContent");
                dict.entry("qBt-tags").list(|list| ["a", "b"].iter().for_each(|tag| list.item().bytes(tag)));
            }
            dict.entry("save_path").bytes(folder.to_str().expect("UTF-8"));
            dict.entry("sequential_download").int(1);
            dict.entry("trackers").list(|tiers| {
                for url in ["http://a/", "http://b/"] {
                    tiers.item().list(|tier| tier.item().bytes(url));
                }
            });
            dict.entry("upload_rate_limit").int(-1);
        })
    }

    pub(super) fn qbittorrent(&self, folder: &Path, mapped: &[String]) -> Vec<PathBuf> {
        let resume = self.libtorrent(folder, mapped, true);
        let place = "qBittorrent/data/BT_backup";
        vec![
            self.put(&format!("{place}/x.fastresume"), &resume),
            self.put(&format!("{place}/x.torrent"), &torrent()),
        ]
    }

    /// `what`: how the table comes about; a view has rows without end.
    pub(super) fn qbittorrent_sqlite(&self, what: &str) -> PathBuf {
        let path = self.put("qBittorrent/data/torrents.db", b"");
        let database = rusqlite::Connection::open(&path).expect("made");
        if what == "CREATE VIEW" {
            let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS rowid, x \
                AS queue_position FROM n";
            database.execute_batch(&format!("CREATE VIEW torrents AS {endless}")).expect("made");
            return path;
        }
        database
            .execute_batch(
                "CREATE TABLE torrents (id INTEGER PRIMARY KEY, torrent_id BLOB NOT NULL UNIQUE, queue_position \
                INTEGER NOT NULL DEFAULT -1, name TEXT, category TEXT, tags TEXT, target_save_path TEXT, ratio_limit \
                INTEGER NOT NULL, seeding_time_limit INTEGER NOT NULL, inactive_seeding_time_limit INTEGER, \
                has_outer_pieces_priority INTEGER NOT NULL, \
                stopped INTEGER NOT NULL, libtorrent_resume_data BLOB NOT NULL, metadata BLOB)",
            )
            .expect("made");
        let resume = self.libtorrent(&self.files(), &[], false);
        let insert = "INSERT INTO torrents (torrent_id, name, category, tags, ratio_limit, seeding_time_limit, \
            inactive_seeding_time_limit, has_outer_pieces_priority, stopped, libtorrent_resume_data, metadata) \
            VALUES ('x', 'shown', 'films', 'a,b', -1000, -1, 90, 1, 1, ?1, ?2)";
        database.execute(insert, (resume, torrent())).expect("inserted");
        path
    }

    pub(super) fn deluge(&self) -> Vec<PathBuf> {
        let resume = self.libtorrent(&self.files(), &[], false);
        let all = encode(|dict| dict.entry("x").bytes(&resume));
        let labels = br#"{"file": 1, "format": 1}{"labels": {}, "torrent_labels": {"x": "tv"}}"#;
        vec![
            self.put("state/torrents.fastresume", &all),
            self.put("state/x.torrent", &torrent()),
            self.put("label.conf", labels),
            self.put("state/torrents.state", DELUGE_STATE),
        ]
    }

    pub(super) fn rtorrent(&self, directory: &Path, hashing: i64) -> Vec<PathBuf> {
        let settings = encode(|dict| {
            dict.entry("custom").dict(|custom| custom.entry("addtime").bytes("11\n"));
            dict.entry("custom1").bytes("tv%20%26 more");
            dict.entry("directory").bytes(directory.to_str().expect("UTF-8"));
            dict.entry("hashing").int(hashing);
            dict.entry("state").int(1);
            dict.entry("views").list(|views| views.item().bytes("rat_1"));
        });
        let resume = encode(|dict| {
            dict.entry("bitfield").bytes(half());
            dict.entry("files").list(|files| {
                for priority in [0, 1, 2] {
                    files.item().dict(|file| {
                        file.entry("mtime").int(1000);
                        file.entry("priority").int(priority);
                    });
                }
            });
            dict.entry("trackers").dict(|trackers| {
                for (url, enabled, extra) in
                    [("dht://", 1, 1), ("http://added/", 1, 1), ("http://off/", 0, 0)]
                {
                    trackers.entry(url).dict(|state| {
                        state.entry("enabled").int(enabled);
                        if extra == 1 {
                            state.entry("extra_tracker").int(extra);
                        }
                    });
                }
            });
        });
        vec![
            self.put("X.torrent", &torrent()),
            self.put("X.torrent.rtorrent", &settings),
            self.put("X.torrent.libtorrent_resume", &resume),
        ]
    }

    pub(super) fn aria2(&self, total: u64) -> PathBuf {
        let bits = half();
        let mut control = vec![0, 1, 0, 0, 0, 1];
        control.extend_from_slice(&20_u32.to_be_bytes());
        control.extend_from_slice(&hash());
        control.extend_from_slice(&16_384_u32.to_be_bytes());
        control.extend_from_slice(&total.to_be_bytes());
        control.extend_from_slice(&7_u64.to_be_bytes());
        control.extend_from_slice(&(bits.len() as u32).to_be_bytes());
        control.extend_from_slice(&bits);
        control.extend_from_slice(&0_u32.to_be_bytes());
        self.put("files/t.aria2", &control)
    }
}
