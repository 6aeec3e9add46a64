//! A database made of a backup, and what is known of a backup once all of it was read.
use std::io::Read;

use redb::{TableDefinition, WriteTransaction};

use super::BackupError;
use super::export::Cell;
use super::format::{Column, Frame, Reader, TableHead};
use crate::store::StoreError;
use crate::store::database::Database;
use crate::store::schema::{self, Migration, TORRENTS};

/// Records are committed when they are about this large together: it bounds the memory that this takes.
const BATCH_BYTES: usize = 8 << 20;

/// What is in a backup, all of which was read and found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Schema of its tables.
    pub schema: u64,
    /// When it was made by the clock of that machine, Unix seconds.
    pub created_at: u64,
    /// Release that made it.
    pub release: String,
    /// Number of an automatic backup; 0 for one that was asked for.
    pub serial: u64,
    /// Torrents in it.
    pub torrents: u64,
    /// Bytes of it.
    pub size: u64,
    /// SHA-256 of all but its last 32 bytes, which are this.
    pub sum: [u8; 32],
}

/// What is done with each record: its table, key and value.
pub(in crate::store) type Each<'a> = dyn FnMut(&TableHead, Vec<u8>, Vec<u8>) -> Result<(), BackupError> + 'a;

/// Reads a backup of `len` bytes to its end, and checks all that can be checked without a database.
///
/// # Errors
/// One that [`Each`] gives, or what is wrong with the file. What `each` was called with before counts for
/// nothing then.
pub(in crate::store) fn walk(
    from: impl Read,
    len: u64,
    each: &mut Each<'_>,
) -> Result<Contents, BackupError> {
    let mut reader = Reader::new(from, len)?;
    let Frame::Header(header) = reader.next_frame()? else {
        return Err(BackupError::Malformed("it does not begin with its header"));
    };
    let known = schema::newest(schema::MIGRATIONS);
    if header.schema > known {
        return Err(BackupError::Newer { found: header.schema, known, release: header.release });
    }
    let (mut records, mut torrents) = (0, 0);
    let mut table: Option<TableHead> = None;
    let mut last: Option<Vec<u8>> = None;
    loop {
        match reader.next_frame()? {
            Frame::Header(_) => return Err(BackupError::Malformed("a second header")),
            Frame::Table(head) => {
                if table.is_some_and(|before| before.name >= head.name) {
                    return Err(BackupError::Malformed("tables out of order"));
                }
                (table, last) = (Some(head), None);
            }
            Frame::Record { key, value } => {
                let head = table.as_ref().ok_or(BackupError::Malformed("a record of no table"))?;
                if !(is_a(head.key, &key) && is_a(head.value, &value)) {
                    return Err(BackupError::Malformed("a record that does not fit its table"));
                }
                if last.is_some_and(|before| before >= key) {
                    return Err(BackupError::Malformed("records out of order"));
                }
                last = Some(key.clone());
                records += 1;
                torrents += u64::from(head.name == redb::TableHandle::name(&TORRENTS));
                each(head, key, value)?;
            }
            Frame::End(count) if count == records => break,
            Frame::End(_) => return Err(BackupError::Malformed("not as many records as it says")),
        }
    }
    let sum = reader.finish()?;
    let crate::store::backup::format::Header { schema, created_at, release, serial } = header;
    Ok(Contents { schema, created_at, release, serial, torrents, size: len, sum })
}

fn is_a(column: Column, bytes: &[u8]) -> bool {
    match column {
        Column::Number => u64::of_bytes(bytes).is_some(),
        Column::Text => <&str>::of_bytes(bytes).is_some(),
        Column::Bytes => true,
    }
}

/// Why a backup was not loaded.
#[derive(Debug)]
pub(in crate::store) enum LoadError {
    /// Its content.
    Backup(BackupError),
    /// The new database.
    Store(StoreError),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> LoadError {
        LoadError::Store(error)
    }
}

/// Fills an empty `database` with what a backup of `len` bytes holds, and brings its tables to the schema of
/// `migrations`. After an error the database is of no use.
pub(in crate::store) fn load(
    from: impl Read,
    len: u64,
    database: &mut Database,
    migrations: &[Migration],
) -> Result<Contents, LoadError> {
    let mut batch = Batch { rows: Vec::new(), bytes: 0 };
    let mut failed = None;
    let mut each = |head: &TableHead, key: Vec<u8>, value: Vec<u8>| {
        batch.add(head, key, value);
        if batch.bytes >= BATCH_BYTES
            && let Err(error) = batch.commit(database)
        {
            failed = Some(error);
            // Anything that ends the walk: what ended it is kept.
            return Err(BackupError::Malformed("a record that the database refuses"));
        }
        Ok(())
    };
    let walked = walk(from, len, &mut each);
    if let Some(error) = failed {
        return Err(LoadError::Store(error));
    }
    let contents = walked.map_err(LoadError::Backup)?;
    batch.commit(database)?;
    database.commit(|txn| schema::complete(txn, contents.schema, migrations))?;
    Ok(contents)
}

/// Records that are on their way into the database.
struct Batch {
    rows: Vec<(TableHead, Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, head: &TableHead, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len() + size_of::<(TableHead, Vec<u8>, Vec<u8>)>();
        self.rows.push((head.clone(), key, value));
    }

    fn commit(&mut self, database: &mut Database) -> Result<(), StoreError> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        database.commit(|txn| rows.chunk_by(|a, b| a.0 == b.0).try_for_each(|rows| insert(txn, rows)))
    }
}

/// Inserts records of one table.
fn insert(txn: &WriteTransaction, rows: &[(TableHead, Vec<u8>, Vec<u8>)]) -> Result<(), redb::Error> {
    let Some((head, ..)) = rows.first() else { return Ok(()) };
    match (head.key, head.value) {
        (Column::Number, Column::Number) => insert_as::<u64, u64>(txn, rows),
        (Column::Number, Column::Text) => insert_as::<u64, &'static str>(txn, rows),
        (Column::Number, Column::Bytes) => insert_as::<u64, &'static [u8]>(txn, rows),
        (Column::Text, Column::Number) => insert_as::<&'static str, u64>(txn, rows),
        (Column::Text, Column::Text) => insert_as::<&'static str, &'static str>(txn, rows),
        (Column::Text, Column::Bytes) => insert_as::<&'static str, &'static [u8]>(txn, rows),
        (Column::Bytes, Column::Number) => insert_as::<&'static [u8], u64>(txn, rows),
        (Column::Bytes, Column::Text) => insert_as::<&'static [u8], &'static str>(txn, rows),
        (Column::Bytes, Column::Bytes) => insert_as::<&'static [u8], &'static [u8]>(txn, rows),
    }
}

fn insert_as<K: Cell + redb::Key, V: Cell>(
    txn: &WriteTransaction,
    rows: &[(TableHead, Vec<u8>, Vec<u8>)],
) -> Result<(), redb::Error> {
    let Some((head, ..)) = rows.first() else { return Ok(()) };
    let mut table = txn.open_table(TableDefinition::<K, V>::new(&head.name))?;
    for (_, key, value) in rows {
        // `walk` has seen that they are of these types.
        if let (Some(key), Some(value)) = (K::of_bytes(key), V::of_bytes(value)) {
            table.insert(key, value)?;
        }
    }
    Ok(())
}
