//! How `show` lays out a torrent: its facts, and tables of its files, peers, trackers and pieces.
use wgo_api::result::{Ban, File, Peer, PeerEncryption, Pieces, TorrentDetails, Tracker};
use wgo_api::torrent::Priority;
use wgo_api::{State, Torrent};

use crate::clean::clean;
use crate::console::Terminal;
use crate::limit::up_and_down;
use crate::table::{Align, Cell, Table, Tone};
use crate::torrent_file::FileDocument;
use crate::units::{count, date, human_bytes, human_rate, human_secs, known, percent, rate_or_blank};
use crate::wrap::fact;

use super::goals::goals_text;

/// Names and values, one a line.
#[derive(Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

/// Columns of the names.
const NAMES: usize = 13;
/// Columns of the map of pieces where there is no terminal.
const MAP_COLUMNS: usize = 64;

impl Facts {
    /// The same, after another fact.
    pub(crate) fn after(mut self, name: &'static str, value: impl AsRef<str>) -> Facts {
        self.0.insert(0, (name, clean(value.as_ref())));
        self
    }

    pub(crate) fn add(&mut self, name: &'static str, value: impl AsRef<str>) {
        self.0.push((name, clean(value.as_ref())));
    }

    fn maybe(&mut self, name: &'static str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub(crate) fn render(&self, terminal: Terminal) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push_str(&fact(name, NAMES, value, Tone::Faint, terminal));
        }
        text
    }

    pub(super) fn of_torrent(details: &TorrentDetails) -> Facts {
        let t = &details.torrent;
        let mut facts = Facts::default();
        facts.add("Name", &t.name);
        facts.add("Info-hash", &t.info_hash);
        facts.maybe("Info-hash v2", t.info_hash_v2.as_ref());
        let kind = t.error_kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let done = t.done_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        facts.add("State", format!("{}{kind}{done}", t.state));
        facts.maybe("Error", t.error.as_ref());
        let size = known(t.size_bytes, human_bytes);
        let done = format!("{} of {size}", human_bytes(t.done_bytes));
        match t.state {
            State::Checking => {
                facts.add("Checked", percent(t.progress));
                facts.add("Found", done);
            }
            _ if t.size_bytes.is_none() => facts.add("Metadata", "not known yet"),
            _ => facts.add("Done", format!("{}, {done}", percent(t.progress))),
        }
        facts.maybe("Time left", t.eta_secs.map(human_secs));
        facts
            .add("Downloaded", format!("{} at {}", human_bytes(t.downloaded_bytes), human_rate(t.down_rate)));
        facts.add("Uploaded", format!("{} at {}", human_bytes(t.uploaded_bytes), human_rate(t.up_rate)));
        if t.wasted_bytes > 0 {
            facts.add("Wasted", human_bytes(t.wasted_bytes));
        }
        facts.add("Ratio", known(t.ratio, |ratio| format!("{ratio:.2}")));
        facts.add("Limits", up_and_down(t.limits));
        for label in &details.label_limits {
            let who = match label.torrents {
                0 | 1 => String::new(),
                more => format!(", shared by {more} torrents"),
            };
            facts.add("", format!("{} as label {}{who}", up_and_down(label.limits), label.label));
        }
        facts.add("Queue", queue_text(t));
        facts.add("Seeding goals", goals_text(details));
        if details.seeding_secs > 0 {
            facts.add("Seeded", seeded_text(details));
        }
        facts.maybe("Order", t.sequential.then_some("pieces in order"));
        let seeds = format!(", of which {}", count(t.seeds as usize, "seed"));
        facts.add("Peers", format!("{}{}", t.peers, if t.peers > 0 { seeds.as_str() } else { "" }));
        facts.maybe("Availability", details.availability.map(|copies| format!("{copies:.2} copies")));
        facts.add("Folder", &t.folder);
        facts.maybe("Goes to", t.final_folder.as_ref());
        if !t.labels.is_empty() {
            facts.add("Labels", t.labels.join(", "));
        }
        if let (Some(pieces), Some(length)) = (details.pieces, details.piece_length) {
            let have = details.pieces_done.map(|have| format!("{have} of ")).unwrap_or_default();
            facts.add("Pieces", format!("{have}{pieces} of {}", wgo_api::units::Size(length.into())));
        }
        facts.maybe("Private", t.private.map(|private| if private { "yes" } else { "no" }));
        facts.add("Added", date(t.added_at as i64));
        facts.maybe("Completed", t.completed_at.map(|at| date(at as i64)));
        facts.maybe("Created", details.created_at.map(date));
        facts.maybe("Created by", details.created_by.as_ref());
        facts.maybe("Comment", details.comment.as_ref());
        facts.maybe("Magnet", details.magnet.as_ref());
        facts
    }

    pub(crate) fn of_file(document: &FileDocument) -> Facts {
        let t = &document.torrent;
        let mut facts = Facts::default();
        facts.add("Name", &t.name);
        facts.add("Info-hash", &t.info_hash);
        facts.maybe("Info-hash v2", t.info_hash_v2.as_ref());
        let files = document.files.iter().filter(|file| !file.pad).count();
        facts.add("Size", format!("{} in {}", human_bytes(t.size_bytes), count(files, "file")));
        facts.add("Pieces", format!("{} of {}", t.pieces, wgo_api::units::Size(t.piece_length.into())));
        facts.add("Private", if t.private { "yes" } else { "no" });
        facts.add("Trackers", document.trackers.len().to_string());
        if !t.web_seeds.is_empty() {
            facts.add("Web seeds", t.web_seeds.len().to_string());
        }
        facts.maybe("Created", t.created_at.map(date));
        facts.maybe("Created by", t.created_by.as_ref());
        facts.maybe("Source", t.source.as_ref());
        facts.maybe("Comment", t.comment.as_ref());
        facts.add("Magnet", &t.magnet);
        facts
    }
}

