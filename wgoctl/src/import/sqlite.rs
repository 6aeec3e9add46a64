//! The SQLite file in which qBittorrent since 4.4 can keep its session: a table `torrents`, with libtorrent's resume
//! data and the torrent file in each row.
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row};

use super::found::MAX_STATE;
use crate::failure::Failure;
use crate::sources::MAX_TORRENT;

/// Limits of sharing as qBittorrent keeps them: -2, or absent, as for all torrents; -1 for none.
#[derive(Debug)]
pub(super) struct Limits {
    /// Thousandths, also of -1 and -2.
    pub(super) ratio: Option<i64>,
    /// Minutes.
    pub(super) time: Option<i64>,
    /// Minutes.
    pub(super) idle: Option<i64>,
    /// What happens then, since version 5.
    pub(super) action: Option<String>,
}

/// What is read of a row. Absent: null, of another type, or too long.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) category: Option<String>,
    /// Separated by commas.
    pub(super) tags: Option<String>,
    pub(super) limits: Limits,
    /// Where it goes when it is complete.
    pub(super) save_path: Option<String>,
    pub(super) first_last: bool,
    /// A person stopped it.
    pub(super) stopped: bool,
    pub(super) resume: Option<Vec<u8>>,
    pub(super) torrent: Option<Vec<u8>>,
}

/// The torrents of a session, a row at a time, and when they were written, in Unix seconds.
pub(super) struct Session {
    connection: Connection,
    ids: std::vec::IntoIter<i64>,
    pub(super) written: i64,
}

impl Session {
    /// Opens a session without changing anything, in or beside the file.
    pub(super) fn open(path: &Path) -> Result<Session, Failure> {
        let failed = |source| Failure::File { path: path.to_owned(), source };
        let written = path.metadata().map_err(failed)?.mtime();
        let mut log: PathBuf = path.to_owned();
        log.as_mut_os_string().push("-wal");
        if log.metadata().is_ok_and(|log| log.len() > 0) {
            let why = format!(
                "{}: qBittorrent did not end in order, or runs: start it and stop it, then run this again",
                path.display()
            );
            return Err(Failure::Usage(why));
        }
        let damaged = |error: rusqlite::Error| {
            Failure::Usage(format!("{} is no session that can be read: {error}", path.display()))
        };
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri(path).as_str(), flags).map_err(damaged)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(damaged)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(damaged)?;
        // A view could be a query without end.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false).map_err(damaged)?;
        let ids = Self::ids(&connection).map_err(damaged)?.into_iter();
        Ok(Session { connection, ids, written })
    }

    fn ids(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let mut query = connection.prepare("SELECT rowid FROM torrents ORDER BY queue_position, rowid")?;
        query.query_map([], |row| row.get(0))?.collect()
    }
}

impl Iterator for Session {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.ids.next()?;
        // Which columns there are depends on the version.
        let query = "SELECT * FROM torrents WHERE rowid = ?1";
        let read = self.connection.query_row(query, [id], |row| Ok(record(row)));
        Some(read.map_err(|error| format!("row {id} of the session can't be read: {error}")))
    }
}

fn record(row: &Row<'_>) -> Record {
    let text = |column: &str| {
        let text = row.get_ref(column).ok()?.as_str().ok()?;
        Some(text.to_owned()).filter(|text| !text.is_empty())
    };
    let number = |column: &str| row.get_ref(column).ok()?.as_i64().ok();
    let is_set = |column: &str| number(column).is_some_and(|number| number != 0);
    let bytes = |column: &str, limit: u64| {
        let value = row.get_ref(column).ok()?;
        value.as_blob().ok().filter(|blob| blob.len() as u64 <= limit).map(<[u8]>::to_vec)
    };
    Record {
        id: text("torrent_id").unwrap_or_default(),
        name: text("name"),
        category: text("category"),
        tags: text("tags"),
        limits: Limits {
            ratio: number("ratio_limit"),
            time: number("seeding_time_limit"),
            idle: number("inactive_seeding_time_limit"),
            action: text("share_limit_action"),
        },
        save_path: text("target_save_path"),
        first_last: is_set("has_outer_pieces_priority"),
        stopped: is_set("stopped"),
        resume: bytes("libtorrent_resume_data", MAX_STATE),
        torrent: bytes("metadata", MAX_TORRENT),
    }
}

/// The path as a URI that has SQLite take the file for one that nobody changes: it makes no files beside it then.
fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?mode=ro&immutable=1"
}
