//! What each key of `top` does.
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use wgo_api::units::Rate;

use super::model::{Line, Mode, Model, ORDERS, Pane, Wish};

/// Characters of a line that is written.
const LONGEST: usize = 200;

/// Keys and what they do, as the help shows them; the first go into the line at the bottom.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("?", "help"),
    ("q", "quit"),
    ("s", "start"),
    ("x", "stop"),
    ("d", "remove"),
    ("Tab", "peers, files, trackers"),
    ("o", "order"),
    ("/", "search"),
    ("v", "verify"),
    ("a", "announce"),
    ("l", "limit download"),
    ("u", "limit upload"),
    ("D", "remove with its files"),
    ("O", "order back"),
    ("r", "reverse order"),
    ("↑ ↓", "choose, also k j"),
    ("K J", "scroll the lower pane"),
    ("Esc", "close, clear"),
];

impl Model {
    /// Does what the key says, and returns what the model can't do.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Some(Wish::Quit),
                KeyCode::Char('z') => return Some(Wish::Suspend),
                // Bytes that a terminal sends for a key with Control are no letters.
                _ => return None,
            }
        }
        match std::mem::take(&mut self.mode) {
            Mode::Help => None,
            Mode::Remove { id, data, .. } => match key.code {
                KeyCode::Char('y') => Some(Wish::Remove { id, data }),
                _ => {
                    self.notice = Some(Ok("Nothing removed".to_owned()));
                    None
                }
            },
            Mode::Write { what, text } => self.write(what, text, key.code),
            Mode::Browse => self.browse(key.code),
        }
    }

    fn browse(&mut self, code: KeyCode) -> Option<Wish> {
        self.notice = None;
        let place = self.place().unwrap_or(0);
        let page = self.rows.max(1);
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => return self.go(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => return self.go(place + 1),
            KeyCode::PageUp => return self.go(place.saturating_sub(page)),
            KeyCode::PageDown => return self.go(place + page),
            KeyCode::Home | KeyCode::Char('g') => return self.go(0),
            KeyCode::End | KeyCode::Char('G') => return self.go(usize::MAX),
            KeyCode::Char('o') => self.reorder(1),
            KeyCode::Char('O') => self.reorder(ORDERS.len() - 1),
            KeyCode::Char('r') => {
                self.descending = !self.descending;
                self.arrange();
            }
            KeyCode::Tab | KeyCode::Enter => {
                self.open(self.pane().next());
                return Some(Wish::Look);
            }
            KeyCode::Char('J') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Char('K') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Char('/') => {
                self.mode = Mode::Write { what: Line::Search, text: self.search.clone() };
            }
            KeyCode::Esc if self.pane() != Pane::Closed => self.open(Pane::Closed),
            KeyCode::Esc => {
                self.search.clear();
                self.arrange();
            }
            KeyCode::Char(letter) => return self.act(letter),
            _ => {}
        }
        None
    }

    /// What is done with the chosen torrent.
    fn act(&mut self, letter: char) -> Option<Wish> {
        let (id, name) = self.selected().map(|torrent| (torrent.info_hash.clone(), torrent.name.clone()))?;
        let write = |what| Mode::Write { what, text: String::new() };
        match letter {
            's' => return Some(Wish::Start(id)),
            'x' => return Some(Wish::Stop(id)),
            'v' => return Some(Wish::Verify(id)),
            'a' => return Some(Wish::Announce(id)),
            'd' | 'D' => self.mode = Mode::Remove { id, name, data: letter == 'D' },
            'l' => self.mode = write(Line::Down(id)),
            'u' => self.mode = write(Line::Up(id)),
            _ => self.notice = Some(Err(format!("No key {letter}; ? lists them"))),
        }
        None
    }

    fn go(&mut self, row: usize) -> Option<Wish> {
        self.choose(row);
        (self.pane() != Pane::Closed).then_some(Wish::Look)
    }

    fn reorder(&mut self, by: usize) {
        self.order = (self.order + by) % ORDERS.len();
        // The largest first, where that is what one looks for.
        self.descending = !matches!(ORDERS[self.order], "state" | "name" | "eta");
        self.arrange();
        self.choose(0);
    }

    fn write(&mut self, what: Line, mut text: String, code: KeyCode) -> Option<Wish> {
        match code {
            KeyCode::Esc => {
                if what == Line::Search {
                    self.search.clear();
                    self.arrange();
                }
                return None;
            }
            KeyCode::Enter => return self.written(what, &text),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(c) if text.chars().count() < LONGEST => text.push(c),
            _ => {}
        }
        if what == Line::Search {
            self.search.clone_from(&text);
            self.arrange();
        }
        self.mode = Mode::Write { what, text };
        None
    }

    fn written(&mut self, what: Line, text: &str) -> Option<Wish> {
        let (id, up) = match what {
            Line::Search => return None,
            _ if text.trim().is_empty() => return None,
            Line::Down(id) => (id, false),
            Line::Up(id) => (id, true),
        };
        match text.trim().parse::<Rate>() {
            Ok(Rate(rate)) => {
                let (up, down) = if up { (Some(rate), None) } else { (None, Some(rate)) };
                Some(Wish::Limit { id, up, down })
            }
            Err(error) => {
                self.notice = Some(Err(error.to_string()));
                None
            }
        }
    }
}
