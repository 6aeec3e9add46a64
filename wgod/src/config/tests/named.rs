//! Sections of which there is one for each label and each host of trackers.
use super::*;

const TWO: &str = r#"
[labels.tv]
folder = "/srv/tv"
up = "1 MB/s"
priority = "high"
paused = true
ratio = 2
action = "remove"
[labels."Linux ISOs"]
time = "7 d"
ratio = 0
[trackers."Tracker.Example.org"]
idle = "1 h"
action = "keep"
"#;

fn refused(text: &str) -> String {
    file::parse(Path::new(FILE), text).unwrap_err().to_string()
}

#[test]
fn each_label_and_host_has_its_own_values_and_the_rest_is_left_to_others() {
    let resolved = resolved(&layers(TWO));
    let Config { labels, trackers, .. } = &resolved.config;
    let tv = Label {
        folder: Some("/srv/tv".into()),
        up: Rate(1_000_000),
        priority: Chosen(Some(Priority::High)),
        paused: true,
        ratio: Chosen(Some(GoalRatio(2.0))),
        action: Chosen(Some(AfterGoal::Remove)),
        ..Label::default()
    };
    let isos = Label {
        ratio: Chosen(Some(GoalRatio(0.0))),
        time: Chosen(Some(Period(7 * 86_400))),
        ..Label::default()
    };
    assert_eq!(labels.iter().collect::<Vec<_>>(), [(&"Linux ISOs".to_owned(), &isos), (&"tv".into(), &tv)]);
    let keep = Tracker {
        idle: Chosen(Some(Period(3600))),
        action: Chosen(Some(AfterGoal::Keep)),
        ..Tracker::default()
    };
    assert_eq!(trackers.iter().collect::<Vec<_>>(), [(&"tracker.example.org".to_owned(), &keep)]);
    let named: Vec<String> =
        resolved.keys().iter().filter(|id| !KeyId::all().any(|once| once == **id)).map(KeyId::name).collect();
    let want = [
        "labels.\"Linux ISOs\".ratio",
        "labels.\"Linux ISOs\".time",
        "labels.tv.folder",
        "labels.tv.up",
        "labels.tv.priority",
        "labels.tv.paused",
        "labels.tv.ratio",
        "labels.tv.action",
        "trackers.\"tracker.example.org\".idle",
        "trackers.\"tracker.example.org\".action",
    ];
    assert_eq!(named, want, "one after the other, each in the order of the file");
    for name in want {
        assert_eq!(key(name).name(), name);
    }
    assert_eq!(key("labels.a.b.up").name(), "labels.\"a.b\".up");
    assert_eq!(key("trackers.Example.org.ratio").name(), "trackers.\"example.org\".ratio");
    for none in ["labels.up", "labels..up", "labels.tv.port", "trackers.a b.ratio"] {
        assert!(KeyId::find(none).is_none(), "{none}");
    }
    assert_eq!(resolved.origin(&key("labels.tv.up")).to_string(), "/etc/wgod/wgod.toml:4");
}

#[test]
fn what_is_wrong_with_a_section_is_said_where_it_is() {
    for (text, want) in [
        (
            "[labels.tv]\nuo = 1",
            "/etc/wgod/wgod.toml:2: labels.tv.uo: no such setting; did you mean labels.tv.up?",
        ),
        ("[labels.tv]\nupload = 1", ":2: labels.tv.upload: no such setting; did you mean labels.tv.up?"),
        ("[labels.tv]\nthen = \"stop\"", "did you mean labels.tv.action?"),
        ("[labels.tv]\nport = 1", "labels.tv.port: no such setting; did you mean network.port?"),
        ("[labels.\"a b\"]\nratoi = 1", "did you mean labels.\"a b\".ratio?"),
        ("[labels.tv]\nup = \"fast\"", ":2: labels.tv.up: \"fast\" can't be used; allowed is a rate such as"),
        (
            "[labels.tv]\nfolder = \"tv\"",
            "labels.tv.folder: \"tv\" can't be used; allowed is an absolute path",
        ),
        ("[labels.tv]\nratio = -1", "allowed is a number, from 0 to 100000; or \"default\""),
        ("[labels.tv]\npriority = \"hihg\"", "or \"default\" (did you mean \"high\"?)"),
        ("[labels.tv]\naction = \"delete\"", "\"remove-with-files\" or \"keep\"; or \"default\""),
        ("[labels.\"a,b\"]\nup = 1", ":1: labels.\"a,b\": \"a,b\" can't be a label: commas separate labels"),
        ("[labels.\"\"]\nup = 1", "labels.\"\": a label can't be empty"),
        ("[labels.a.b]\nup = 1", "labels.a: a label with dots in it is put in quotes: [labels.\"a.b\"]"),
        ("[labels]\nup = 1", "labels.up: it is set for one label at a time, below [labels.NAME]"),
        ("[labels]\ntv = 1", "labels.tv: this is a section, to be written as [labels.tv]"),
        ("labels = 1", "labels: this is a section, to be written as [labels.NAME]"),
        ("[[labels]]\nup = 1", "labels: this is a section, to be written as [labels.NAME]"),
        ("[label.tv]\nup = 1", ":1: label: no such section; did you mean [labels]?"),
        ("[tracker.\"a.b\"]\nratio = 1", "did you mean [trackers]?"),
        (
            "[trackers.tracker.example.org]\nratio = 1",
            ":1: trackers.tracker: a host with dots in it is put in quotes: [trackers.\"tracker.example.org\"]",
        ),
        (
            "[trackers.\"https://example.org/announce\"]\nratio = 1",
            "is no host; did you mean \"example.org\"?",
        ),
        ("[trackers.\"a.b\"]\nup = 1", "trackers.\"a.b\".up: no such setting; did you mean limits.up?"),
        (
            "[trackers.\"a.b\"]\nratio = 1\n[trackers.\"A.b\"]\ntime = 1",
            "trackers.\"a.b\": there is a section of a.b already; put them together",
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(want), "{text:?}\n  says {said}\n  want {want}");
    }
}

