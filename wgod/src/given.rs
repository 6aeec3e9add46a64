//! The torrents of the command line: read by `main` before the daemon confines itself, added when it runs.
use wgo_api::params::{AddParams, Source};
use wgo_api::result::AddStatus;

use crate::cli::TorrentSource;
use crate::console::Console;

/// A torrent of the command line.
pub struct Given {
    /// As it was named there.
    shown: String,
    source: Source,
}

/// Reads the torrents. One that can't be read is logged and left out.
pub fn read_all(torrents: Vec<TorrentSource>) -> Vec<Given> {
    let read = |torrent| match torrent {
        TorrentSource::Magnet(uri) => Some(Given { shown: uri.clone(), source: Source::Uri(uri) }),
        TorrentSource::File(path) => match std::fs::read(&path) {
            Ok(bytes) => Some(Given { shown: path.display().to_string(), source: Source::of_file(&bytes) }),
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "torrent not added: it can't be read");
                None
            }
        },
    };
    torrents.into_iter().filter_map(read).collect()
}

/// Adds the torrents; one that can't be added does not keep the others out.
pub(crate) async fn add_all(console: Console, torrents: Vec<Given>) {
    for Given { shown, source } in torrents {
        let added = console.add_all(&[source], &AddParams::default()).await;
        for added in added.into_iter().filter(|added| added.status == AddStatus::Failed) {
            let error = added.error.unwrap_or_default();
            tracing::error!(torrent = shown, error, "torrent not added");
        }
    }
}
