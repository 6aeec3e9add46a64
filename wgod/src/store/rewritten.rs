//! Rows read and written again, for whoever proves that nothing is lost on the way.
use super::codec::sealed;
use super::rows;

/// A row of settings, progress or counters (`kind` 0, 1, 2) of these fields, as it is when it was read and written
/// again; `None` if it can't be read. Version and checksum are put around the fields first.
pub fn rewritten(kind: u8, fields: &[u8]) -> Option<Vec<u8>> {
    let row = sealed(fields);
    match kind {
        0 => rows::decode_settings(&row).map(|settings| rows::encode_settings(&settings)),
        1 => rows::decode_progress(&row).map(|progress| rows::encode_progress(&progress)),
        2 => rows::decode_counters(&row).map(|counters| rows::encode_counters(&counters)),
        _ => return None,
    }
    .ok()
}