/// Where it stands in the queue.
fn queue_text(t: &Torrent) -> String {
    let place = match t.queue_position {
        _ if t.forced => "outside of it, started with --now".to_owned(),
        Some(0) => "first".to_owned(),
        Some(before) => format!("{} before it", count(before as usize, "torrent")),
        None => "not in it".to_owned(),
    };
    let priority = match t.priority {
        Priority::High => ", high priority",
        Priority::Normal => "",
        Priority::Low => ", low priority",
    };
    place + priority
}

/// How long, and how much of that since the last upload.
fn seeded_text(details: &TorrentDetails) -> String {
    let (all, idle) = (human_secs(details.seeding_secs), human_secs(details.idle_secs));
    match details.idle_secs {
        secs if secs >= details.seeding_secs => format!("for {all}, without an upload"),
        _ => format!("for {all}, {idle} of it since the last upload"),
    }
}

/// Files with their numbers, from 1, as they are called on disk; how much each is wanted, if that is known.
pub(crate) fn files_table(files: &[File]) -> Table {
    let known_wish = files.iter().any(|file| file.priority.is_some());
    let mut table = Table::new().column("#", Align::Right, false);
    if known_wish {
        table = table.column("WANTED", Align::Left, false);
    }
    table = table.column("SIZE", Align::Right, false).column("DONE", Align::Right, false).column(
        "PATH",
        Align::Left,
        true,
    );
    table = table.expendable(&["DONE", "SIZE", "WANTED"]);
    for (number, file) in (1..).zip(files).filter(|(_, file)| !file.pad) {
        let share = |done: u64| if file.size_bytes == 0 { 1.0 } else { done as f64 / file.size_bytes as f64 };
        let done = known(file.done_bytes, |done| percent(share(done)));
        let mut row = vec![Cell::from(&format!("{number}"))];
        if known_wish {
            row.push(file.priority.map_or("", |priority| priority.as_str()).to_owned().into());
        }
        let path = file.path_on_disk.as_ref().unwrap_or(&file.path);
        row.extend([human_bytes(file.size_bytes).into(), done.into(), Cell::path(path)]);
        table.row(row);
    }
    table
}

pub(crate) fn peers_table(peers: &[Peer]) -> Table {
    let mut table = Table::new()
        .column("ADDRESS", Align::Left, false)
        .column("CLIENT", Align::Left, true)
        .column("HAS", Align::Right, false)
        .column("DOWN", Align::Right, false)
        .column("UP", Align::Right, false)
        .column("FLAGS", Align::Left, false)
        .column("FROM", Align::Left, false);
    for peer in peers {
        table.row(vec![
            Cell::from(&peer.address),
            Cell::from(&peer.client),
            percent(peer.progress).into(),
            rate_or_blank(peer.down_rate).into(),
            rate_or_blank(peer.up_rate).into(),
            flags(peer).into(),
            Cell::from(&peer.source),
        ]);
    }
    table
}

