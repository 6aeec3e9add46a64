//! The database file: opened, read, committed to, and opened again after the disk failed it.
//!
//! redb refuses everything after an I/O error. So any error closes it, and the next use opens it
//! anew. What a failed commit had begun then either is there whole or not at all; whoever asked for
//! it was told that it failed.
//!
//! On a damaged file redb panics as often as it returns an error. Here both are an error: what it holds by
//! then is dropped, and nothing of it is used again.
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use redb::{ReadTransaction, ReadableDatabase, WriteTransaction};

use super::StoreError;
use super::backend::Backend;
use super::backup::Export;
use super::schema::{self, META, META_SCHEMA, Migration};
use super::state_dir::StateDir;
use crate::files::Handle;

/// The database of the daemon's state.
pub(super) const FILE: &str = "state.redb";
/// A new database until all of it is durable, so that the name never leads to half of one.
const UNBORN: &str = "state.redb.new";

/// redb's page cache. Its default is 1 GiB; torrents' records are small and read once.
const CACHE_BYTES: usize = 4 << 20;

/// The database of a state directory.
#[derive(Debug)]
pub(super) struct Database {
    dir: StateDir,
    name: &'static str,
    file: Handle,
    backend: Backend,
    /// `None` after an error, until the next use.
    open: Option<redb::Database>,
    /// Backups that are being made, by number: each as long as whoever asked for it holds the other end. Few,
    /// since the threads that make them are.
    exports: BTreeMap<u64, (Weak<()>, Export)>,
    next_export: u64,
}

impl Database {
    /// Opens the database, making it or migrating it where that is needed; `before_migration` gets to see
    /// it as it is.
    pub(super) fn open(
        dir: &StateDir,
        migrations: &[Migration],
        before_migration: impl FnOnce(&mut Database),
    ) -> Result<Database, StoreError> {
        let file = match dir.open_existing(FILE)? {
            Some(file) => file,
            None => {
                create(dir, migrations)?;
                let gone = std::io::ErrorKind::NotFound.into();
                dir.open_existing(FILE)?.ok_or_else(|| dir.error("cannot open", FILE, gone))?
            }
        };
        let mut database = Database::of(dir, FILE, file);
        let found = database.peek_schema()?;
        let known = schema::newest(migrations);
        if found > known {
            return Err(StoreError::Newer { path: dir.path_of(FILE), found, known });
        }
        if found < known {
            before_migration(&mut database);
            database.commit(|txn| schema::migrate(txn, found, migrations))?;
        }
        Ok(database)
    }

    fn of(dir: &StateDir, name: &'static str, file: Handle) -> Database {
        let backend = Backend::new(dir.disk().clone(), file.clone());
        Database {
            dir: dir.clone(),
            name,
            file,
            backend,
            open: None,
            exports: BTreeMap::new(),
            next_export: 0,
        }
    }

    /// A new database `name` without a table in it; what was there is gone.
    pub(super) fn create_empty(dir: &StateDir, name: &'static str) -> Result<Database, StoreError> {
        Ok(Database::of(dir, name, dir.create(name)?))
    }

    /// The schema, read without changing a byte where the database was closed well.
    fn peek_schema(&mut self) -> Result<u64, StoreError> {
        let schema_of = |txn: &ReadTransaction| schema::number(&txn.open_table(META)?, META_SCHEMA);
        let peeked = calmly(|| match builder().open_read_only_with_backend(self.backend.clone()) {
            Ok(db) => db.begin_read().map_err(redb::Error::from).and_then(|txn| schema_of(&txn)).map(Some),
            // It wasn't, and only opening it for writing brings it to its last commit.
            Err(redb::DatabaseError::RepairAborted) => Ok(None),
            Err(e) => Err(e.into()),
        });
        match peeked.map_err(|e| self.error("cannot open", e))? {
            Some(schema) => Ok(schema),
            None => self.read(schema_of),
        }
    }

    /// A snapshot of the last committed state.
    pub(super) fn snapshot(&mut self) -> Result<ReadTransaction, StoreError> {
        let db = self.opened()?;
        let snapshot = calmly(|| Ok(db.begin_read()?));
        self.check("cannot read", snapshot)
    }

