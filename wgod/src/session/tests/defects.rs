//! A disk job that panics, which is a defect of wgod: its torrent says so, and goes on when it is told to.
use std::io::{self, IoSliceMut};
use std::sync::{Arc, Mutex};

use wgo_api::params::{Choice, FilesParams, MoveParams};
use wgo_api::torrent::State;

use super::super::{Command, Verb};
use super::selecting::{LENS, torrent};
use crate::files::disk::OnDone;
use crate::files::{Disk, Handle, Op, RealDisk};
use crate::rig::*;

/// A real disk on which an operation panics, once.
struct Defective(Mutex<fn(&Op) -> bool>);

impl Defective {
    fn new() -> Arc<Defective> {
        Arc::new(Defective(Mutex::new(|_| false)))
    }

    fn panic_at(&self, which: fn(&Op) -> bool) {
        *self.0.lock().expect("whole") = which;
    }
}

impl Disk for Defective {
    fn submit(&self, op: Op, done: OnDone) {
        let mut which = self.0.lock().expect("whole");
        let defect = which(&op);
        if defect {
            *which = |_| false;
        }
        drop(which);
        assert!(!defect, "a defect, on purpose");
        RealDisk.submit(op, done);
    }

    fn read_nowait(&self, file: &Handle, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        RealDisk.read_nowait(file, offset, bufs)
    }

    fn device_hint(&self, path: &std::path::Path) -> u64 {
        RealDisk.device_hint(path)
    }
}

/// Has something panic that `act` brings about, and the torrent recover.
async fn suffers(which: fn(&Op) -> bool, act: impl AsyncFnOnce(&Rig)) {
    let (file, payload) = torrent();
    let disk = Defective::new();
    let rig = Rig::on(disk.clone()).await;
    std::fs::create_dir(rig.folder.join("t")).expect("nothing is there");
    let mut at = 0;
    for (name, len) in LENS {
        std::fs::write(rig.folder.join("t").join(name), &payload[at..at + len]).expect("written");
        at += len;
    }
    rig.add(&file).await;
    rig.until("t", State::Seeding).await;

    disk.panic_at(which);
    act(&rig).await;
    let row = rig.until("t", State::Error).await;
    let message = row.error.expect("it says why");
    assert!(message.starts_with("the engine of this torrent failed"), "{message}");
    rig.act(Verb::Start).await;
    let row = rig.until("t", State::Seeding).await;
    assert_eq!(row.done_bytes, payload.len() as u64);
    rig.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_check() {
    let opens: fn(&Op) -> bool = |op| matches!(op, Op::Open { .. });
    for which in [opens, |op| matches!(op, Op::Read { .. } | Op::ReadClean { .. })] {
        suffers(which, async |rig| {
            rig.act(Verb::Verify).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_move() {
    suffers(
        |op| matches!(op, Op::Link { .. } | Op::Reflink { .. } | Op::CopyRange { .. }),
        async |rig| {
            let folder = Some(rig.folder.with_file_name("elsewhere"));
            let params = MoveParams { all: true, folder, ..MoveParams::default() };
            let moved = rig.session.ask(|reply| Command::Move(params, reply)).await.expect("it answers");
            assert_eq!(moved.expect("there is such a torrent").torrents[0].error, None);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_choice_of_files() {
    suffers(
        |op| matches!(op, Op::Open { .. }),
        async |rig| {
            let choose = Choice { skip: vec!["a".to_owned()], ..Choice::default() };
            let params = FilesParams { id: "t".to_owned(), choose, first_last: None };
            let chosen = rig.session.ask(|reply| Command::Files(params, reply)).await.expect("it answers");
            let error = chosen.expect_err("it could not be made");
            assert!(error.message.starts_with("the wanted files stay as they were: "), "{error}");
        },
    )
    .await;
}
