//! Tables that fit the terminal: columns as wide as their cells, the flexible ones cut where it lacks.
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::clean::clean;
use crate::console::Terminal;
use crate::wrap::wrap;

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Colours, by what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As the terminal has it.
    #[default]
    Plain,
    /// Works.
    Good,
    /// Is done.
    Calm,
    /// Could be better.
    Warn,
    /// Needs attention.
    Bad,
    /// Does not matter now.
    Faint,
    /// Titles.
    Strong,
}

impl Tone {
    /// `text` in this tone (ECMA-48 SGR), or as it is.
    pub fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            Tone::Plain => return text.to_owned(),
            _ if !color || text.is_empty() => return text.to_owned(),
            Tone::Good => "32",
            Tone::Calm => "36",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One cell; its text is made safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
    cut: Cut,
}

/// What of a text goes where it is too wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Its end.
    End,
    /// The folders that it begins with: files next to each other differ in their names.
    Folders,
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(text: &str, tone: Tone) -> Self {
        Self { text: clean(text), tone, cut: Cut::End }
    }

    /// A cell with a path, of which the name at its end is kept longest.
    pub fn path(path: &str) -> Self {
        Self { text: clean(path), tone: Tone::Plain, cut: Cut::Folders }
    }

    /// Its text in at most `width` columns.
    fn in_width(&self, width: usize) -> String {
        match self.cut {
            Cut::End => cut(&self.text, width),
            Cut::Folders => cut_path(&self.text, width),
        }
    }

    /// Its text, safe to print, and its tone.
    pub fn into_parts(self) -> (String, Tone) {
        (self.text, self.tone)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text.as_ref(), Tone::Plain)
    }
}

#[derive(Clone, Debug)]
struct Column {
    title: &'static str,
    align: Align,
    flexible: bool,
}

#[derive(Clone, Debug)]
struct Row {
    cells: Vec<Cell>,
    under: Vec<String>,
}

/// A table being filled.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Titles of columns that go when the terminal is too narrow, the first first.
    expendable: Vec<&'static str>,
}

/// Columns before what stands below a row.
const INDENT: usize = 6;
/// Columns between two cells.
const GAP: usize = 2;
/// Flexible columns are not cut below this, or half of a very narrow terminal: less of a name says nothing.
const MIN_FLEXIBLE: usize = 16;
/// Ends a text that was cut.
const CUT: char = '…';

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column. A flexible one gives way when the terminal is too narrow.
    pub fn column(mut self, title: &'static str, align: Align, flexible: bool) -> Self {
        self.columns.push(Column { title, align, flexible });
        self
    }

    /// Adds a row with one cell per column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(Row { cells, under: Vec::new() });
    }

    /// Adds text below the last row, over as many lines as it takes.
    pub fn under(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.under.push(clean(text));
        }
    }

    /// Names columns, by title, that are left out one by one where not all fit.
    pub fn expendable(mut self, titles: &[&'static str]) -> Self {
        self.expendable = titles.to_vec();
        self
    }

    /// Nothing in it?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines. Each ends in a line feed, and none in spaces.
    pub fn render(&self, terminal: Terminal, header: bool) -> String {
        let widths = self.widths(terminal.columns, header);
        let mut out = String::new();
        if header {
            let titles = self.columns.iter().map(|column| Cell::toned(column.title, Tone::Strong));
            self.line(&titles.collect::<Vec<_>>(), &widths, terminal, &mut out);
        }
        let indent = " ".repeat(INDENT);
        for row in &self.rows {
            self.line(&row.cells, &widths, terminal, &mut out);
            let room = terminal.columns.map_or(usize::MAX, |columns| columns.saturating_sub(INDENT));
            for line in row.under.iter().flat_map(|text| wrap(text, room)) {
                out.push_str(&format!("{indent}{line}\n"));
            }
        }
        out
    }

    /// Width of each column: its widest cell, less what flexible ones have to give; `None` for a
    /// column that is left out.
    fn widths(&self, available: Option<usize>, header: bool) -> Vec<Option<usize>> {
        let natural = |(i, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(i)).map(|cell| cell.text.width());
            Some(cells.max().unwrap_or(0).max(if header { column.title.width() } else { 0 }))
        };
        let mut widths: Vec<Option<usize>> = self.columns.iter().enumerate().map(natural).collect();
        let Some(available) = available else { return widths };
        let least_flexible = MIN_FLEXIBLE.min(available / 2);
        for title in &self.expendable {
            let least = |(column, width): (&Column, &Option<usize>)| {
                width.map(|width| if column.flexible { width.min(least_flexible) } else { width })
            };
            if total(self.columns.iter().zip(&widths).map(least)) <= available {
                break;
            }
            if let Some(i) = self.columns.iter().position(|column| column.title == *title) {
                widths[i] = None;
            }
        }
        for _ in available..total(widths.iter().copied()) {
            // The widest gives first, down to the next.
            let flexible = self.columns.iter().zip(&mut widths).filter(|(column, _)| column.flexible);
            let widest = flexible.filter_map(|(_, width)| width.as_mut()).max_by_key(|width| **width);
            let Some(widest) = widest.filter(|width| **width > least_flexible) else { break };
            *widest -= 1;
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[Option<usize>], terminal: Terminal, out: &mut String) {
        let mut used = 0;
        let mut owed = 0;
        for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
            let Some(width) = *width else { continue };
            // Where even cut columns do not fit, the rest of the line is left out.
            let room = terminal.columns.map_or(width, |all| all.saturating_sub(used).min(width));
            let text = cell.in_width(room);
            let pad = room.saturating_sub(text.width());
            let (before, after) = if column.align == Align::Right { (pad, 0) } else { (0, pad) };
            if text.is_empty() {
                owed += before;
            } else {
                out.push_str(&" ".repeat(owed + before));
                out.push_str(&cell.tone.paint(&text, terminal.color));
                owed = 0;
            }
            owed += after + GAP;
            used += width + GAP;
        }
        out.push('\n');
    }
}

