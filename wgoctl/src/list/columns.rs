//! The columns that `list` and `status` know: title, look and order of each.
use std::cmp::Ordering;

use wgo_api::suggest::hint;
use wgo_api::torrent::{State, Torrent};

use crate::failure::Failure;
use crate::table::{Align, Cell, Tone};
use crate::units::{UNKNOWN, date, goals_or_blank, human_bytes, human_secs, known, percent, rate_or_blank};

/// One column.
pub(crate) struct Column {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// What stands above it.
    pub(crate) title: &'static str,
    /// Fields of a torrent that it is made from.
    pub(crate) fields: &'static [&'static str],
    pub(crate) align: Align,
    /// Gives way on a narrow terminal.
    pub(crate) flexible: bool,
    pub(crate) cell: fn(&Torrent) -> Cell,
    pub(crate) compare: fn(&Torrent, &Torrent) -> Ordering,
}

/// Digits of an info-hash that tell torrents apart at sight.
const SHORT_HASH: usize = 8;

/// Order of states on a page: what moves comes first.
pub(crate) fn rank(state: State) -> usize {
    State::ALL.iter().position(|other| *other == state).unwrap_or(usize::MAX)
}

fn tone(state: State) -> Tone {
    match state {
        State::Downloading | State::Metadata => Tone::Good,
        State::Seeding => Tone::Calm,
        State::Error => Tone::Bad,
        State::Stopped | State::Queued => Tone::Faint,
        State::Checking | State::Moving => Tone::Plain,
    }
}

/// Declares a column whose order is that of a key.
macro_rules! column {
    ($name:literal $title:literal $align:ident $flexible:literal [$($field:literal)*]
     $torrent:ident => $cell:expr, $key:expr) => {
        Column {
            name: $name,
            title: $title,
            fields: &[$($field),*],
            align: Align::$align,
            flexible: $flexible,
            cell: |$torrent| Cell::from($cell),
            compare: |a, b| {
                let key = |$torrent: &Torrent| $key;
                key(a).cmp(&key(b))
            },
        }
    };
}

/// Shares and ratios have no total order; this is near enough, and unknown ones come first.
fn millis(value: f64) -> i64 {
    (value * 1000.0) as i64
}

