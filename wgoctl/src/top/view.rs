//! How `top` looks: the daemon above, torrents in the middle, what one looks closer at below, keys last.
//!
//! All text from outside goes through [`clean`]. Colours are the terminal's own sixteen, so that they fit
//! light and dark ones; where there are none, the choice is still reversed and titles are bold.
use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, RenderDirection, Sparkline};
use unicode_width::UnicodeWidthStr;
use wgo_api::result::{Daemon, ShowResult};
use wgo_api::torrent::{State, Torrent};

use super::keys::KEYS;
use super::model::{Line as Written, Mode, Model, ORDERS, Pane};
use crate::clean::clean;
use crate::console::Terminal;
use crate::list::{Column, column};
use crate::show::pages::{files_table, peers_table, trackers_table};
use crate::table::{Align, Table, Tone, cut};
use crate::units::{count, human_rate, human_secs, limit};

/// Columns and their width, the last the first to go on a narrow terminal; the name takes the rest.
const COLUMNS: &[(&str, usize)] = &[
    ("progress", 6),
    ("state", 11),
    ("down", 9),
    ("up", 9),
    ("eta", 8),
    ("size", 7),
    ("peers", 5),
    ("ratio", 6),
];
/// From left to right.
const PLACES: &[&str] = &["name", "state", "progress", "size", "down", "up", "eta", "ratio", "peers"];
/// Columns between two.
const GAP: usize = 1;
/// Columns of a name that other columns leave it.
const NAME: usize = 20;
/// Both rates stand in one line from this width on.
const WIDE: u16 = 60;
/// Lines of a screen on which there is room for more than the list.
const TALL: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let area = frame.area();
    let head = match area.height {
        0..TALL => 0,
        _ if area.width >= WIDE => 2,
        _ => 3,
    };
    let foot = if area.height >= 4 { 2 } else { 0 };
    let room = area.height.saturating_sub(head + foot);
    let pane = if model.pane() != Pane::Closed && room >= 6 { room / 2 } else { 0 };
    let parts =
        [Constraint::Length(head), Constraint::Min(0), Constraint::Length(pane), Constraint::Length(foot)];
    let [top, list, lower, bottom] = Layout::vertical(parts).areas(area);
    header(frame, top, model);
    torrents(frame, list, model);
    detail(frame, lower, model);
    footer(frame, bottom, model);
    if model.mode == Mode::Help {
        help(frame, area, model);
    }
}

fn style(tone: Tone, color: bool) -> Style {
    let colored = |color_of: Color| if color { Style::new().fg(color_of) } else { Style::new() };
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => colored(Color::Green),
        Tone::Calm => colored(Color::Cyan),
        Tone::Warn => colored(Color::Yellow),
        Tone::Bad => colored(Color::Red),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
    }
}

/// A line at `row` of `area`.
fn put(frame: &mut Frame<'_>, area: Rect, row: u16, line: Line<'_>) {
    if row < area.height {
        frame.render_widget(line, Rect { y: area.y + row, height: 1, ..area });
    }
}

fn header(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width);
    let title = match (&model.lost, &model.daemon) {
        (Some(why), _) => Span::styled(cut(why, width), style(Tone::Bad, model.color)),
        (None, Some(daemon)) => {
            Span::styled(cut(&summary(daemon, model.count(), width), width), style(Tone::Strong, model.color))
        }
        (None, None) => Span::styled("wgod", style(Tone::Strong, model.color)),
    };
    put(frame, area, 0, title.into());
    let (down, up) = match &model.daemon {
        Some(daemon) => {
            (with_limit(daemon.down_rate, daemon.limits.down), with_limit(daemon.up_rate, daemon.limits.up))
        }
        None => ("-".to_owned(), "-".to_owned()),
    };
    if area.height == 2 {
        let line = Rect { y: area.y + 1, height: 1, ..area };
        let [left, _, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(line);
        rate(frame, left, &format!("↓ {down}"), &model.down, style(Tone::Good, model.color));
        rate(frame, right, &format!("↑ {up}"), &model.up, style(Tone::Calm, model.color));
    } else {
        let line = |row| Rect { y: area.y + row, height: 1, ..area };
        rate(frame, line(1), &format!("↓ {down}"), &model.down, style(Tone::Good, model.color));
        rate(frame, line(2), &format!("↑ {up}"), &model.up, style(Tone::Calm, model.color));
    }
}

/// The daemon in a line; less of it where there is little room.
fn summary(daemon: &Daemon, torrents: usize, width: usize) -> String {
    let states: Vec<String> = State::ALL
        .iter()
        .filter_map(|state| daemon.torrents.get(state).filter(|&&n| n > 0).map(|n| format!("{n} {state}")))
        .collect();
    let version = format!("wgod {}", clean(&daemon.version));
    let up = format!("up {}", human_secs(daemon.uptime_secs));
    let peers = count(daemon.peers as usize, "peer");
    let whole = format!("{version}  {up}  {peers}  {}", count(torrents, "torrent"));
    let detailed = format!("{whole}: {}", states.join(", "));
    match width {
        width if !states.is_empty() && detailed.width() <= width => detailed,
        width if whole.width() <= width => whole,
        _ => format!("{version}  {peers}"),
    }
}

