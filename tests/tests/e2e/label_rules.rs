//! What the configuration says of labels and of trackers: limits that torrents share, seeding goals, and what
//! torrents are added with.
use std::fs;
use std::time::{Duration, Instant};

use wgo_api::State;
use wgo_api::torrent::Priority;
use wgo_tests::leecher::Leecher;
use wgo_tests::maker::Torrent;
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

const PIECE: u32 = 65_536;

fn with(net: &Net, sections: &str) -> Daemon {
    Daemon::with(Settings { ips: vec![net.home()], sections: sections.into(), ..Settings::default() })
}

/// A torrent whose payload lies where the daemon looks for it.
fn there(daemon: &Daemon, name: &str, len: usize, tiers: &[&str]) -> Torrent {
    let payload = Payload::single(name, len, PIECE);
    payload.write(&daemon.downloads());
    let maker = Maker::new(&payload);
    tiers.iter().fold(maker, |maker, url| maker.tier([*url])).make()
}

/// Adds it by `wgoctl`.
fn add(daemon: &Daemon, torrent: &Torrent, args: &[&str]) -> String {
    let mut words = vec!["add", "-"];
    words.extend(args);
    ctl::run_with(daemon, &words, &torrent.bytes).expect(0);
    torrent.id()
}

/// Changes the configuration file and has it read.
fn reconfigure(daemon: &Daemon, old: &str, new: &str) -> ctl::Ran {
    let text = fs::read_to_string(daemon.config()).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(daemon.config(), text.replace(old, new)).unwrap();
    ctl::run(daemon, &["reload"])
}

#[test]
fn torrents_of_a_label_share_its_limit_and_others_do_not() {
    let Some(mut net) = Net::required("torrents_of_a_label_share_its_limit_and_others_do_not") else {
        return;
    };
    net.short_buffers();
    const RATE: u64 = 300_000;
    let daemon = with(&net, "[labels.tv]\nup = \"300 KB/s\"\n");
    let torrents: Vec<Torrent> =
        ["one", "two", "free"].iter().map(|name| there(&daemon, name, 8 << 20, &[])).collect();
    for (torrent, label) in torrents.iter().zip(["tv", "tv", "films"]) {
        let id = add(&daemon, torrent, &["--label", label]);
        daemon.wait_seeding(&id);
    }
    let to = daemon.listens(net.home());
    let begun = Instant::now();
    let takers: Vec<Leecher> =
        torrents.iter().map(|one| Leecher::start(net.ip(), to, one.hash, one.pieces, PIECE)).collect();
    let shared = || takers[0].bytes() + takers[1].bytes();
    until("who has no limit gets everything", TRANSFER, || (takers[2].bytes() >= 8 << 20).then_some(()));
    until("both of the label move", TRANSFER, || {
        (takers[..2].iter().all(|taker| taker.bytes() >= u64::from(PIECE))).then_some(())
    });
    // Whatever holds the machine up, this is the most.
    let most = |since: Instant, rate: u64| (rate as f64 * (since.elapsed().as_secs_f64() + 1.0)) as u64;
    let (came, allowed) = (shared(), most(begun, RATE));
    assert!(came <= allowed, "{came} bytes, {allowed} are allowed");

    // Taken away at run time, by hand; the torrents' own limits are as they were.
    let said = ctl::run(&daemon, &["limit", "--label", "tv", "--up", "0"]).expect(0).out;
    assert_eq!(said, "Label tv, 2 torrents: up unlimited, down unlimited\n");
    until("nothing holds them any more", TRANSFER, || {
        (takers[..2].iter().all(|taker| taker.bytes() >= 8 << 20)).then_some(())
    });
    ctl::run(&daemon, &["limit", "--label", "films", "--up", "100 KB/s"]).expect(0);
    // What is on its way arrives.
    pause(Duration::from_secs(1));
    let (since, before) = (Instant::now(), takers[2].bytes());
    pause(Duration::from_secs(3));
    let (came, allowed) = (takers[2].bytes() - before, most(since, 100_000));
    assert!(came <= allowed, "{came} bytes, {allowed} are allowed");
}