static COLUMNS: &[Column] = &[
    column!("id" "ID" Left false [] t => t.info_hash.get(..SHORT_HASH).unwrap_or(&t.info_hash), t.info_hash.clone()),
    column!("hash" "INFO-HASH" Left false [] t => &t.info_hash, t.info_hash.clone()),
    column!("hash_v2" "INFO-HASH V2" Left false ["info_hash_v2"]
        t => t.info_hash_v2.as_deref().unwrap_or(UNKNOWN), t.info_hash_v2.clone()),
    Column {
        name: "name",
        title: "NAME",
        fields: &["name"],
        align: Align::Left,
        flexible: true,
        cell: |t| Cell::from(&t.name),
        compare: |a, b| {
            // Letter by letter: most names differ soon, and copies would be made for each comparison.
            fn lower(name: &str) -> impl Iterator<Item = char> {
                name.chars().flat_map(char::to_lowercase)
            }
            lower(&a.name).cmp(lower(&b.name))
        },
    },
    Column {
        name: "state",
        title: "STATE",
        fields: &["state"],
        align: Align::Left,
        flexible: false,
        cell: |t| Cell::toned(t.state.as_str(), tone(t.state)),
        compare: |a, b| rank(a.state).cmp(&rank(b.state)),
    },
    column!("progress" "DONE" Right false ["progress"] t => percent(t.progress), millis(t.progress)),
    column!("size" "SIZE" Right false ["size_bytes"] t => known(t.size_bytes, human_bytes), t.size_bytes),
    column!("done" "HAVE" Right false ["done_bytes"] t => human_bytes(t.done_bytes), t.done_bytes),
    column!("down" "DOWN" Right false ["down_rate"] t => rate_or_blank(t.down_rate), t.down_rate),
    column!("up" "UP" Right false ["up_rate"] t => rate_or_blank(t.up_rate), t.up_rate),
    column!("downloaded" "DOWNLOADED" Right false ["downloaded_bytes"]
        t => human_bytes(t.downloaded_bytes), t.downloaded_bytes),
    column!("uploaded" "UPLOADED" Right false ["uploaded_bytes"] t => human_bytes(t.uploaded_bytes), t.uploaded_bytes),
    column!("wasted" "WASTED" Right false ["wasted_bytes"] t => human_bytes(t.wasted_bytes), t.wasted_bytes),
    column!("eta" "ETA" Right false ["eta_secs"]
        t => t.eta_secs.map(human_secs).unwrap_or_default(), t.eta_secs.unwrap_or(u64::MAX)),
    column!("ratio" "RATIO" Right false ["ratio"]
        t => known(t.ratio, |ratio| format!("{ratio:.2}")), t.ratio.map(millis)),
    column!("peers" "PEERS" Right false ["peers"] t => t.peers.to_string(), t.peers),
    column!("seeds" "SEEDS" Right false ["seeds"] t => t.seeds.to_string(), t.seeds),
    Column {
        name: "folder",
        title: "FOLDER",
        fields: &["folder"],
        align: Align::Left,
        flexible: true,
        cell: |t| Cell::path(&t.folder),
        compare: |a, b| a.folder.cmp(&b.folder),
    },
    column!("labels" "LABELS" Left true ["labels"] t => t.labels.join(","), t.labels.clone()),
    column!("added" "ADDED" Left false ["added_at"] t => date(t.added_at as i64), t.added_at),
    column!("completed" "COMPLETED" Left false ["completed_at"]
        t => known(t.completed_at, |at| date(at as i64)), t.completed_at),
    column!("priority" "PRIORITY" Left false ["priority"]
        t => format!("{:?}", t.priority).to_lowercase(), t.priority),
    column!("queue" "QUEUE" Right false ["queue_position" "forced"]
        t => if t.forced { "now".to_owned() } else { known(t.queue_position, |place| place.to_string()) },
        t.queue_position),
    column!("goals" "GOALS" Left true ["goals"] t => goals_or_blank(&t.goals), goals_or_blank(&t.goals)),
    column!("reason" "REASON" Left true ["done_reason"]
        t => t.done_reason.as_deref().unwrap_or_default(), t.done_reason.clone()),
    column!("sequential" "ORDER" Left false ["sequential"]
        t => if t.sequential { "in order" } else { "rarest first" }, t.sequential),
    column!("private" "PRIVATE" Left false ["private"]
        t => known(t.private, |private| if private { "yes".into() } else { "no".into() }), t.private),
    Column {
        name: "error",
        title: "ERROR",
        fields: &["error"],
        align: Align::Left,
        flexible: true,
        cell: |t| Cell::toned(t.error.as_deref().unwrap_or_default(), Tone::Bad),
        compare: |a, b| a.error.cmp(&b.error),
    },
];

/// The column of this name, or of the field of this name.
pub(crate) fn column(name: &str) -> Result<&'static Column, Failure> {
    let by_field = || COLUMNS.iter().find(|column| column.fields.first() == Some(&name));
    COLUMNS.iter().find(|column| column.name == name).or_else(by_field).ok_or_else(|| {
        let all: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        let columns = format!("columns are {}", all.join(", "));
        Failure::Usage(format!("unknown column {name:?}{}", hint(name, all.iter().copied(), &columns)))
    })
}

/// The columns that a list with commas names.
pub(crate) fn columns(names: &str) -> Result<Vec<&'static Column>, Failure> {
    names.split(',').map(|name| column(name.trim())).collect()
}

#[cfg(test)]
mod tests {
    use wgo_api::torrent::Fields;

    use super::*;

    #[test]
    fn every_column_is_made_of_fields_that_exist() {
        for column in COLUMNS {
            assert!(Fields::from_names(column.fields.iter().copied()).is_ok(), "{}", column.name);
            let _ = (column.cell)(&Torrent::default());
            assert_eq!((column.compare)(&Torrent::default(), &Torrent::default()), Ordering::Equal);
        }
    }

    #[test]
    fn columns_are_found_by_name_and_by_field() {
        assert_eq!(column("down").unwrap().name, "down");
        assert_eq!(column("size_bytes").unwrap().name, "size");
        assert!(columns("name, nope").is_err());
    }
}