fn with_limit(rate: u64, limited: u64) -> String {
    match limited {
        0 => human_rate(rate),
        limited => format!("{} of {}", human_rate(rate), limit(limited)),
    }
}

/// A rate and its past, the present at the right end of it.
fn rate(frame: &mut Frame<'_>, area: Rect, text: &str, past: &VecDeque<u64>, style: Style) {
    /// Columns for the text, so that the line of the past doesn't jump with it.
    const TEXT: usize = 12;
    let text = cut(text, usize::from(area.width));
    let taken = (text.width().max(TEXT) + 1).min(usize::from(area.width)) as u16;
    put(frame, area, 0, Line::from(text));
    let room = Rect { x: area.x + taken, width: area.width - taken, ..area };
    let newest: Vec<u64> = past.iter().copied().take(room.width.into()).collect();
    let line = Sparkline::default().data(newest).direction(RenderDirection::RightToLeft).style(style);
    frame.render_widget(line, room);
}

/// The columns for this width, with theirs.
fn columns(width: usize) -> Vec<(&'static Column, usize)> {
    let mut left = width.saturating_sub(NAME);
    let mut chosen = Vec::new();
    for &(name, wide) in COLUMNS {
        // On the narrowest the share that is done stays beside a shorter name.
        if left < wide + GAP && !(chosen.is_empty() && width >= 2 * wide) {
            break;
        }
        left = left.saturating_sub(wide + GAP);
        chosen.push((name, wide));
    }
    let taken: usize = chosen.iter().map(|(_, wide)| wide + GAP).sum();
    let wide = |name: &str| match name {
        "name" => Some(width.saturating_sub(taken)),
        _ => chosen.iter().find(|(other, _)| *other == name).map(|(_, wide)| *wide),
    };
    PLACES.iter().filter_map(|name| Some((column(name).ok()?, wide(name)?))).collect()
}

fn torrents(frame: &mut Frame<'_>, area: Rect, model: &mut Model) {
    if area.height == 0 {
        return;
    }
    let columns = columns(area.width.into());
    put(frame, area, 0, titles(&columns, model));
    let rows = Rect { y: area.y + 1, height: area.height - 1, ..area };
    model.rows = rows.height.into();
    let place = model.place();
    // The choice stays on the screen, and the list in it.
    let last = place.unwrap_or(0);
    let highest = model.shown().len().saturating_sub(model.rows);
    model.top = model.top.min(last).max((last + 1).saturating_sub(model.rows)).min(highest);
    if model.shown().len() == 0 && model.lost.is_none() {
        let text = match model.search.is_empty() {
            true => "No torrents: wgoctl add FILE.torrent",
            false => "None has this in its name",
        };
        put(frame, rows, 0, Line::styled(cut(text, rows.width.into()), style(Tone::Faint, model.color)));
    }
    for (row, torrent) in model.shown().enumerate().skip(model.top).take(model.rows) {
        let Some(torrent) = torrent else { continue };
        let chosen = place == Some(row);
        put(frame, rows, (row - model.top) as u16, line_of(torrent, &columns, chosen, model.color));
    }
}

fn titles(columns: &[(&Column, usize)], model: &Model) -> Line<'static> {
    let bold = style(Tone::Strong, model.color);
    let ordered_by = ORDERS.get(model.order).copied().unwrap_or_default();
    let mut spans = Vec::new();
    for (column, width) in columns {
        let by = column.name == ordered_by;
        let style = if by { bold.add_modifier(Modifier::UNDERLINED) } else { bold };
        spans.extend(cell(column.title, *width, column.align, style));
    }
    Line::from(spans)
}

