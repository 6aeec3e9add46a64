//! A set-up in which all is well, and what each thing that breaks makes of it.
use std::time::Duration;

use wgo_api::doctor::Severity;
use wgo_api::result::Proxy;

use wgo_api::result::{MappingProtocol, PortMapping};

use super::*;
use crate::files::Space;

const GIB: u64 = 1 << 30;

fn place(path: &str) -> Place {
    let found = Folder {
        existing: path.into(),
        kind: FsKind::Local("ext4"),
        space: Space { device: 8, free: 40 * GIB, total: 100 * GIB },
        refused: None,
        direct: Some(true),
    };
    Place { path: path.into(), outside: false, found: Ok(found) }
}

/// What a gateway does whose address outside is `ip`.
fn mapping(state: MappingState, ip: Option<&str>) -> PortMapping {
    let port = |ip: &str| MappedPort {
        transport: PortTransport::Tcp,
        port: 6868,
        external_port: 7000,
        external_ip: Some(ip.to_owned()),
        reachable: !ip.starts_with("10."),
        protocol: MappingProtocol::Pcp,
        expires_at: Some(1_800_000_000),
    };
    let reason = (state == MappingState::Failed).then(|| "the gateway 10.0.0.1 maps no ports".to_owned());
    PortMapping { state, ports: ip.into_iter().map(port).collect(), reason, ..PortMapping::default() }
}

fn well() -> Facts {
    Facts {
        dht: Dht { state: DhtState::Ready, nodes_v4: 150, ..Dht::default() },
        hooks: Hooks::On,
        hook_faults: Vec::new(),
        file: Some("/etc/wgod/wgod.toml".into()),
        problems: Vec::new(),
        state: place("/var/lib/wgod"),
        downloads: place("/srv/dl"),
        folders: vec![place("/srv/media")],
        min_free_space: 100 << 20,
        listen: vec!["0.0.0.0:6868".into(), "[::]:6868".into()],
        network: Network { interface: Some("wg0".into()), missing: None },
        no_names: None,
        port: (6868, 6868),
        mapping: mapping(MappingState::Mapped, Some("203.0.113.9")),
        proxy: Some(by_proxy()),
        descriptors: Some(65_536),
        max_peers: 1000,
        memory: 52 << 20,
        memory_limit: Some(8 * GIB),
        now: 1_800_000_000,
        synchronized: true,
        release: "6.12.1".into(),
        confinement: Confinement {
            landlock: Some(7),
            seccomp: true,
            no_new_privs: true,
            allowed_folders: Some(vec!["/srv".into()]),
        },
        systemd: Systemd { unit: true, notify: true, watchdog: true, journal: true },
        troubled: 0,
        named: Vec::new(),
    }
}

fn by_proxy() -> ProxyFacts {
    let shown = Proxy { url: "socks5://p:1".into(), peers: true, trackers: true, ..Proxy::default() };
    ProxyFacts { shown, tried: Ok(()), udp: Some(Ok(())) }
}

/// The proxy's part, to be broken.
fn proxy_of(facts: &mut Facts) -> &mut ProxyFacts {
    facts.proxy.as_mut().unwrap()
}

#[test]
fn where_all_is_well_nothing_is_to_do() {
    for finding in judge(&well()) {
        assert_eq!((finding.severity, &finding.remedy), (Severity::Ok, &None), "{finding:?}");
        assert!(!finding.why.is_empty() && !finding.why.ends_with('.'), "{finding:?}");
    }
}

