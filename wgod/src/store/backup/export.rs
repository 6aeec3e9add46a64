//! A backup made of a snapshot, a page at a time, so that whoever owns the database can do other things
//! in between. What is committed after the snapshot is not in it.
use redb::{ReadTransaction, TableDefinition, TableError, TableHandle};

use super::format::{Column, Frame, Header, TableHead, put_magic, put_record};
use crate::store::schema::{self, META, META_SCHEMA};

/// Bytes of a page, about.
const PAGE_BYTES: usize = 256 << 10;

type Rows = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>), redb::Error>> + Send>;

/// A backup that is being made.
pub(in crate::store) struct Export {
    txn: ReadTransaction,
    /// Names of tables that are to come, the next one last.
    tables: Vec<String>,
    rows: Option<Rows>,
    /// What is encoded and not given out.
    page: Vec<u8>,
    records: u64,
    ended: bool,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Export {
    /// Begins a backup of `txn`'s state. `created_at` is in Unix seconds; an automatic one has a `serial`.
    pub(in crate::store) fn begin(
        txn: ReadTransaction,
        created_at: u64,
        serial: u64,
    ) -> Result<Export, redb::Error> {
        let schema = schema::number(&txn.open_table(META)?, META_SCHEMA)?;
        let release = env!("CARGO_PKG_VERSION").to_owned();
        let mut tables: Vec<String> = txn.list_tables()?.map(|table| table.name().to_owned()).collect();
        tables.sort_unstable_by(|a, b| b.cmp(a));
        let mut page = Vec::new();
        put_magic(&mut page);
        Frame::Header(Header { schema, created_at, release, serial }).put(&mut page);
        Ok(Export { txn, tables, rows: None, page, records: 0, ended: false })
    }

    /// The next bytes of the file; `None` after the last, which the checksum follows.
    pub(in crate::store) fn next_page(&mut self) -> Result<Option<Vec<u8>>, redb::Error> {
        while !self.ended && self.page.len() < PAGE_BYTES {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                let (key, value) = row?;
                put_record(&mut self.page, &key, &value);
                self.records += 1;
            } else if let Some(name) = self.tables.pop() {
                let (head, rows) = open(&self.txn, name)?;
                Frame::Table(head).put(&mut self.page);
                self.rows = Some(rows);
            } else {
                Frame::End(self.records).put(&mut self.page);
                self.ended = true;
            }
        }
        let page = std::mem::take(&mut self.page);
        Ok((!page.is_empty()).then_some(page))
    }
}

/// Opens a table whose types only the database knows.
fn open(txn: &ReadTransaction, name: String) -> Result<(TableHead, Rows), redb::Error> {
    let kinds: [(Column, Column, Open); 4] = [
        (Column::Number, Column::Bytes, rows::<u64, &'static [u8]>),
        (Column::Text, Column::Text, rows::<&'static str, &'static str>),
        (Column::Text, Column::Number, rows::<&'static str, u64>),
        (Column::Text, Column::Bytes, rows::<&'static str, &'static [u8]>),
    ];
    let mut mismatch = None;
    for (key, value, rows) in kinds {
        match rows(txn, &name) {
            Ok(rows) => return Ok((TableHead { name, key, value }, rows)),
            Err(error @ redb::Error::TableTypeMismatch { .. }) => mismatch = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(mismatch.unwrap_or_else(|| TableError::TableDoesNotExist(name).into()))
}

type Open = fn(&ReadTransaction, &str) -> Result<Rows, redb::Error>;

fn rows<K: Cell + redb::Key, V: Cell>(txn: &ReadTransaction, name: &str) -> Result<Rows, redb::Error> {
    let range = txn.open_table(TableDefinition::<K, V>::new(name))?.range::<K::SelfType<'_>>(..)?;
    let pair = |row: Result<(redb::AccessGuard<'static, K>, redb::AccessGuard<'static, V>), _>| {
        let (key, value) = row?;
        Ok((K::to_bytes(&key.value()), V::to_bytes(&value.value())))
    };
    Ok(Box::new(range.map(pair)))
}

/// A value of a column as it stands in a backup.
pub(super) trait Cell: redb::Value + Send + 'static {
    /// Its bytes, which sort as the values do.
    fn to_bytes(value: &Self::SelfType<'_>) -> Vec<u8>;
    /// The value of these bytes, if they are one.
    fn of_bytes(bytes: &[u8]) -> Option<Self::SelfType<'_>>;
}

impl Cell for u64 {
    fn to_bytes(value: &u64) -> Vec<u8> {
        value.to_be_bytes().to_vec()
    }

    fn of_bytes(bytes: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl Cell for &'static str {
    fn to_bytes(value: &&str) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn of_bytes(bytes: &[u8]) -> Option<&str> {
        std::str::from_utf8(bytes).ok()
    }
}

impl Cell for &'static [u8] {
    fn to_bytes(value: &&[u8]) -> Vec<u8> {
        value.to_vec()
    }

    fn of_bytes(bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes)
    }
}
