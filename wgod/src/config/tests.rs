//! The configuration as a whole: what is taken, what is refused and how, who wins, what a reload does.
use std::path::Path;

use super::*;

mod named;

const FILE: &str = "/etc/wgod/wgod.toml";

fn layer(text: &str) -> Layer {
    file::parse(Path::new(FILE), text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn layers(text: &str) -> Layers {
    Layers { file: layer(text), ..Layers::default() }
}

fn key(name: &str) -> KeyId {
    KeyId::find(name).unwrap()
}

fn resolved(layers: &Layers) -> Resolved {
    resolve(layers).unwrap_or_else(|problems| panic!("{problems}"))
}

fn environment(pairs: &[(&str, &str)]) -> Layer {
    environment::parse(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string()))).unwrap().0
}

#[test]
fn the_printed_document_sets_nothing_and_uncommented_sets_the_defaults() {
    let document = document();
    assert_eq!(layer(&document), Layer::default());
    let keys = KEYS.len();
    let settings =
        |line: &&str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    assert_eq!(document.lines().filter(settings).count(), keys);
    let commented = |line: &&str| settings(line) || line.starts_with("#[");
    let uncommented: Vec<_> =
        document.lines().map(|line| if commented(&line) { &line[1..] } else { line }).collect();
    let all = layers(&uncommented.join("\n"));
    assert_eq!(all.file.iter().count(), keys);
    let mut config = resolved(&all).config;
    assert_eq!(config.labels.remove("NAME"), Some(Label::default()));
    assert_eq!(config.trackers.remove("example.org"), Some(Tracker::default()));
    assert_eq!(config, Config::default());
}

#[test]
fn every_setting_and_section_has_a_doc_comment() {
    for key in KEYS {
        assert!(!key.doc.is_empty(), "{}.{}", key.section, key.field);
    }
    assert!(SECTIONS.iter().all(|section| !section.doc.is_empty()));
}

#[test]
fn the_configuration_of_the_bench_is_taken() {
    let text = r#"
        [daemon]
        socket = "/tmp/b/s"
        state_dir = "/tmp/b/state"
        log = "warn"
        [storage]
        folder = "/tmp/b/dl"
        [network]
        ip = ["198.18.0.2"]
        port = 40001
        max_peers = 200
        max_peers_per_torrent = 200
        tcp = true
        utp = false
        encryption = "off"
        port_mapping = false
        [discovery]
        dht = false
        lsd = false
        pex = false
        [limits]
        up = "0 B/s"
        down = "2000000 B/s"
    "#;
    let config = resolved(&layers(text)).config;
    assert_eq!(config.limits.up, Rate(0));
    assert_eq!(config.limits.down, Rate(2_000_000));
    assert_eq!(config.network.port, 40001);
}