    /// Runs `work` on the last committed state.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.opened()?;
        let result = calmly(|| work(&db.begin_read()?));
        self.check("cannot read", result)
    }

    /// Runs `work` and commits what it did, durably.
    pub(super) fn commit<T>(
        &mut self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let db = self.opened()?;
        let result = calmly(|| commit(db, work));
        self.check("cannot commit to", result)
    }

    /// Closes the file well, so that the next open needn't repair it.
    pub(super) fn close(mut self) -> Result<(), StoreError> {
        match self.open.take() {
            Some(db) => calmly(|| Ok(db.close()?)).map_err(|e| self.error("cannot close", e)),
            None => Ok(()),
        }
    }

    /// Closes the file, all of it durable.
    pub(super) fn close_durably(mut self) -> Result<(), StoreError> {
        let (dir, name, file) = (self.dir.clone(), self.name, self.file.clone());
        self.opened()?;
        self.close()?;
        dir.disk().sync_all(&file).map_err(|e| dir.error("cannot sync", name, e))
    }

    /// The path of the database's file.
    pub(super) fn path(&self) -> std::path::PathBuf {
        self.dir.path_of(self.name)
    }

    /// Begins a backup of what is committed, for as long as `wanted` lives; its number.
    pub(super) fn begin_export(
        &mut self,
        wanted: &Arc<()>,
        created_at: u64,
        serial: u64,
    ) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let begun = calmly(|| Export::begin(snapshot, created_at, serial));
        let export = self.check("cannot read", begun)?;
        let number = self.next_export;
        self.next_export += 1;
        self.exports.insert(number, (Arc::downgrade(wanted), export));
        Ok(number)
    }

    /// The next bytes of a backup; `None` after the last.
    pub(super) fn next_page(&mut self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((_, export)) = self.exports.get_mut(&number) else {
            let why = io::Error::other("the database had to be opened again meanwhile");
            return Err(self.dir.error("cannot make a backup of", self.name, why));
        };
        let page = calmly(|| export.next_page());
        if matches!(page, Ok(None)) {
            self.exports.remove(&number);
        }
        self.check("cannot read", page)
    }

    /// Lets go of backups that nobody waits for: as long as one is there, the file only grows.
    pub(super) fn drop_unwanted_exports(&mut self) {
        self.exports.retain(|_, (wanted, _)| wanted.strong_count() > 0);
    }

    fn opened(&mut self) -> Result<&redb::Database, StoreError> {
        let db = match self.open.take() {
            Some(db) => db,
            None => {
                let opened = calmly(|| Ok(builder().create_with_backend(self.backend.clone())?));
                opened.map_err(|e| self.error("cannot open", e))?
            }
        };
        Ok(self.open.insert(db))
    }

    fn check<T>(&mut self, what: &'static str, result: Result<T, redb::Error>) -> Result<T, StoreError> {
        result.map_err(|e| {
            // What was opened before must not read what is written from now on.
            let (exports, open) = (std::mem::take(&mut self.exports), self.open.take());
            let dropped = calmly(|| {
                drop(exports);
                drop(open);
                Ok(())
            });
            if let Err(error) = dropped {
                tracing::debug!(%error, "the database could not be let go in order");
            }
            self.error(what, e)
        })
    }

    fn error(&self, what: &'static str, source: redb::Error) -> StoreError {
        error(&self.dir, self.name, what, source)
    }
}

/// What `work` returns, or that the database is damaged, where redb panics over it.
fn calmly<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    // What `work` borrows is dropped after an error, not used again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(redb::Error::Corrupted(text.to_owned()))
    })
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
    made.map_err(|e| error(dir, UNBORN, "cannot create", e))?;
    dir.disk().sync_all(&file).map_err(|e| dir.error("cannot sync", UNBORN, e))?;
    dir.rename(UNBORN, FILE)?;
    dir.sync()
}

fn error(dir: &StateDir, name: &str, what: &'static str, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(e) => dir.error(what, name, e),
        source => StoreError::Database { path: dir.path_of(name), source: Arc::new(source) },
    }
}
