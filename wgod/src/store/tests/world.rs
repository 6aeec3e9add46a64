//! What the store should hold, by the simplest means, and a workload to compare it under.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use wgo_core::TorrentId;
use wgo_core::dht::snapshot::Snapshot;

use super::power_disk::PowerDisk;
use super::{add, record, writing};
use crate::store::database::Database;
use crate::store::recovery::Opened;
use crate::store::{
    Change, CheckKind, Counters, FileStamp, Have, OwedCheck, Progress, StoreError, TorrentRecord, Totals,
    recovery, schema, tables,
};

/// All that a reader can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    torrents: BTreeMap<u64, TorrentRecord>,
    metainfo: BTreeMap<u64, Vec<u8>>,
    totals: Totals,
    overrides: BTreeMap<String, serde_json::Value>,
    dht: Option<Snapshot>,
}

impl World {
    fn apply(&mut self, change: &Change) {
        let mut with = |id: &TorrentId, edit: &dyn Fn(&mut TorrentRecord)| {
            self.torrents.get_mut(&id.0).map(edit);
        };
        match change {
            Change::Torrent(record) => drop(self.torrents.insert(record.id.0, (**record).clone())),
            Change::Settings(id, settings) => with(id, &|r| r.settings = (**settings).clone()),
            Change::Progress(id, progress) => with(id, &|r| r.progress = progress.clone()),
            Change::Writing(id, mount) => with(id, &|r| {
                r.progress.writing = true;
                r.progress.mount.clone_from(mount);
            }),
            Change::Check(id, check) => with(id, &|r| r.progress.check = Some(check.clone())),
            Change::Moved(id, files) => with(id, &|r| {
                r.progress.files.clone_from(files);
                r.progress.mount = None;
            }),
            Change::Counters(id, counters) => with(id, &|r| r.counters = counters.clone()),
            Change::Metainfo(id, bytes) => drop(self.metainfo.insert(id.0, bytes.clone())),
            Change::Remove(id) => {
                if let Some(record) = self.torrents.remove(&id.0) {
                    self.totals.downloaded += record.counters.downloaded;
                    self.totals.uploaded += record.counters.uploaded;
                }
                self.metainfo.remove(&id.0);
            }
            Change::Dht(known) => self.dht = Some(known.clone()),
            Change::Override { key, value: Some(value) } => {
                self.overrides.insert(key.clone(), value.clone());
            }
            Change::Override { key, value: None } => drop(self.overrides.remove(key)),
        }
    }

    /// The world before the first request, after it, and so on.
    pub(super) fn after_each(requests: &[Vec<Change>]) -> Vec<World> {
        let mut worlds = vec![World::default()];
        for request in requests {
            let mut world = worlds.last().unwrap().clone();
            request.iter().for_each(|change| world.apply(change));
            worlds.push(world);
        }
        worlds
    }

    pub(super) fn progress_of(&mut self, id: TorrentId) -> &mut Progress {
        &mut self.torrents.get_mut(&id.0).unwrap().progress
    }

    /// Without what a restore adds to unfinished torrents.
    pub(super) fn without_checks(&mut self) {
        self.torrents.values_mut().for_each(|record| record.progress.check = None);
    }

    pub(super) fn torrent_count(&self) -> usize {
        self.torrents.len()
    }

    /// What the store shows.
    pub(super) fn read(database: &mut Database) -> Result<World, StoreError> {
        database.read(|txn| {
            let header = tables::header(txn)?;
            let mut world = World {
                totals: header.totals,
                overrides: header.overrides,
                dht: header.dht,
                ..World::default()
            };
            let mut from = 0;
            loop {
                // A small page, so that there are several.
                let page = tables::page(txn, TorrentId(from), 200)?;
                let Some(last) = page.last() else { return Ok(world) };
                from = last.id.0 + 1;
                for rows in page {
                    if let Some(bytes) = tables::metainfo(txn, rows.id)? {
                        world.metainfo.insert(rows.id.0, bytes);
                    }
                    world.torrents.insert(rows.id.0, rows.decode().unwrap());
                }
            }
        })
    }
}

pub(super) fn open(disk: &PowerDisk) -> Result<Opened, StoreError> {
    recovery::open(Arc::new(disk.clone()), Path::new("/state"), schema::MIGRATIONS, 0)
}

/// Requests that touch every table, small rows and such as fill pages, growth and removal.
pub(super) fn requests() -> Vec<Vec<Change>> {
    let one = TorrentId(1);
    let mut settings = record(1).settings;
    settings.labels = vec!["renamed".into()];
    vec![
        vec![add(1), Change::Metainfo(one, vec![7; 30_000])],
        vec![add(2), add(3), Change::Metainfo(TorrentId(3), vec![9; 300])],
        vec![Change::Writing(one, Some("/mnt/disk".into()))],
        vec![
            Change::Progress(one, writing(4000, &[0, 5])),
            Change::Counters(TorrentId(2), Counters { downloaded: 1, uploaded: 2, ..Counters::default() }),
        ],
        vec![Change::Remove(TorrentId(3)), Change::Settings(one, Box::new(settings))],
        vec![Change::Override { key: "limits.up".into(), value: Some(serde_json::json!(5)) }],
        vec![Change::Progress(one, writing(4000, &[0, 5, 6])), Change::Remove(TorrentId(2))],
        vec![Change::Check(one, Box::new(OwedCheck::anew(CheckKind::Full)))],
        vec![Change::Moved(one, vec![None, Some(FileStamp { len: 5, mtime_nanos: -7, suffixed: true })])],
        vec![Change::Counters(one, Counters { uploaded: 1 << 40, ..Counters::default() })],
        vec![Change::Progress(one, Progress { have: Have::All, ..Progress::default() })],
    ]
}