fn line_of(torrent: &Torrent, columns: &[(&Column, usize)], chosen: bool, color: bool) -> Line<'static> {
    let mut spans = Vec::new();
    for (column, width) in columns {
        let (text, tone) = (column.cell)(torrent).into_parts();
        // One look for the whole of a reversed line.
        let style = if chosen { Style::new() } else { style(tone, color) };
        spans.extend(cell(&text, *width, column.align, style));
    }
    let line = Line::from(spans);
    if chosen { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

/// A cell of this width and the gap behind it.
fn cell(text: &str, width: usize, align: Align, style: Style) -> [Span<'static>; 3] {
    let text = cut(text, width);
    let pad = width.saturating_sub(text.width());
    let (before, after) = if align == Align::Right { (pad, 0) } else { (0, pad) };
    [Span::raw(" ".repeat(before)), Span::styled(text, style), Span::raw(" ".repeat(after + GAP))]
}

fn detail(frame: &mut Frame<'_>, area: Rect, model: &mut Model) {
    if area.height == 0 {
        return;
    }
    let title = match model.pane() {
        Pane::Closed => return,
        Pane::Peers => "Peers",
        Pane::Files => "Files",
        Pane::Trackers => "Trackers",
    };
    let name = model.selected().map(|torrent| clean(&torrent.name)).unwrap_or_default();
    let title = format!("── {title} of {name} ");
    let width = usize::from(area.width);
    let title =
        format!("{:─<1$}", cut(&title, width), width.saturating_sub(title.width()) + title.chars().count());
    put(frame, area, 0, Line::styled(cut(&title, width), style(Tone::Faint, model.color)));
    let text = model.detail.as_ref().map(|shown| table(shown, model.pane(), width)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let room = usize::from(area.height) - 1;
    model.scroll = model.scroll.min(lines.len().saturating_sub(room));
    // The titles stay when the rest is scrolled.
    let titles = lines.first().into_iter();
    let body = lines.iter().skip(1 + model.scroll);
    for (row, line) in titles.chain(body).take(room).enumerate() {
        let style = if row == 0 { style(Tone::Strong, model.color) } else { Style::new() };
        put(frame, area, row as u16 + 1, Line::styled((*line).to_owned(), style));
    }
}

/// What the lower pane shows, as lines; the first is the titles.
fn table(shown: &ShowResult, pane: Pane, width: usize) -> String {
    let terminal = Terminal { columns: Some(width), ..Terminal::default() };
    let render =
        |table: Table| if table.is_empty() { "none".to_owned() } else { table.render(terminal, true) };
    // An answer may be to what was asked before the pane was changed.
    let table = match pane {
        Pane::Closed => None,
        Pane::Peers => shown.peers.as_deref().map(peers_table),
        Pane::Files => shown.files.as_deref().map(files_table),
        Pane::Trackers => shown.trackers.as_deref().map(trackers_table),
    };
    table.map(render).unwrap_or_default()
}

fn footer(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let width = usize::from(area.width);
    let line = |text: &str, tone| Line::styled(cut(text, width), style(tone, model.color));
    let (first, second) = match &model.mode {
        Mode::Remove { name, data, .. } => {
            let question = match data {
                false => format!("Remove, keeping the files: {}?", clean(name)),
                true => format!("REMOVE WITH ALL FILES: {}?", clean(name)),
            };
            (line(&question, Tone::Bad), line("y yes  other keys no", Tone::Strong))
        }
        Mode::Write { what, text } => {
            let what = match what {
                Written::Search => "Search",
                Written::Down(_) => "Download limit, 0 is none",
                Written::Up(_) => "Upload limit, 0 is none",
            };
            // The end of a long line is where one writes.
            let mut shown = clean(text);
            while shown.width() + 3 > width && !shown.is_empty() {
                shown.remove(0);
            }
            (line(what, Tone::Faint), Line::from(format!("> {shown}▏")))
        }
        Mode::Browse | Mode::Help => (said(model, width), keys(model, width)),
    };
    put(frame, area, 0, first);
    put(frame, area, 1, second);
}

/// What became of the last key, else what is wrong with the chosen torrent, else what is searched for.
fn said(model: &Model, width: usize) -> Line<'static> {
    let error = model.selected().and_then(|torrent| torrent.error.as_deref());
    let (text, tone) = match (&model.notice, error) {
        (Some(Ok(text)), _) => (text.clone(), Tone::Good),
        (Some(Err(text)), _) => (text.clone(), Tone::Bad),
        (None, Some(error)) => (error.to_owned(), Tone::Bad),
        (None, None) if !model.search.is_empty() => {
            (format!("With {:?}; Esc ends it", model.search), Tone::Faint)
        }
        (None, None) => return Line::default(),
    };
    Line::styled(cut(&clean(&text), width), style(tone, model.color))
}

/// As many keys as fit.
fn keys(model: &Model, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, what) in KEYS {
        let needed = key.width() + 1 + what.width() + if used == 0 { 0 } else { 2 };
        if used + needed > width {
            break;
        }
        if used > 0 {
            spans.push(Span::raw("  "));
        }
        spans.push(Span::styled((*key).to_owned(), style(Tone::Strong, model.color)));
        spans.push(Span::styled(format!(" {what}"), style(Tone::Faint, model.color)));
        used += needed;
    }
    Line::from(spans)
}

fn help(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let wide = KEYS.iter().map(|(key, _)| key.width()).max().unwrap_or(0);
    let lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(key, what)| {
            let pad = " ".repeat(wide - key.width());
            Line::from(vec![
                Span::styled(format!("{key}{pad}"), style(Tone::Strong, model.color)),
                Span::raw(format!("  {what}")),
            ])
        })
        .collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}
