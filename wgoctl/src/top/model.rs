//! What `top` knows and how it is looked at: torrents, order, choice, the lower pane, what is being asked.
use std::collections::{BTreeMap, VecDeque};

use wgo_api::result::{Daemon, ListResult, ShowResult, StatusResult};
use wgo_api::torrent::{Filter, Torrent};

use crate::clean::clean;
use crate::list::column;

/// Columns that torrents can be ordered by, in the order in which `o` goes through them.
pub(super) const ORDERS: &[&str] =
    &["state", "name", "progress", "size", "down", "up", "eta", "ratio", "peers", "added"];

/// Rates that are kept for the sparklines: more than any terminal has columns.
const HISTORY: usize = 512;

/// What is in the lower pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Closed,
    Peers,
    Files,
    Trackers,
}

impl Pane {
    pub(super) fn next(self) -> Pane {
        match self {
            Pane::Closed => Pane::Peers,
            Pane::Peers => Pane::Files,
            Pane::Files => Pane::Trackers,
            Pane::Trackers => Pane::Closed,
        }
    }
}

/// What the keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Choosing torrents and acting on them.
    #[default]
    Browse,
    /// Looking at the list of keys.
    Help,
    /// Answering whether to remove this torrent, and its files.
    Remove { id: String, name: String, data: bool },
    /// Writing a line.
    Write { what: Line, text: String },
}

/// What is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Text to look for in names.
    Search,
    /// The download limit of a torrent.
    Down(String),
    /// Its upload limit.
    Up(String),
}

/// What the model can't do itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Suspend,
    /// What is on the screen has to be asked for.
    Look,
    Start(String),
    Stop(String),
    Verify(String),
    Announce(String),
    Remove {
        id: String,
        data: bool,
    },
    Limit {
        id: String,
        up: Option<u64>,
        down: Option<u64>,
    },
}

/// Everything that is on the screen.
#[derive(Debug, Default)]
pub(super) struct Model {
    torrents: BTreeMap<String, Torrent>,
    /// Info-hashes of those that are shown, in order.
    shown: Vec<String>,
    /// Info-hash of the chosen torrent.
    selected: Option<String>,
    /// First row of the list on the screen.
    pub(super) top: usize,
    /// Rows of the list on the screen, as last drawn.
    pub(super) rows: usize,
    pub(super) order: usize,
    pub(super) descending: bool,
    pub(super) search: String,
    pub(super) daemon: Option<Daemon>,
    /// The newest first.
    pub(super) down: VecDeque<u64>,
    pub(super) up: VecDeque<u64>,
    pane: Pane,
    /// Lines of the lower pane above the screen.
    pub(super) scroll: usize,
    pub(super) detail: Option<ShowResult>,
    pub(super) mode: Mode,
    /// What became of the last key.
    pub(super) notice: Option<Result<String, String>>,
    /// Why there is no daemon.
    pub(super) lost: Option<String>,
    pub(super) color: bool,
}

impl Model {
    pub(super) fn new(color: bool) -> Model {
        Model { color, ..Model::default() }
    }

    /// The torrents that are shown, in order.
    pub(super) fn shown(&self) -> impl ExactSizeIterator<Item = Option<&Torrent>> {
        self.shown.iter().map(|hash| self.torrents.get(hash))
    }

    pub(super) fn count(&self) -> usize {
        self.torrents.len()
    }

    pub(super) fn pane(&self) -> Pane {
        self.pane
    }

    pub(super) fn selected_hash(&self) -> Option<String> {
        self.selected.clone()
    }

    pub(super) fn selected(&self) -> Option<&Torrent> {
        self.torrents.get(self.selected.as_ref()?)
    }

    /// Row of the chosen torrent in the list.
    pub(super) fn place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.shown.iter().position(|hash| hash == selected)
    }

    pub(super) fn on_list(&mut self, list: ListResult) {
        self.lost = None;
        if list.full {
            self.torrents.clear();
        }
        for hash in &list.removed {
            self.torrents.remove(hash);
        }
        for row in list.torrents {
            self.torrents.insert(row.torrent.info_hash.clone(), row.torrent);
        }
        self.arrange();
    }

    pub(super) fn on_lost(&mut self, why: String) {
        self.lost = Some(clean(&why));
        self.daemon = None;
    }

    pub(super) fn on_look(&mut self, status: Option<StatusResult>, show: Option<ShowResult>) {
        // While there is none, the lines of rates stand at nothing.
        let daemon = status.map(|status| status.daemon);
        let rates = daemon.as_ref().map_or((0, 0), |daemon| (daemon.down_rate, daemon.up_rate));
        for (history, rate) in [(&mut self.down, rates.0), (&mut self.up, rates.1)] {
            history.push_front(rate);
            history.truncate(HISTORY);
        }
        self.daemon = daemon;
        // The choice may have moved on since it was asked for.
        let of_selected =
            |shown: &ShowResult| Some(&shown.torrent.torrent.info_hash) == self.selected.as_ref();
        if let Some(shown) = show.filter(of_selected) {
            self.detail = Some(shown);
        }
    }

    pub(super) fn on_done(&mut self, said: Result<String, String>) {
        self.notice = Some(said.map(|text| clean(&text)).map_err(|text| clean(&text)));
    }

    /// Puts the torrents in order, and keeps the choice.
    pub(super) fn arrange(&mut self) {
        let before = self.place();
        let text = (!self.search.is_empty()).then(|| self.search.clone());
        let filter = Filter { text, ..Filter::default() };
        let mut shown: Vec<&Torrent> =
            self.torrents.values().filter(|torrent| filter.matches(torrent)).collect();
        if let Some(column) = ORDERS.get(self.order).and_then(|name| column(name).ok()) {
            let descending = self.descending;
            shown.sort_by(|a, b| {
                let order = (column.compare)(a, b);
                let order = if descending { order.reverse() } else { order };
                order.then_with(|| a.added_at.cmp(&b.added_at)).then_with(|| a.info_hash.cmp(&b.info_hash))
            });
        }
        self.shown = shown.into_iter().map(|torrent| torrent.info_hash.clone()).collect();
        if self.place().is_none() {
            // Its neighbour, when the chosen one went away.
            self.choose(before.unwrap_or(0));
        }
    }

    /// Chooses the torrent in this row, or the last.
    pub(super) fn choose(&mut self, row: usize) {
        let row = row.min(self.shown.len().saturating_sub(1));
        let chosen = self.shown.get(row).cloned();
        if chosen != self.selected {
            self.selected = chosen;
            self.detail = None;
            self.scroll = 0;
        }
    }

    pub(super) fn open(&mut self, pane: Pane) {
        self.pane = pane;
        self.detail = None;
        self.scroll = 0;
    }
}