/// What breaks, what is then said of it, how bad it is, and what to do.
type Case = (&'static str, fn(&mut Facts), Severity, &'static str, &'static str);

fn folder(place: &mut Place) -> &mut Folder {
    place.found.as_mut().unwrap()
}

const CASES: &[Case] = &[
    (
        "DHT",
        |facts| {
            facts.dht.state = DhtState::Unreachable;
            facts.dht.error = Some("none of [dht] bootstrap has an address: cannot resolve a.example".into());
        },
        Severity::Warn,
        "none of [dht] bootstrap has an address",
        "let UDP through",
    ),
    (
        "hooks",
        |facts| facts.hook_faults = vec!["hooks.on_error: /x can't be run: there is no such file".into()],
        Severity::Warn,
        "hooks.on_error: /x can't be run",
        "correct [hooks]",
    ),
    ("hooks", |facts| facts.hooks = Hooks::Ended, Severity::Bad, "none is run", "restart wgod"),
    (
        "configuration",
        |facts| facts.problems = vec!["/etc/wgod/wgod.toml:3: network.prot: no such setting".into()],
        Severity::Bad,
        "wgod.toml:3: network.prot: no such setting; the daemon would not start with it",
        "wgoctl reload",
    ),
    (
        "state",
        |facts| folder(&mut facts.state).refused = Some("Read-only file system (os error 30)".into()),
        Severity::Bad,
        "/var/lib/wgod: nothing can be written: Read-only",
        "wgod's user",
    ),
    (
        "state",
        |facts| folder(&mut facts.state).space.free = 1 << 20,
        Severity::Bad,
        "only 1.05 MB free",
        "state_dir",
    ),
    (
        "state",
        |facts| folder(&mut facts.state).kind = FsKind::Memory("tmpfs"),
        Severity::Bad,
        "the next boot forgets every torrent",
        "[daemon] state_dir",
    ),
    (
        "state",
        |facts| folder(&mut facts.state).kind = FsKind::Network("NFS"),
        Severity::Warn,
        "on another machine (NFS)",
        "[daemon] state_dir",
    ),
    (
        "state",
        |facts| folder(&mut facts.state).kind = FsKind::Fuse,
        Severity::Warn,
        "is on FUSE",
        "state_dir",
    ),
    (
        "downloads",
        |facts| folder(&mut facts.downloads).refused = Some("Permission denied (os error 13)".into()),
        Severity::Bad,
        "/srv/dl: wgod can't write there: Permission denied",
        "ReadWritePaths=/srv/dl",
    ),
    (
        "downloads",
        |facts| folder(&mut facts.downloads).space.free = 99 << 20,
        Severity::Bad,
        "less than min_free_space, 105 MB: downloads pause",
        "by themselves",
    ),
    (
        "downloads",
        |facts| folder(&mut facts.downloads).kind = FsKind::Memory("tmpfs"),
        Severity::Warn,
        "gone with the next boot",
        "[storage] folder",
    ),
    (
        "downloads",
        |facts| folder(&mut facts.downloads).kind = FsKind::Simple("FAT"),
        Severity::Warn,
        "on FAT",
        "folder",
    ),
    (
        "downloads",
        |facts| facts.downloads.found = Err(Hung::For(Duration::from_secs(75))),
        Severity::Bad,
        "/srv/dl: its disk has not answered for 1m 15s",
        "dmesg",
    ),
    (
        "torrents' folder",
        |facts| folder(&mut facts.folders[0]).existing = "/srv".into(),
        Severity::Bad,
        "/srv/media is not there: its torrents wait for it",
        "mount its disk",
    ),
    (
        "torrents' folder",
        |facts| {
            facts.folders[0].found = Err(Hung::Failed("cannot examine /srv/media: Stale file handle".into()))
        },
        Severity::Bad,
        "Stale file handle",
        "/srv/media",
    ),
    (
        "torrents' folder",
        |facts| folder(&mut facts.folders[0]).refused = Some("Read-only file system (os error 30)".into()),
        Severity::Warn,
        "complete torrents seed, others wait",
        "if that is meant",
    ),
    (
        "torrents",
        |facts| {
            facts.troubled = 5;
            facts.named = vec![("a.iso".into(), Some("disk full".into())), ("b.iso".into(), None)];
        },
        Severity::Bad,
        "5 in trouble. a.iso: disk full; b.iso: no reason is known; and 3 more",
        "wgoctl list --filter state=error",
    ),
    (
        "network",
        |facts| {
            facts.listen.clear();
            facts.network.missing = Some("interface wg0 is missing".into());
        },
        Severity::Bad,
        "interface wg0 is missing, and nothing goes another way",
        "correct [network]",
    ),
    (
        "network",
        |facts| facts.no_names = Some("the name server is on this machine".into()),
        Severity::Bad,
        "trackers' names can't be looked up: the name server is on this machine",
        "[network] dns",
    ),
    (
        "proxy",
        |facts| proxy_of(facts).tried = Err("it can't be reached: refused".into()),
        Severity::Bad,
        "socks5://p:1: it can't be reached: refused; nothing that it is for goes round it",
        "start the proxy",
    ),
    (
        "proxy",
        |facts| proxy_of(facts).udp = Some(Err("can't relay UDP: no".into())),
        Severity::Warn,
        "socks5://p:1 answers, but trackers over UDP fail: can't relay UDP: no",
        "a SOCKS5 proxy with UDP",
    ),
    ("port", |facts| facts.listen.clear(), Severity::Warn, "listens nowhere", "[network] tcp"),
    ("port", |facts| facts.port = (6868, 40_001), Severity::Warn, "6868 was taken", "[network] port"),
    (
        "descriptors",
        |facts| facts.descriptors = Some(1024),
        Severity::Warn,
        "1024, too few for max_peers = 1000, ",
        "LimitNOFILE=2048",
    ),
    ("descriptors", |facts| facts.descriptors = Some(256), Severity::Bad, "256, too few", "LimitNOFILE="),
    (
        "memory",
        |facts| facts.memory_limit = Some(100 << 20),
        Severity::Warn,
        "[storage] memory is 54.5 MB, more than half of the 105 MB",
        "lower it",
    ),
    (
        "downloads",
        |facts| facts.downloads.outside = true,
        Severity::Bad,
        "outside of storage.allowed_folders",
        "restart wgod",
    ),
    (
        "torrents' folder",
        |facts| facts.folders[0].outside = true,
        Severity::Bad,
        "outside of storage",
        "restart wgod",
    ),
    (
        "confinement",
        |facts| facts.confinement.landlock = None,
        Severity::Warn,
        "Linux does not enforce it",
        "5.13",
    ),
    ("clock", |facts| facts.now = 12, Severity::Bad, "years behind", "timedatectl"),
    ("kernel", |facts| facts.release = "4.19.0".into(), Severity::Bad, "Linux 4.19.0 lacks", "5.8"),
    ("systemd", |facts| facts.systemd.notify = false, Severity::Warn, "Type=notify", "daemon-reload"),
    ("systemd", |facts| facts.systemd.watchdog = false, Severity::Warn, "WatchdogSec=", "daemon-reload"),
];

#[test]
fn what_breaks_is_found_and_nothing_else_is_blamed() {
    for (what, breaks, severity, why, remedy) in CASES {
        let mut facts = well();
        breaks(&mut facts);
        let found: Vec<Finding> = judge(&facts).into_iter().filter(|f| f.severity != Severity::Ok).collect();
        let [one] = found.as_slice() else { panic!("{what}, {why}: {found:#?}") };
        assert_eq!((one.what.as_str(), one.severity), (*what, *severity), "{one:?}");
        assert!(one.why.contains(why), "{one:?}\n  wanted {why}");
        assert!(one.remedy.as_ref().is_some_and(|text| text.contains(remedy)), "{one:?}\n  wanted {remedy}");
    }
}

#[test]
fn what_is_as_an_operator_may_want_it_is_no_trouble() {
    let same: &[fn(&mut Facts)] = &[
        |facts| facts.file = None,
        |facts| folder(&mut facts.downloads).existing = "/srv".into(),
        |facts| folder(&mut facts.downloads).direct = Some(false),
        |facts| folder(&mut facts.folders[0]).kind = FsKind::Network("NFS"),
        |facts| facts.port = (0, 40_001),
        |facts| facts.proxy = None,
        |facts| {
            // No peer is to come in then.
            facts.listen.clear();
            proxy_of(facts).shown.only = true;
        },
        |facts| facts.descriptors = None,
        |facts| facts.memory_limit = None,
        |facts| facts.confinement = Confinement::default(),
        |facts| facts.confinement.allowed_folders = None,
        |facts| facts.systemd = Systemd::default(),
    ];
    for (nth, change) in same.iter().enumerate() {
        let mut facts = well();
        change(&mut facts);
        let found: Vec<Finding> = judge(&facts).into_iter().filter(|f| f.severity != Severity::Ok).collect();
        assert_eq!(found, [], "case {nth}");
    }
}

#[test]
fn a_port_that_others_cannot_reach_is_told() {
    for (state, ip, severity, want) in [
        (
            MappingState::Mapped,
            Some("203.0.113.9"),
            Severity::Ok,
            "lets others in at 203.0.113.9:7000, by PCP",
        ),
        (MappingState::Mapped, Some("10.7.0.9"), Severity::Warn, "that is no public address"),
        (MappingState::Failed, None, Severity::Warn, "the gateway 10.0.0.1 maps no ports"),
        (MappingState::Public, None, Severity::Ok, "with a public address"),
        (MappingState::Trying, None, Severity::Ok, "is being asked"),
        (MappingState::NoGateway, None, Severity::Ok, "is not known"),
        (MappingState::Off, None, Severity::Ok, "is not known"),
    ] {
        let finding = port(&Facts { mapping: mapping(state, ip), ..well() });
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.why.contains(want), "{finding:?}");
        assert_eq!(finding.remedy.is_some(), severity != Severity::Ok);
    }
}
