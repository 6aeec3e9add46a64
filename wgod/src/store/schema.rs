//! Tables of the database, their schema version, and the way from an older schema to this one.
use redb::{ReadableTable, TableDefinition, WriteTransaction};

/// Torrent id → row of `Settings`. A torrent exists when it is here.
pub(super) const TORRENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("torrents");
/// Torrent id → row of `Progress`; absent: nothing yet.
pub(super) const PROGRESS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("progress");
/// Torrent id → row of `Counters`; absent: all 0.
pub(super) const COUNTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("counters");
/// Torrent id → the raw `.torrent`.
pub(super) const METAINFO: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("metainfo");
/// Configuration key → JSON value that was set through the socket.
pub(super) const OVERRIDES: TableDefinition<'_, &str, &str> = TableDefinition::new("overrides");
/// Numbers about the database and the daemon; the keys are below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// What the node of the DHT knows; the key is below.
pub(super) const DHT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("dht");
/// Reserved for peers worth dialing after a restart.
const PEERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("peers");

/// Its ids and the nodes that it would ask first, as a row.
pub(super) const DHT_KNOWN: &str = "known";

/// Version of the tables. Within one, rows only gain fields.
pub(super) const META_SCHEMA: &str = "schema";
/// The id that the next new torrent gets.
pub(super) const META_NEXT_ID: &str = "next_id";
/// 1 after `Store::close`, 0 while a daemon runs.
pub(super) const META_CLEAN: &str = "clean";
/// Number of the daemon's run; entries of the stored log carry it.
pub(super) const META_EPOCH: &str = "epoch";
/// Payload bytes received, ever.
pub(super) const META_DOWNLOADED: &str = "downloaded";
/// Payload bytes sent, ever.
pub(super) const META_UPLOADED: &str = "uploaded";

/// Brings the tables from one schema to the next, inside the transaction that also raises the number.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The migrations in order: the first one leads from schema 1 to 2.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// The schema that a release with these migrations writes.
pub(super) fn newest(migrations: &[Migration]) -> u64 {
    1 + migrations.len() as u64
}

/// Makes the tables that there aren't yet.
fn make_tables(txn: &WriteTransaction) -> Result<(), redb::Error> {
    for table in [TORRENTS, PROGRESS, COUNTERS, METAINFO, PEERS] {
        txn.open_table(table)?;
    }
    txn.open_table(OVERRIDES)?;
    txn.open_table(DHT)?;
    txn.open_table(META)?;
    Ok(())
}

/// Makes every table and the first numbers, in a new database.
pub(super) fn create(txn: &WriteTransaction, migrations: &[Migration]) -> Result<(), redb::Error> {
    make_tables(txn)?;
    let mut meta = txn.open_table(META)?;
    meta.insert(META_SCHEMA, newest(migrations))?;
    meta.insert(META_NEXT_ID, 1)?;
    meta.insert(META_CLEAN, 1)?;
    Ok(())
}

/// Runs the migrations that a database of schema `from` lacks.
pub(super) fn migrate(
    txn: &WriteTransaction,
    from: u64,
    migrations: &[Migration],
) -> Result<(), redb::Error> {
    let done = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
    for migration in migrations.get(done..).unwrap_or_default() {
        migration(txn)?;
    }
    txn.open_table(META)?.insert(META_SCHEMA, newest(migrations))?;
    Ok(())
}

/// Brings tables of schema `from`, filled from outside, to that of `migrations`, whatever of them was missing.
pub(super) fn complete(
    txn: &WriteTransaction,
    from: u64,
    migrations: &[Migration],
) -> Result<(), redb::Error> {
    migrate(txn, from, migrations)?;
    make_tables(txn)
}

/// A number of the table `meta`; 0 where it isn't set.
pub(super) fn number(
    meta: &impl ReadableTable<&'static str, u64>,
    key: &'static str,
) -> Result<u64, redb::Error> {
    Ok(meta.get(key)?.map_or(0, |value| value.value()))
}