#[test]
fn errors_name_file_line_key_and_what_is_allowed() {
    let cases = [
        (
            "[network]\nprot = 1",
            "/etc/wgod/wgod.toml:2: network.prot: no such setting; did you mean network.port?",
        ),
        ("\n[netwrok]\nport = 1", "/etc/wgod/wgod.toml:2: netwrok: no such section; did you mean [network]?"),
        ("port = 1", "/etc/wgod/wgod.toml:1: port: no such setting; did you mean network.port?"),
        (
            "[limits]\nport = 1",
            "/etc/wgod/wgod.toml:2: limits.port: no such setting; did you mean network.port?",
        ),
        (
            "[network]\n\nport = 65536",
            "/etc/wgod/wgod.toml:3: network.port: 65536 can't be used; allowed is a whole number, from 0 to 65535",
        ),
        ("[network]\nport = \"1\"", ":2: network.port: \"1\" can't be used; allowed is a whole number"),
        (
            "[network]\nmax_peers = 0",
            ":2: network.max_peers: 0 can't be used; allowed is a whole number, from 1 to",
        ),
        (
            "[network]\nencryption = \"of\"",
            "allowed is \"off\", \"allow\", \"prefer\" or \"require\" (did you mean \"off\"?)",
        ),
        ("[network]\nip = [\"localhost\"]", "network.ip: [\"localhost\"] can't be used; allowed is a list"),
        ("[limits]\nup = \"20 miles\"", "limits.up: \"20 miles\" can't be used; allowed is a rate such as"),
        (
            "[limits]\n\nschedule = [\"mon-fri 08:00-18:00\", \"wed 09:00-10:00\"]",
            ":3: limits.schedule: [\"mon-fri 08:00-18:00\", \"wed 09:00-10:00\"] can't be used; allowed is a list of days",
        ),
        (
            "[limits]\nschedule = [\"mon-fri 08:00-18:00\", \"wed 09:00-10:00\"]",
            "(\"mon-fri 08:00-18:00\" and \"wed 09:00-10:00\" overlap on wed; give each time once)",
        ),
        ("[limits]\nup = 1979-05-27", "limits.up: a date can't be used"),
        ("[daemon]\nlog = \"info,per=debug\"", "did you mean peer?"),
        (
            "[metrics]\nlisten = \"0.0.0.0:9868\"",
            ":2: metrics.listen: \"0.0.0.0:9868\" can't be used; allowed is a loopback address with a port, such as",
        ),
        ("[metrics]\nlisten = \"[::]:9868\"", "or \"\" for none (:: can be reached from other machines"),
        (
            "[watch]\nafter = \"keep\"\n[[watch.folders]]\nlabel = \"tv\"",
            ":3: watch.folders: [{ label = \"tv\" }] can't be used",
        ),
        ("[watch.folders]\npath = \"/w\"", "one folder of a list is headed by [[watch.folders]]"),
        (
            "[hooks]\non_added = \"/bin/x\"",
            ":2: hooks.on_added: \"/bin/x\" can't be used; allowed is a list of a program",
        ),
        ("[hooks]\ntime_limit = 0", ":2: hooks.time_limit: 0 can't be used"),
        ("[daemon]\nlog = ", "/etc/wgod/wgod.toml:2: not valid TOML: "),
        ("[network]\nport = 1\nport = 2", "/etc/wgod/wgod.toml:3: not valid TOML: duplicate key"),
        ("network = 1", "network: this is a section, to be written as [network]"),
    ];
    for (text, want) in cases {
        let err = file::parse(Path::new(FILE), text).unwrap_err().to_string();
        assert!(err.contains(want), "{text:?}\n  says {err}\n  want {want}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let err = file::parse(Path::new(FILE), "[network]\nprot = 1\nport = -1\n[x]\n").unwrap_err();
    assert_eq!(err.0.len(), 3, "{err}");
}

#[test]
fn what_is_not_built_is_refused_by_name_and_its_off_is_taken() {
    let cases = [("network.utp", "true")];
    for (name, value) in cases {
        let (section, field) = name.split_once('.').unwrap();
        let err =
            file::parse(Path::new(FILE), &format!("[{section}]\n{field} = {value}")).unwrap_err().to_string();
        assert!(err.contains(name) && err.contains("not available in this version"), "{err}");
    }
    for id in KeyId::all().filter(|id| id.key().effect == Effect::Unbuilt) {
        for off in ["false", "\"off\"", "\"\"", "[]"] {
            let text = format!("[{}]\n{} = {off}", id.key().section, id.key().field);
            assert_eq!(resolved(&layers(&text)).config, Config::default(), "{text}");
        }
    }
}

#[test]
fn values_that_exclude_each_other_are_refused_together() {
    let err = resolve(&layers("[network]\ntcp = false")).unwrap_err().to_string();
    assert!(err.contains("wgod.toml:2: network.tcp") && err.contains("utp"), "{err}");
    let outside = "[storage]\nfolder = \"/srv/b\"\nallowed_folders = [\"/srv/a\"]";
    let err = resolve(&layers(outside)).unwrap_err().to_string();
    assert!(err.contains("wgod.toml:2: storage.folder: /srv/b is in none of"), "{err}");
    assert!(err.contains("[\"/srv/a\"]; add it there"), "{err}");
    let same = "[storage]\nfolder = \"~/dl\"\nincomplete_folder = \"~/dl/\"";
    let err = resolve(&layers(same)).unwrap_err().to_string();
    assert!(err.contains("wgod.toml:3: storage.incomplete_folder: ~/dl/ is storage.folder"), "{err}");
    // Watched folders are within reach; where their rules put torrents must be allowed.
    let watch = |to: &str| {
        layers(&format!(
            "[storage]\nallowed_folders = [\"/srv/a\"]\n[[watch.folders]]\npath = \"/w\"\nfolder = \"{to}\""
        ))
    };
    assert!(resolve(&watch("/srv/a/tv")).is_ok());
    let err = resolve(&watch("/srv/b")).unwrap_err().to_string();
    assert!(err.contains("wgod.toml:3: watch.folders: /srv/b is in none of"), "{err}");
}

#[test]
fn the_stronger_source_wins_and_is_named() {
    let up = key("limits.up");
    let mut all = layers("[limits]\nup = 1");
    let mut seen = Vec::new();
    let mut look = |layers: &Layers| {
        let resolved = resolved(layers);
        seen.push((resolved.config.limits.up.0 / 1000, resolved.origin(&up).to_string()));
    };
    look(&Layers::default());
    look(&all);
    all.stored = Layer::from_store([("limits.up", "2")]).0;
    look(&all);
    all.environment = environment(&[("WGOD_LIMITS_UP", "3")]);
    look(&all);
    all.command_line.insert(up.clone(), Raw::Bare("4".into()), Origin::CommandLine("--up-limit")).unwrap();
    look(&all);
    all.socket.insert(up.clone(), Raw::Int(5), Origin::Socket).unwrap();
    look(&all);
    let want = [
        (0, "default"),
        (1, "/etc/wgod/wgod.toml:2"),
        (2, "set by wgoctl in an earlier run"),
        (3, "$WGOD_LIMITS_UP"),
        (4, "--up-limit"),
        (5, "set by wgoctl"),
    ];
    assert_eq!(seen, want.map(|(rate, origin)| (rate, origin.to_owned())));
}

#[test]
fn the_environment_sets_lists_and_warns_of_slips() {
    let pairs = [
        ("WGOD_NETWORK_IP", "10.0.0.1,::1"),
        ("WGOD_LIMIT_UP", "1"),
        ("WGOD_REQUIRE_PEERS", "1"),
        ("HOME", "/"),
    ];
    let (layer, warnings) = environment::parse(pairs.map(|(n, v)| (n.into(), v.into()))).unwrap();
    assert_eq!(resolved(&Layers { environment: layer, ..Layers::default() }).config.network.ip.len(), 2);
    assert_eq!(warnings, ["$WGOD_LIMIT_UP sets nothing; did you mean $WGOD_LIMITS_UP?"]);
    let err = environment::parse([("WGOD_NETWORK_PORT".into(), "high".into())]).unwrap_err().to_string();
    assert!(err.starts_with("$WGOD_NETWORK_PORT: network.port: \"high\" can't be used"), "{err}");
    let both = environment(&[("WGOD_DAEMON_SOCKET", "/a"), ("WGOD_SOCKET", "/b")]);
    let socket = resolved(&Layers { environment: both, ..Layers::default() }).config.daemon.socket;
    assert_eq!(socket.as_deref(), Some(Path::new("/a")));
}

#[test]
fn a_stored_override_of_another_version_is_dropped_and_named() {
    let pairs = [
        ("limits.up", "\"500 KB/s\""),
        ("limits.sideways", "1"),
        ("limits.down", "\"fast\""),
        ("choke.slots", "= 3"),
    ];
    let (layer, problems) = Layer::from_store(pairs);
    assert_eq!(layer.store().collect::<Vec<_>>(), [("limits.up".to_owned(), "\"500 KB/s\"".to_owned())]);
    assert_eq!(problems.len(), 3);
}

#[test]
fn a_reload_tells_what_it_applies_what_waits_and_what_is_shadowed() {
    let mut old = layers("[limits]\nup = 1\ndown = 1\n[network]\nport = 1000");
    old.command_line
        .insert(key("limits.down"), Raw::Bare("7".into()), Origin::CommandLine("--down-limit"))
        .unwrap();
    let running = resolved(&old);
    let file = layer("[limits]\nup = 2\ndown = 3\n[network]\nport = 2000\nmax_peers = 10");
    let plan = plan(&running, Layers { file, ..old }).unwrap();
    let names = |changes: &[Change]| changes.iter().map(|c| c.key.name()).collect::<Vec<_>>();
    assert_eq!(names(&plan.applied), ["network.max_peers", "limits.up"]);
    assert_eq!(names(&plan.restart), ["network.port"]);
    assert_eq!((plan.restart[0].from.as_str(), plan.restart[0].to.as_str()), ("1000", "2000"));
    assert_eq!(plan.shadowed.len(), 1);
    assert_eq!(
        (plan.shadowed[0].key.clone(), plan.shadowed[0].file.as_str()),
        (key("limits.down"), "\"3 KB/s\"")
    );
    assert_eq!(plan.shadowed[0].by, Origin::CommandLine("--down-limit"));
    assert_eq!(plan.next.config.network.port, 1000, "a restart is needed for that");
    assert_eq!(plan.next.config.limits.up, Rate(2000));
    assert_eq!(
        plan.next.origin(&key("network.port")).to_string(),
        "/etc/wgod/wgod.toml:5",
        "where the old value was"
    );
    // The same file again: nothing new to apply, the restart is still due.
    let again = super::plan(&plan.next, plan.layers.clone()).unwrap();
    assert_eq!((again.applied.len(), names(&again.restart)), (0, vec!["network.port".to_owned()]));
}

#[test]
fn what_this_run_cannot_take_is_put_off() {
    let old = layers("[storage]\nfolder = \"/a\"");
    let running = resolved(&old);
    let file = layer("[storage]\nfolder = \"/b\"\nmin_free_space = \"1 GiB\"");
    let mut plan = plan(&running, Layers { file, ..old }).unwrap();
    plan.put_off(&running, &key("storage.folder"));
    plan.put_off(&running, &key("limits.up"));
    let names = |changes: &[Change]| changes.iter().map(|c| c.key.name()).collect::<Vec<_>>();
    assert_eq!(names(&plan.applied), ["storage.min_free_space"]);
    assert_eq!(names(&plan.restart), ["storage.folder"]);
    assert_eq!(plan.next.config.storage.folder.as_deref(), Some(Path::new("/a")));
}

#[test]
fn a_reload_with_a_conflict_changes_nothing() {
    let old = layers("[limits]\nup = 1");
    let file = layer("[limits]\nup = 2\n[network]\ntcp = false");
    assert!(plan(&resolved(&old), Layers { file, ..old }).is_err());
}

#[test]
fn a_value_of_the_socket_wins_now_is_stored_and_can_be_taken_back() {
    let up = key("limits.up");
    let mut old = layers("[limits]\nup = 1");
    old.command_line.insert(up.clone(), Raw::Bare("4".into()), Origin::CommandLine("--up-limit")).unwrap();
    let set = set(&resolved(&old), &old, up.clone(), Raw::Text("500000 B/s".into())).unwrap();
    assert_eq!(set.next.config.limits.up, Rate(500_000));
    let stored: Vec<_> = set.layers.stored.store().collect();
    assert_eq!(stored, [("limits.up".to_owned(), "\"500 KB/s\"".to_owned())]);
    let bare = super::set(&resolved(&old), &old, key("network.port"), Raw::Bare("7000".into())).unwrap();
    assert_eq!(bare.layers.stored.store().map(|(_, value)| value).collect::<Vec<_>>(), ["7000"]);
    for fixed in [
        "daemon.state_dir",
        "storage.allowed_folders",
        "hooks.on_completed",
        "hooks.time_limit",
        "watch.folders",
        "watch.after",
    ] {
        let refused = super::set(&resolved(&old), &old, key(fixed), Raw::Text("any".into())).unwrap_err();
        assert!(refused.to_string().contains("set it in the file"), "{refused}");
    }
    // Nor by a backup that somebody restored.
    let (layer, problems) = Layer::from_store([("hooks.on_added", "[\"/bin/sh\"]")]);
    assert_eq!((layer.iter().count(), problems.len()), (0, 1));
    assert!(
        problems[0].to_string().contains("hooks.on_added: not taken from the database"),
        "{}",
        problems[0]
    );
    // Two keys together are one plan; with one that is wrong neither is set.
    let both = |down: &str| {
        let values =
            vec![(up.clone(), Raw::Text("7 B/s".into())), (key("limits.down"), Raw::Text(down.into()))];
        super::set_all(&resolved(&old), &old, values)
    };
    let plan = both("8 B/s").unwrap();
    assert_eq!((plan.next.config.limits.up, plan.next.config.limits.down), (Rate(7), Rate(8)));
    assert_eq!(plan.layers.stored.store().count(), 2);
    assert!(both("a lot").is_err());
    let back = reset(&set.next, &set.layers, std::slice::from_ref(&up)).unwrap();
    assert_eq!(back.next.config.limits.up, Rate(4000));
    assert_eq!(back.layers.stored, Layer::default());
    assert!(super::set(&back.next, &old, up, Raw::Bool(true)).is_err());
}