#[test]
fn folders_of_labels_lie_in_the_allowed_ones() {
    let outside = "[storage]\nallowed_folders = [\"/srv/a\"]\n[labels.tv]\nup = 1\nfolder = \"/srv/b\"";
    let said = resolve(&layers(outside)).unwrap_err().to_string();
    assert!(
        said.contains("wgod.toml:5: labels.tv.folder: /srv/b is in none of storage.allowed_folders"),
        "{said}"
    );
    assert!(resolve(&layers(&outside.replace("/srv/b", "/srv/a/b"))).is_ok());
}

#[test]
fn there_is_a_bound_on_how_many_there_may_be() {
    let text = |n: usize| (0..n).map(|i| format!("[labels.l{i}]\nup = 1\n")).collect::<String>();
    assert!(resolve(&layers(&text(1000))).is_ok());
    let said = resolve(&layers(&text(1001))).unwrap_err().to_string();
    assert!(said.contains("there are 1001 sections [labels.…]; the most are 1000"), "{said}");
}

#[test]
fn a_reload_applies_sections_that_come_change_and_go() {
    let old = layers(TWO);
    let running = resolved(&old);
    let new = "[labels.tv]\nup = \"2 MB/s\"\nfolder = \"/srv/tv\"\n[trackers.\"b.example\"]\nratio = 1";
    let plan = plan(&running, Layers { file: layer(new), ..old }).unwrap();
    let changes: Vec<String> = plan
        .applied
        .iter()
        .map(|change| format!("{} {} {}", change.key.name(), change.from, change.to))
        .collect();
    assert_eq!(
        changes,
        [
            "labels.\"Linux ISOs\".ratio 0.0 \"default\"",
            "labels.\"Linux ISOs\".time \"7 d\" \"default\"",
            "labels.tv.up \"1 MB/s\" \"2 MB/s\"",
            "labels.tv.priority \"high\" \"default\"",
            "labels.tv.paused true false",
            "labels.tv.ratio 2.0 \"default\"",
            "labels.tv.action \"remove\" \"default\"",
            "trackers.\"b.example\".ratio \"default\" 1.0",
            "trackers.\"tracker.example.org\".idle \"1 h\" \"default\"",
            "trackers.\"tracker.example.org\".action \"keep\" \"default\"",
        ]
    );
    assert!(plan.restart.is_empty());
    let Config { labels, trackers, .. } = &plan.next.config;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["tv"]);
    assert_eq!(trackers.keys().collect::<Vec<_>>(), ["b.example"]);
}

#[test]
fn what_a_label_is_limited_to_by_hand_is_kept_and_shadows_the_file() {
    let old = layers("[labels.tv]\nup = 1");
    let values = vec![
        (key("labels.tv.up"), Raw::Text("5 B/s".into())),
        (key("labels.\"a b\".down"), Raw::Text("6 B/s".into())),
    ];
    let set = set_all(&resolved(&old), &old, values).unwrap();
    assert_eq!((set.next.config.labels["tv"].up, set.next.config.labels["a b"].down), (Rate(5), Rate(6)));
    assert_eq!(set.shadowed.len(), 1);
    let stored: Vec<_> = set.layers.stored.store().collect();
    let want = [("labels.\"a b\".down", "\"6 B/s\""), ("labels.tv.up", "\"5 B/s\"")];
    assert_eq!(stored, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (again, problems) = Layer::from_store(stored.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(again, set.layers.stored);
    let back = reset(&set.next, &set.layers, &[key("labels.\"a b\".down")]).unwrap();
    assert_eq!(back.next.config.labels.keys().collect::<Vec<_>>(), ["tv"]);
}
