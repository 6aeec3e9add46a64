//! The screen of `top`, drawn without a terminal, and what keys do to it.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use wgo_api::result::{Daemon, File, ListResult, Peer, ShowResult, StatusResult, TorrentDetails};
use wgo_api::torrent::{RateLimits, Row, State, Torrent};

use super::model::{Model, ORDERS, Pane, Wish};
use super::view;

fn torrent(number: u8, name: &str, state: State) -> Torrent {
    let moves = state == State::Downloading;
    Torrent {
        info_hash: format!("{number:02x}").repeat(20),
        name: name.into(),
        state,
        size_bytes: Some(3_900_000_000),
        progress: if moves { 0.421 } else { 1.0 },
        down_rate: if moves { 12_340_000 } else { 0 },
        up_rate: 120_000 * u64::from(number),
        eta_secs: moves.then_some(3725),
        ratio: Some(1.25),
        peers: 12,
        error: (state == State::Error).then(|| "no space left on device".into()),
        added_at: number.into(),
        ..Torrent::default()
    }
}

fn list(torrents: Vec<Torrent>) -> ListResult {
    let torrents = torrents.into_iter().map(|torrent| Row { torrent, fields: Default::default() }).collect();
    ListResult { version: 1, full: true, torrents, removed: Vec::new() }
}

fn status(down_rate: u64) -> StatusResult {
    let torrents = [(State::Downloading, 1), (State::Seeding, 2), (State::Error, 1)].into();
    let limits = RateLimits { up: 1_000_000, down: 0 };
    let daemon = Daemon {
        version: "0.1.0".into(),
        uptime_secs: 90_000,
        peers: 48,
        down_rate,
        up_rate: 480_000,
        torrents,
        limits,
        ..Daemon::default()
    };
    StatusResult { daemon, torrents: None }
}

/// Four torrents and a daemon that gets faster.
fn model() -> Model {
    let mut model = Model::new(false);
    model.on_list(list(vec![
        torrent(1, "debian-13.1.0-amd64-DVD-1.iso", State::Downloading),
        torrent(2, "漢字 Linux \u{1b}[31m\u{202e}and letters that go on and on and on", State::Seeding),
        torrent(3, "archive", State::Error),
        torrent(4, "b", State::Seeding),
    ]));
    for rate in 0..8 {
        model.on_look(Some(status(rate * 2_000_000)), None);
    }
    model
}