#[test]
fn limits_of_labels_are_set_shown_kept_and_taken_back() {
    let net = Net::new();
    let mut daemon = with(&net, "[labels.tv]\nup = \"1 MB/s\"\n");
    let torrent = there(&daemon, "one", 100_000, &[]);
    let id = add(&daemon, &torrent, &["--label", "tv", "--label", "a b"]);
    daemon.wait_seeding(&id);
    let shown = |daemon: &Daemon| ctl::run(daemon, &["limit"]).expect(0).out;
    let none = "up unlimited, down unlimited\n";
    assert_eq!(shown(&daemon), format!("{none}Label tv, 1 torrent: up 1 MB/s, down unlimited\n"));
    let said = ctl::run(&daemon, &["limit", "--label", "a b", "--down", "50"]).expect(0).out;
    assert_eq!(said, "Label a b, 1 torrent: up unlimited, down 50 KB/s\n");
    let said = ctl::run(&daemon, &["limit", "--label", "new", "--up", "7"]).expect(0).out;
    assert_eq!(said, "Label new, 0 torrents: up 7 KB/s, down unlimited\n");
    ctl::run(&daemon, &["limit", "--label", "tv", "--up", "2 MB/s"]).expect(0);
    let all = "Label a b, 1 torrent: up unlimited, down 50 KB/s\nLabel new, 0 torrents: up 7 KB/s, down \
               unlimited\nLabel tv, 1 torrent: up 2 MB/s, down unlimited\n";
    assert_eq!(shown(&daemon), format!("{none}{all}"));
    let page = ctl::run(&daemon, &["show", "one"]).expect(0).out;
    assert!(page.contains("up unlimited, down 50 KB/s as label a b"), "{page}");
    assert!(page.contains("up 2 MB/s, down unlimited as label tv"), "{page}");
    let (_, json) = ctl::json(&daemon, &["limit", "--label", "tv"]);
    assert_eq!(
        (&json["label"], &json["limits"]["up"], &json["labels"][0]["torrents"]),
        (&"tv".into(), &2_000_000.into(), &1.into())
    );

    daemon.kill9();
    daemon.run();
    assert_eq!(shown(&daemon), format!("{none}{all}"), "what was acknowledged is kept");
    let (_, config) = ctl::json(&daemon, &["config", "show", "labels.tv"]);
    let setting = &config["settings"][0];
    assert_eq!((&setting["key"], &setting["value"]), (&"labels.tv.up".into(), &"2 MB/s".into()));
    assert_eq!(setting["shadowed"], "1 MB/s", "{config}");

    for (args, code, why) in [
        (&["--label", "tvv"][..], 4, "did you mean tv?"),
        (&["--label", "nothing like it"], 4, "no torrent has the label \"nothing like it\""),
        (&["--label", "a,b", "--up", "1"], 2, "commas separate labels"),
        (&["--label", "tv", "--up", "fast"], 2, "--up"),
        (&["--label", "tv", "one"], 2, "cannot be used with"),
    ] {
        let args: Vec<&str> = ["limit"].iter().chain(args).copied().collect();
        let ran = ctl::run(&daemon, &args).expect(code);
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
    assert_eq!(shown(&daemon), format!("{none}{all}"));
}

#[test]
fn goals_of_labels_and_trackers_stop_torrents_and_show_says_whose_they_were() {
    let Some(mut net) = Net::required("goals_of_labels_and_trackers") else { return };
    let host = net.ip();
    let tracker = Tracker::start(host, &[]);
    let rules =
        format!("[seeding]\ntime = \"30 d\"\n[labels.tv]\nratio = 1\n[trackers.\"{host}\"]\nratio = 0.5\n");
    let daemon = with(&net, &rules);
    let url = tracker.url(Over::Http);
    let labelled = there(&daemon, "labelled", 1 << 20, &[&url]);
    let tracked = there(&daemon, "tracked", 1 << 20, &[&url]);
    let kept = there(&daemon, "kept", 1 << 20, &[&url]);
    add(&daemon, &labelled, &["--label", "tv"]);
    add(&daemon, &tracked, &[]);
    add(&daemon, &kept, &["--label", "tv", "--ratio", "none"]);
    let to = daemon.listens(net.home());
    let torrents = [&labelled, &tracked, &kept];
    for torrent in torrents {
        daemon.wait_seeding(&torrent.id());
    }
    let page = |name: &str| ctl::run(&daemon, &["show", name]).expect(0).out;
    for (name, goals) in [
        ("labelled", "ratio 1.00 (label tv) or 30 d ([seeding])".to_owned()),
        ("tracked", format!("ratio 0.50 (tracker {host}) or 30 d ([seeding])")),
        ("kept", "30 d ([seeding])".to_owned()),
    ] {
        let page = page(name);
        assert!(page.contains(&goals), "{goals}: {page}");
    }
    let takers = torrents.map(|one| Leecher::start(net.ip(), to, one.hash, one.pieces, PIECE));
    daemon.wait_state(&labelled.id(), State::Stopped, TRANSFER);
    daemon.wait_state(&tracked.id(), State::Stopped, TRANSFER);
    until("the third is fetched twice", TRANSFER, || (takers[2].bytes() >= 2 << 20).then_some(()));
    assert_eq!(daemon.torrent(&kept.id()).state, State::Seeding);
    assert!(page("labelled").contains("stopped: ratio 1.00 reached"));
    assert!(page("tracked").contains("stopped: ratio 0.50 reached"));

    // A reload that is wrong in anything changes nothing; one that is right counts at once.
    let refused =
        reconfigure(&daemon, "[labels.tv]\nratio = 1\n", "[labels.tv]\nratio = 9\nratoi = 3\n").expect(1);
    assert!(
        refused.err.contains("labels.tv.ratoi: no such setting; did you mean labels.tv.ratio?"),
        "{refused:?}"
    );
    assert_eq!(daemon.torrent(&labelled.id()).goals.ratio, Some(1.0));
    let said = reconfigure(&daemon, "ratio = 9\nratoi = 3\n", "ratio = 9\n").expect(0).out;
    assert!(said.contains("labels.tv.ratio = 9.0 (was 1.0)"), "{said}");
    assert_eq!(daemon.torrent(&labelled.id()).goals.ratio, Some(9.0));
    ctl::run(&daemon, &["label", "kept", "--set", "archive"]).expect(0);
    ctl::run(&daemon, &["set", "kept", "--ratio", "default"]).expect(0);
    daemon.wait_state(&kept.id(), State::Stopped, SOON);
}

#[test]
fn what_is_added_with_a_label_goes_where_and_ranks_as_that_says() {
    let net = Net::new();
    let daemon = with(&net, "");
    let (tv, other) = (daemon.home().join("tv"), daemon.home().join("other"));
    let rules = format!(
        "\n[labels.tv]\nfolder = \"{}\"\npriority = \"high\"\npaused = true\n[labels.hd]\npriority = \"low\"\n",
        tv.display()
    );
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text + &rules).unwrap();
    let said = ctl::run(&daemon, &["reload"]).expect(0).out;
    assert!(said.contains("labels.tv.priority = \"high\" (was \"default\")"), "{said}");
    let row = |args: &[&str], name: &str, state: State| {
        let torrent = there(&daemon, name, 100_000, &[]);
        let id = add(&daemon, &torrent, args);
        daemon.wait_state(&id, state, SOON);
        let row = daemon.torrent(&id);
        (row.folder, row.priority)
    };
    let at = |folder: &std::path::Path| folder.display().to_string();
    assert_eq!(row(&["--label", "tv"], "a", State::Stopped), (at(&tv), Priority::High));
    let both = ["--label", "hd", "--label", "tv"];
    assert_eq!(row(&both, "b", State::Stopped), (at(&tv), Priority::Low));
    let other_text = at(&other);
    let explicit = ["--label", "tv", "--folder", &other_text, "--priority", "normal"];
    assert_eq!(row(&explicit, "c", State::Stopped), (at(&other), Priority::Normal));
    let plain = row(&["--label", "nobody"], "d", State::Seeding);
    assert_eq!(plain, (at(&daemon.downloads()), Priority::Normal));
}

#[test]
fn folders_of_labels_keep_to_the_allowed_ones() {
    let net = Net::new();
    let storage = "allowed_folders = [\"/srv/nothing-here\"]".to_owned();
    let config = |folder: &str| format!("[labels.tv]\nfolder = \"{folder}\"\n");
    let settings = Settings {
        ips: vec![net.home()],
        storage,
        sections: config("/tmp/elsewhere"),
        ..Settings::default()
    };
    let daemon = Daemon::prepare(settings);
    let checked = std::process::Command::new(wgo_tests::binaries::wgod())
        .arg("--check-config")
        .arg("--config")
        .arg(daemon.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success());
    assert!(
        said.contains("labels.tv.folder: /tmp/elsewhere is in none of storage.allowed_folders"),
        "{said}"
    );
}
