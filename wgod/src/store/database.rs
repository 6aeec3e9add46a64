//! The database file: opened, read, committed to, and opened again after the disk failed it.
//!
//! redb refuses everything after an I/O error. So any error closes it, and the next use opens it
//! anew. What a failed commit had begun then either is there whole or not at all; whoever asked for
//! it was told that it failed.
use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::backend::Backend;
use super::schema::{self, META, META_SCHEMA, Migration};
use super::state_dir::StateDir;

const FILE: &str = "state.redb";
/// A new database until all of it is durable, so that the name never leads to half of one.
const UNBORN: &str = "state.redb.new";

/// redb's page cache. Its default is 1 GiB; torrents' records are small and read once.
const CACHE_BYTES: usize = 4 << 20;

/// The database of a state directory.
#[derive(Debug)]
pub(super) struct Database {
    dir: StateDir,
    backend: Backend,
    /// `None` after an error, until the next use.
    open: Option<redb::Database>,
}

impl Database {
    /// Opens the database, making it or migrating it where that is needed.
    pub(super) fn open(dir: &StateDir, migrations: &[Migration]) -> Result<Database, StoreError> {
        let file = match dir.open_existing(FILE)? {
            Some(file) => file,
            None => {
                create(dir, migrations)?;
                let gone = std::io::ErrorKind::NotFound.into();
                dir.open_existing(FILE)?.ok_or_else(|| dir.error("cannot open", FILE, gone))?
            }
        };
        let backend = Backend::new(dir.disk().clone(), file);
        let mut database = Database { dir: dir.clone(), backend, open: None };
        let found = database.peek_schema()?;
        let known = schema::newest(migrations);
        if found > known {
            return Err(StoreError::Newer { path: dir.path_of(FILE), found, known });
        }
        if found < known {
            database.commit(|txn| schema::migrate(txn, found, migrations))?;
        }
        Ok(database)
    }

    /// The schema, read without changing a byte where the database was closed well.
    fn peek_schema(&mut self) -> Result<u64, StoreError> {
        let schema_of = |txn: &ReadTransaction| schema::number(&txn.open_table(META)?, META_SCHEMA);
        match builder().open_read_only_with_backend(self.backend.clone()) {
            Ok(db) => {
                let schema = db.begin_read().map_err(redb::Error::from).and_then(|txn| schema_of(&txn));
                schema.map_err(|e| error(&self.dir, "cannot read", e))
            }
            // It wasn't, and only opening it for writing brings it to its last commit.
            Err(redb::DatabaseError::RepairAborted) => self.read(schema_of),
            Err(e) => Err(error(&self.dir, "cannot open", e.into())),
        }
    }

    /// Runs `work` on the last committed state.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.opened()?;
        let result = db.begin_read().map_err(redb::Error::from).and_then(|txn| work(&txn));
        self.check("cannot read", result)
    }

    /// Runs `work` and commits what it did, durably.
    pub(super) fn commit<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.opened()?;
        let result = commit(db, work);
        self.check("cannot commit to", result)
    }

    /// Closes the file well, so that the next open needn't repair it.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        match self.open.take() {
            Some(db) => db.close().map_err(|e| error(&self.dir, "cannot close", e.into())),
            None => Ok(()),
        }
    }

    /// The path of the database's file.
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.dir.path_of(FILE)
    }

    fn opened(&mut self) -> Result<&redb::Database, StoreError> {
        let db = match self.open.take() {
            Some(db) => db,
            None => {
                let opened = builder().create_with_backend(self.backend.clone());
                opened.map_err(|e| error(&self.dir, "cannot open", e.into()))?
            }
        };
        Ok(self.open.insert(db))
    }

    fn check<T>(&mut self, what: &'static str, result: Result<T, redb::Error>) -> Result<T, StoreError> {
        result.map_err(|e| {
            self.open = None;
            error(&self.dir, what, e)
        })
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn commit<T>(
    db: &redb::Database,
    work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    let out = work(&txn)?;
    txn.commit()?;
    Ok(out)
}

/// Makes an empty database under its name, durably.
fn create(dir: &StateDir, migrations: &[Migration]) -> Result<(), StoreError> {
    let file = dir.create(UNBORN)?;
    let backend = Backend::new(dir.disk().clone(), file.clone());
    let made = builder().create_with_backend(backend).map_err(redb::Error::from);
    let made = made.and_then(|db| {
        commit(&db, |txn| schema::create(txn, migrations))?;
        Ok(db.close()?)
    });
    made.map_err(|e| error(dir, "cannot create", e))?;
    dir.disk().sync_all(&file).map_err(|e| dir.error("cannot sync", UNBORN, e))?;
    dir.rename(UNBORN, FILE)?;
    dir.sync()
}

fn error(dir: &StateDir, what: &'static str, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(e) => dir.error(what, FILE, e),
        source => StoreError::Database { path: dir.path_of(FILE), source: Arc::new(source) },
    }
}