/// The screen's lines, without spaces at their ends.
fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let symbol = |x, y| buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
    // A wide character takes two cells, the second of which is empty.
    let line = |y| {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            line.push_str(symbol(x, y));
            x += unicode_width::UnicodeWidthStr::width(symbol(x, y)).max(1) as u16;
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn press(model: &mut Model, keys: &str) -> Option<Wish> {
    let mut wish = None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        wish = model.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    wish
}

/// A model whose lower pane is open, with what is in it.
fn model_with_pane(keys: &str) -> Model {
    let mut model = model();
    press(&mut model, keys);
    let torrent = TorrentDetails { torrent: model.selected().unwrap().clone(), ..Default::default() };
    let peer = Peer {
        address: "192.0.2.1:6881".into(),
        client: "qB 5\u{1b}".into(),
        source: "tracker".into(),
        ..Peer::default()
    };
    let file = |number| File {
        path: format!("iso/{number}.bin"),
        size_bytes: 5_000_000,
        done_bytes: Some(0),
        ..File::default()
    };
    let shown = ShowResult {
        torrent,
        peers: (model.pane() == Pane::Peers).then(|| vec![peer]),
        files: (model.pane() == Pane::Files).then(|| (0..30).map(file).collect()),
        ..ShowResult::default()
    };
    model.on_look(Some(status(1)), Some(shown));
    model
}

#[test]
fn at_80_columns_everything_but_ratio_and_peers_is_there() {
    let expected = [
        "wgod 0.1.0  up 1d 1h  48 peers  4 torrents: 1 downloading, 2 seeding, 1 error",
        "↓ 14.0 MB/s                     ▁▂▃▄▅▆█  ↑ 480 KB/s of 1 MB/s           ████████",
        "NAME                     STATE         DONE    SIZE      DOWN        UP      ETA",
        "debian-13.1.0-amd64-DVD… downloading  42.1% 3.90 GB 12.3 MB/s  120 KB/s    1h 2m",
        "漢字 Linux \u{fffd}[31m\u{fffd}and le… seeding       100% 3.90 GB            240 KB/s",
        "b                        seeding       100% 3.90 GB            480 KB/s",
        "archive                  error         100% 3.90 GB            360 KB/s",
        "",
        "",
        "? help  q quit  s start  x stop  d remove  Tab peers, files, trackers  o order",
    ];
    assert_eq!(screen(&mut model(), 80, 10), expected);
    let wide = screen(&mut model(), 132, 10);
    assert!(wide[2].ends_with("ETA  RATIO PEERS") && wide[3].ends_with("1h 2m   1.25    12"), "{wide:#?}");
}

#[test]
fn at_20_columns_names_shares_and_rates_are_left() {
    let expected = [
        "wgod 0.1.0  48 peers",
        "↓ 14.0 MB/s  ▁▂▃▄▅▆█",
        "↑ 480 KB/s of 1 MB/s",
        "NAME            DONE",
        "debian-13.1.…  42.1%",
        "漢字 Linux \u{fffd}…   100%",
        "b               100%",
        "archive         100%",
        "",
        "? help  q quit",
    ];
    assert_eq!(screen(&mut model(), 20, 10), expected);
}

#[test]
fn no_size_is_too_small_and_nothing_is_drawn_outside() {
    for width in [1, 2, 5, 7, 19, 61] {
        for height in 1..12 {
            for keys in ["", "\t", "?", "d", "/abc"] {
                let mut model = model();
                press(&mut model, keys);
                assert_eq!(screen(&mut model, width, height).len(), usize::from(height));
            }
        }
    }
    assert!(screen(&mut Model::new(true), 80, 24)[3].starts_with("No torrents"));
}

#[test]
fn the_lower_pane_shows_what_tab_chose_and_its_titles_stay() {
    let lines = screen(&mut model_with_pane("\t"), 80, 16);
    assert!(lines[8].starts_with("── Peers of debian-13.1.0-amd64-DVD-1.iso ────"), "{lines:#?}");
    assert_eq!(lines[9], "ADDRESS         CLIENT   HAS  DOWN  UP  FLAGS  FROM");
    assert_eq!(lines[10], "192.0.2.1:6881  qB 5\u{fffd}   0.0%                   tracker");

    let mut files = model_with_pane("\t\t");
    assert!(screen(&mut files, 80, 16)[10].ends_with("iso/0.bin"));
    press(&mut files, "JJ");
    let lines = screen(&mut files, 80, 16);
    assert!(lines[9].ends_with("PATH") && lines[10].ends_with("iso/2.bin"), "{lines:#?}");
    press(&mut files, &"J".repeat(100));
    let lines = screen(&mut files, 80, 16);
    assert!(lines[13].ends_with("iso/29.bin"), "{lines:#?}");
    assert_eq!(press(&mut files, "\u{1b}"), None);
    assert_eq!(files.pane(), Pane::Closed);
}

#[test]
fn the_choice_stays_with_its_torrent_and_on_the_screen() {
    let mut model = model();
    press(&mut model, "j");
    assert_eq!(model.place(), Some(1));
    // The order turned round, but not among equals.
    press(&mut model, "r");
    assert_eq!(model.place(), Some(1));
    assert_eq!(model.selected_hash(), Some("02".repeat(20)));
    screen(&mut model, 80, 5);
    press(&mut model, "G");
    let lines = screen(&mut model, 80, 5);
    assert_eq!(model.place(), Some(3));
    assert!(lines[2].starts_with("debian"), "{lines:#?}");
    // It went away: the last of those that are left is chosen.
    model.on_list(ListResult {
        version: 2,
        full: false,
        torrents: Vec::new(),
        removed: vec!["01".repeat(20)],
    });
    assert_eq!(model.selected_hash(), Some("04".repeat(20)));
    model.on_list(list(Vec::new()));
    assert_eq!((model.selected_hash(), press(&mut model, "xdj")), (None, None));
}

#[test]
fn keys_act_on_the_chosen_torrent() {
    let id = "01".repeat(20);
    for (keys, wish) in [
        ("s", Wish::Start(id.clone())),
        ("x", Wish::Stop(id.clone())),
        ("v", Wish::Verify(id.clone())),
        ("a", Wish::Announce(id.clone())),
        ("dy", Wish::Remove { id: id.clone(), data: false }),
        ("Dy", Wish::Remove { id: id.clone(), data: true }),
        ("l20 MB/s\n", Wish::Limit { id: id.clone(), up: None, down: Some(20_000_000) }),
        ("u5\n", Wish::Limit { id, up: Some(5000), down: None }),
        ("q", Wish::Quit),
        ("\t", Wish::Look),
    ] {
        assert_eq!(press(&mut model(), keys), Some(wish), "{keys:?}");
    }
    for keys in ["dn", "Dq", "d\n", "D\u{1b}", "l\n", "l5\u{1b}", "lfast\n", "Z", "?s"] {
        assert_eq!(press(&mut model(), keys), None, "{keys:?}");
    }
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    assert_eq!(model().on_key(control('c')), Some(Wish::Quit));
    assert_eq!(model().on_key(control('d')), None);
}

#[test]
fn questions_and_mistakes_are_told_at_the_bottom() {
    let bottom = |keys| {
        let mut model = model();
        press(&mut model, keys);
        screen(&mut model, 80, 10)[8..].join("|")
    };
    assert_eq!(bottom("d"), "Remove, keeping the files: debian-13.1.0-amd64-DVD-1.iso?|y yes  other keys no");
    assert_eq!(bottom("D"), "REMOVE WITH ALL FILES: debian-13.1.0-amd64-DVD-1.iso?|y yes  other keys no");
    assert!(bottom("dn").starts_with("Nothing removed|? help"));
    assert!(
        bottom("lfast\n").starts_with("\"fast\" does not begin with a number; write"),
        "{}",
        bottom("lfast\n")
    );
    assert!(bottom("Z").starts_with("No key Z"));
    assert!(bottom("G").starts_with("no space left on device|"));
    assert_eq!(bottom("l20 M"), "Download limit, 0 is none|> 20 M▏");
}

#[test]
fn a_search_leaves_those_that_match_until_escape() {
    let mut model = model();
    press(&mut model, "/LINUX\n");
    assert_eq!(model.shown().len(), 1);
    assert!(screen(&mut model, 80, 10)[8].starts_with("With \"LINUX\""));
    press(&mut model, "/x");
    assert!(screen(&mut model, 80, 10)[3].starts_with("None has this"));
    press(&mut model, "\u{1b}");
    assert_eq!(model.shown().len(), 4);
}

#[test]
fn orders_go_round_with_the_largest_first_where_that_counts() {
    let mut model = model();
    let names =
        |model: &Model| model.shown().flatten().map(|t| t.name.chars().next().unwrap()).collect::<String>();
    assert_eq!(names(&model), "d漢ba");
    press(&mut model, "o");
    assert_eq!(names(&model), "abd漢");
    press(&mut model, "oooo");
    assert_eq!((ORDERS[model.order], names(&model)), ("up", "ba漢d".into()));
    press(&mut model, "OOOOO");
    assert_eq!(names(&model), "d漢ba");
}

#[test]
fn a_daemon_that_is_gone_is_told_and_taken_back() {
    let mut model = model();
    model.on_lost("wgod on /run/s hung up: it has stopped, or was killed".into());
    model.on_look(None, None);
    let lines = screen(&mut model, 80, 10);
    assert!(lines[0].starts_with("wgod on /run/s hung up") && lines[1].starts_with("↓ -"), "{lines:#?}");
    assert!(lines[3].starts_with("debian"), "{lines:#?}");
    model.on_list(list(vec![torrent(9, "new", State::Queued)]));
    model.on_look(Some(status(0)), None);
    let lines = screen(&mut model, 80, 10);
    assert!(lines[0].starts_with("wgod 0.1.0") && lines[3].starts_with("new"), "{lines:#?}");
}

#[test]
fn without_colours_the_choice_is_still_seen() {
    for color in [false, true] {
        let mut model = model();
        model.color = color;
        let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
        terminal.draw(|frame| view::draw(frame, &mut model)).unwrap();
        let buffer = terminal.backend().buffer();
        let reversed = |y| buffer.cell((0, y)).unwrap().modifier.contains(Modifier::REVERSED);
        assert_eq!((reversed(3), reversed(4)), (true, false));
        let colours = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colours, color);
    }
}
