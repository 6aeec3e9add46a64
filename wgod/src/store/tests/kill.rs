//! A real process on a real disk is killed in the middle of its work: what it was told is stored is
//! there, and what it logged is suspect.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wgo_core::TorrentId;
use wgo_proto::PieceIndex;

use super::{add, ids, open, writing};
use crate::store::Change;

/// Tells the test binary that it is the one to be killed, and where its state is.
const STATE_DIR: &str = "WGOD_STORE_TEST_VICTIM";
const THIS: &str = "store::tests::kill::a_killed_process_loses_nothing_that_was_acknowledged";
/// Acknowledgements after which the victim is killed, once something is in its log, too.
const PATIENCE: u64 = 20;
/// Bytes of an entry of the log.
const ENTRY_LEN: u64 = 20;

/// Adds torrents and says so, until it is killed.
async fn victim(dir: &Path) {
    let (store, _) = open(dir);
    let one = TorrentId(1);
    store.put(vec![add(1), Change::Progress(one, writing(1 << 20, &[0]))]).await.unwrap();
    for n in 2.. {
        store.put(vec![add(n)]).await.unwrap();
        store.log_stored(one, PieceIndex(n as u32));
        println!("acknowledged {n}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(STATE_DIR) {
        return victim(&PathBuf::from(dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([THIS, "--exact", "--nocapture"])
        .env(STATE_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Entries of the log are written behind the commits, on a busy machine long behind them.
    let logged = || std::fs::metadata(dir.path().join("stored.log")).map_or(0, |log| log.len() / ENTRY_LEN);
    let (mut last, mut entries) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((_, number)) = line.split_once("acknowledged ") else { continue };
        last = number.parse().unwrap();
        if entries == 0 && last >= PATIENCE {
            entries = logged();
            if entries > 0 {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(entries > 0, "the victim ended by itself after {last}");

    let (store, loaded) = open(dir.path());
    assert!(!loaded.recovery.clean);
    let ids = ids(&store).await;
    assert!(ids.iter().copied().eq(1..=ids.len() as u64), "{ids:?}");
    assert!(ids.len() as u64 >= last, "{} of {last}", ids.len());
    let suspect = &loaded.recovery.suspect[&TorrentId(1)];
    assert!(suspect.len() as u64 >= entries, "{entries} entries: {suspect:?}");
    assert_eq!(loaded.next_id.0, ids.len() as u64 + 1);
}