/// Addresses that are banned, at this Unix time.
pub(crate) fn bans_table(bans: &[Ban], now: u64) -> Table {
    let mut table = Table::new()
        .column("ADDRESS", Align::Left, false)
        .column("SINCE", Align::Right, false)
        .column("FOR", Align::Right, false)
        .column("TIMES", Align::Right, false)
        .column("WHY", Align::Left, true);
    for ban in bans {
        table.row(vec![
            Cell::from(&ban.address),
            human_secs(now.saturating_sub(ban.banned_at)).into(),
            human_secs(ban.until.saturating_sub(now)).into(),
            ban.times.to_string().into(),
            Cell::from(&ban.reason),
        ]);
    }
    table
}

/// What other clients show: D/d downloading or wanting to, U/u uploading or it wanting us to,
/// O outgoing, E encrypted, e only the handshake, P uTP, S snubbed.
fn flags(peer: &Peer) -> String {
    let both = |wants: bool, choked: bool, yes: char, no: char| match (wants, choked) {
        (false, _) => None,
        (true, false) => Some(yes),
        (true, true) => Some(no),
    };
    let on = |set: bool, letter: char| set.then_some(letter);
    let encryption = match peer.encryption {
        PeerEncryption::None => None,
        PeerEncryption::Handshake => Some('e'),
        PeerEncryption::Rc4 => Some('E'),
    };
    [
        both(peer.we_interested, peer.we_choked, 'D', 'd'),
        both(peer.peer_interested, peer.peer_choked, 'U', 'u'),
        on(peer.outgoing, 'O'),
        encryption,
        on(peer.transport == "utp", 'P'),
        on(peer.snubbed, 'S'),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) fn trackers_table(trackers: &[Tracker]) -> Table {
    let mut table = Table::new()
        .column("TIER", Align::Right, false)
        .column("URL", Align::Left, true)
        .column("STATUS", Align::Left, false)
        .column("PEERS", Align::Right, false)
        .column("SEEDS", Align::Right, false)
        .column("LEECHES", Align::Right, false)
        .column("COMPLETED", Align::Right, false)
        .column("NEXT", Align::Right, false)
        .expendable(&["SEEDS", "PEERS", "TIER", "NEXT"]);
    for tracker in trackers {
        let number = |n: Option<u32>| Cell::from(known(n, |n| n.to_string()));
        table.row(vec![
            tracker.tier.to_string().into(),
            Cell::from(&tracker.url),
            known(tracker.status.as_deref(), str::to_owned).into(),
            number(tracker.peers),
            number(tracker.seeds),
            number(tracker.leeches),
            number(tracker.completed),
            known(tracker.next_announce_secs, human_secs).into(),
        ]);
        // Too long for a column, and what one looks for when something is wrong.
        if let Some(message) = tracker.message.as_deref().filter(|message| !message.is_empty()) {
            table.under(message);
        }
    }
    table
}

/// Does the map, in the order of the wire (BEP 3), have this piece?
fn has(have: &[u8], piece: usize) -> bool {
    let digit = have.get(piece / 4).and_then(|digit| (*digit as char).to_digit(16)).unwrap_or(0);
    digit & (8 >> (piece % 4)) != 0
}

/// A line of characters, each for an equal share of the pieces: `#` all there, `+` some, `.` none.
pub(super) fn pieces_map(pieces: &Pieces, terminal: Terminal) -> String {
    let total = pieces.count as usize;
    let columns = terminal.columns.unwrap_or(MAP_COLUMNS).min(total);
    let have = pieces.have.as_bytes();
    let share = |column: usize| {
        let range = column * total / columns..(column + 1) * total / columns;
        let there = range.clone().filter(|&piece| has(have, piece)).count();
        match there {
            0 => '.',
            all if all == range.len() => '#',
            _ => '+',
        }
    };
    let map: String = (0..columns).map(share).collect();
    let there = (0..total).filter(|&piece| has(have, piece)).count();
    let rarest = pieces.availability.iter().min().map(|copies| format!(", rarest {copies} among peers"));
    format!("{map}\n{there} of {}{}\n", count(total, "piece"), rarest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_reads_the_first_piece_from_the_highest_bit() {
        let pieces = Pieces { count: 10, have: "a1c0".into(), availability: vec![] };
        assert!(pieces_map(&pieces, Terminal::default()).starts_with("#.#....###\n5 of 10 pieces"));
        let narrow = Terminal { columns: Some(5), ..Terminal::default() };
        assert!(pieces_map(&pieces, narrow).starts_with("++.+#\n"));
        assert!(pieces_map(&Pieces::default(), narrow).starts_with("\n0 of 0 pieces"));
    }

    #[test]
    fn flags_tell_transfer_from_wish() {
        let peer = Peer { we_interested: true, peer_interested: true, peer_choked: true, ..Peer::default() };
        assert_eq!(flags(&peer), "Du");
    }
}
