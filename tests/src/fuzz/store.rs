//! What the database keeps.

/// A row says the same when it is written and read again.
pub(super) fn rows(data: &[u8]) {
    let Some((kind, fields)) = data.split_first() else { return };
    let Some(row) = wgod::store::rewritten(*kind, fields) else { return };
    // Its version and checksum are put around it again.
    let fields = &row[1..row.len() - 4];
    assert_eq!(wgod::store::rewritten(*kind, fields).as_ref(), Some(&row), "written once, it stays");
}