/// Columns of a line with cells of these widths and the gaps between them.
fn total(widths: impl Iterator<Item = Option<usize>>) -> usize {
    widths.flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// `path` in at most `width` columns: as few of the folders before its name as possible are left out.
fn cut_path(path: &str, width: usize) -> String {
    if path.width() <= width {
        return path.to_owned();
    }
    let rests = path.match_indices('/').map(|(slash, _)| &path[slash..]).filter(|rest| rest.len() > 1);
    let (mut short, mut last) = (None, None);
    for rest in rests {
        short = short.or_else(|| (rest.width() < width).then_some(rest));
        last = Some(rest);
    }
    match short.or(last) {
        Some(rest) => cut(&format!("{CUT}{rest}"), width),
        None => cut(path, width),
    }
}

/// `text` in at most `width` columns; one that is cut ends in `…`.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    if width > 0 {
        out.push(CUT);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new()
            .column("NAME", Align::Left, true)
            .column("SIZE", Align::Right, false)
            .column("STATE", Align::Left, false);
        table.row(vec!["漢字 Linux".into(), "5 B".into(), Cell::toned("seeding", Tone::Calm)]);
        table.row(vec!["a name of many letters, far too long".into(), "100 B".into(), "x".into()]);
        table
    }

    fn at(columns: Option<usize>) -> Terminal {
        Terminal { columns, ..Terminal::default() }
    }

    #[test]
    fn columns_line_up_by_width_on_the_screen() {
        let text = table().render(at(None), true);
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, what: &str| line[..line.find(what).unwrap()].width();
        assert_eq!(column(lines[1], "seeding"), column(lines[0], "STATE"));
        assert_eq!(column(lines[2], " x") + 1, column(lines[0], "STATE"));
        assert_eq!(
            lines[1].find("5 B").map(|i| lines[1][..i].width() + 3),
            lines[2].find("100 B").map(|i| i + 5)
        );
        assert!(!text.contains('\u{1b}') && !text.contains(" \n"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [40, 33, 25, 10] {
            let text = table().render(at(Some(columns)), true);
            for line in text.lines() {
                assert!(line.width() <= columns, "{columns}: {line}");
            }
        }
        assert!(table().render(at(Some(40)), false).contains("a name of many letters,…"));
    }

    #[test]
    fn expendable_columns_go_before_a_line_is_cut() {
        let narrow = |columns| table().expendable(&["SIZE", "STATE"]).render(at(Some(columns)), true);
        assert!(narrow(40).contains("SIZE") && narrow(40).contains("STATE"));
        assert!(!narrow(30).contains("SIZE") && narrow(30).contains("STATE"));
        // On a very narrow one the name gives more before the last of them goes.
        assert!(narrow(20).contains("STATE") && !narrow(16).contains("STATE"));
    }

    #[test]
    fn hostile_cells_are_harmless_and_colours_are_only_ours() {
        let mut table = Table::new().column("NAME", Align::Left, true);
        table.row(vec!["\u{1b}]0;pwned\u{7}".into()]);
        table.row(vec![Cell::toned("bad", Tone::Bad)]);
        let plain = table.render(at(Some(40)), false);
        assert!(!plain.contains('\u{1b}') && !plain.contains('\u{7}'));
        let colored = table.render(Terminal { color: true, ..at(None) }, false);
        assert!(colored.contains("\u{1b}[31mbad\u{1b}[0m"));
        assert_eq!(colored.matches('\u{1b}').count(), 2);
    }

    #[test]
    fn of_a_path_the_name_is_kept() {
        for (path, width, expected) in [
            ("a/b/c.txt", 9, "a/b/c.txt"),
            ("a/b/c.txt", 8, "…/c.txt"),
            ("aa/bb/c.txt", 10, "…/bb/c.txt"),
            ("aa/bb/c.txt", 6, "…/c.t…"),
            ("/srv/media/", 10, "…/media/"),
            ("漢字/漢字", 6, "…/漢字"),
            ("no folder", 5, "no f…"),
            ("/", 0, ""),
        ] {
            assert_eq!(cut_path(path, width), expected, "{path}");
        }
    }

    #[test]
    fn what_stands_under_a_row_is_wrapped_and_harmless() {
        let mut table = table();
        table.under("some words\u{7} more");
        let lines = table.render(at(Some(20)), false);
        assert!(lines.ends_with("\n      some words\u{FFFD}\n      more\n"), "{lines}");
    }

    #[test]
    fn cutting_keeps_within_the_width() {
        for (text, width, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("漢字漢", 4, "漢…"), ("ab", 1, "…"), ("ab", 0, "")]
        {
            assert_eq!(cut(text, width), expected);
        }
    }
}
