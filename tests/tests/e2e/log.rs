//! What the daemon logs: changed while it runs, and as the journal gets it.
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;
use wgo_api::ApiClient;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, ctl};

#[test]
fn levels_change_while_it_runs_and_go_back_with_a_restart() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let shown = ctl::run(&daemon, &["log"]).expect(0).out;
    assert!(
        shown.contains("(all others)  debug") && shown.contains("As the configuration file says."),
        "{shown}"
    );

    let (code, set) = ctl::json(&daemon, &["log", "warn", "console=off", "config=info"]);
    assert_eq!(
        (code, &set["spec"], &set["origin"]),
        (0, &json!("warn,config=info,console=off"), &json!("socket"))
    );
    let peer =
        set["components"].as_array().unwrap().iter().find(|component| component["name"] == "peer").unwrap();
    assert_eq!(*peer, json!({"name": "peer", "level": "warn", "own": false}));
    let (_, config) = ctl::json(&daemon, &["config", "show", "daemon.log"]);
    let setting = &config["settings"][0];
    assert_eq!((&setting["value"], &setting["origin"]), (&set["spec"], &json!("socket")));
    let text = ctl::run(&daemon, &["config", "show", "daemon.log"]).expect(0).out;
    assert!(text.contains("set by wgoctl"), "{text}");

    let said = |daemon: &Daemon| daemon.log().matches("added").count();
    let payload = Payload::single("a", 1000, 16_384);
    daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[]);
    assert_eq!(said(&daemon), 0, "`info` is not logged: {}", daemon.log());
    ctl::run(&daemon, &["log", "session=info"]).expect(0);
    let payload = Payload::single("b", 1000, 16_384);
    daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[]);
    assert_eq!(said(&daemon), 1, "{}", daemon.log());

    let reset = ctl::run(&daemon, &["log", "--reset"]).expect(0).out;
    assert!(reset.contains("As the configuration file says."), "{reset}");
    ctl::run(&daemon, &["log", "error"]).expect(0);
    daemon.terminate();
    daemon.run();
    let (_, after) = ctl::json(&daemon, &["log"]);
    assert_eq!((&after["spec"], &after["origin"]), (&json!("debug"), &json!("file")));
}

#[test]
fn what_is_no_level_or_component_is_named_with_what_is() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let cases = [
        (
            "traker=debug",
            "\"traker\" is no component, did you mean tracker?; components are session, torrent, peer",
        ),
        ("loud", "\"loud\" is no level; levels are off, error, warn, info, debug, trace"),
        ("peer=loud", "\"loud\" is no level"),
        ("=info", "\"\" is no component"),
    ];
    for (arg, want) in cases {
        let ran = ctl::run(&daemon, &["log", "peer=trace", arg]).expect(2);
        assert!(ran.err.contains(want), "{arg}: {}", ran.err);
    }
    let (_, log) = ctl::json(&daemon, &["log"]);
    assert_eq!(log["spec"], "debug", "all or nothing");
}

/// One record as the journal gets it: names and values.
type Record = BTreeMap<String, String>;

/// Reads the native protocol of the journal (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
fn record(mut bytes: &[u8]) -> Record {
    let mut fields = Record::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (String::from_utf8(bytes[..end].to_vec()).unwrap(), &bytes[end + 1..]);
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => {
                bytes = rest;
                (name.to_owned(), value.to_owned())
            }
            None => {
                let (len, rest) = rest.split_at(8);
                let len = u64::from_le_bytes(len.try_into().unwrap()) as usize;
                bytes = &rest[len + 1..];
                (line, String::from_utf8(rest[..len].to_vec()).unwrap())
            }
        };
        let legal = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        assert!(legal && !name.starts_with('_'), "{name} is no name for the journal");
        fields.insert(name, value);
    }
    fields
}

/// A journal that passes on what it gets: it must be emptied all the time, or the daemon would wait.
fn journal(folder: &Path) -> Receiver<Record> {
    let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (sender, records) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let got = socket.recv(&mut buffer).map(|len| record(&buffer[..len]));
            let over = match got {
                Ok(record) => sender.send(record).is_err(),
                Err(_) => sender.send(Record::new()).is_err(),
            };
            if over {
                return;
            }
        }
    });
    records
}

#[test]
fn the_journal_gets_torrent_and_peer_as_fields() {
    let Some(mut net) = Net::required("the_journal_gets_torrent_and_peer_as_fields") else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = journal(folder.path());
    // Only the daemon sees this journal, and its standard error counts as connected to it.
    let mounts = format!(
        "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; mount --bind {} /run/systemd/journal; \
         JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); export JOURNAL_STREAM",
        folder.path().display()
    );
    let daemon =
        Daemon::with(Settings { ips: vec![net.home()], mounts: Some(mounts), ..Settings::default() });
    let payload = Payload::single("logged.bin", 300_000, 65_536);
    let torrent = Maker::new(&payload).make();
    let seeder = Seeder::start(net.ip(), &[(&payload, &torrent)]);
    let id = daemon.add(&torrent, &daemon.downloads(), &[seeder.addr()]);
    daemon.wait_seeding(&id);

    let mut seen: Vec<Record> = Vec::new();
    let mut find = |what: &str, target: &str| {
        until(&format!("{what} in the journal"), SOON, || {
            seen.extend(records.try_iter());
            let mut of = seen.iter().filter(|record| record.get("TARGET").is_some_and(|t| t == target));
            of.find(|record| record.get("MESSAGE").is_some_and(|message| message == what)).cloned()
        })
    };
    let of = |record: &Record, name: &str| record.get(name).cloned().unwrap_or_default();
    let connected = find("connected", "wgod::peer");
    assert_eq!(of(&connected, "INFO_HASH"), id, "{connected:#?}");
    assert_eq!(of(&connected, "NAME"), "logged.bin", "{connected:#?}");
    assert_eq!(of(&connected, "PEER"), seeder.addr().to_string(), "{connected:#?}");
    assert_eq!(of(&connected, "SYSLOG_IDENTIFIER"), "wgod", "{connected:#?}");
    let complete = find("complete", "wgod::session::effects");
    assert_eq!(of(&complete, "INFO_HASH"), id, "{complete:#?}");
    assert_eq!(complete.get("PEER"), None, "{complete:#?}");
    assert!(find("wgod is running", "wgod::daemon").contains_key("VERSION"));
    let prefixed: Vec<_> = seen.iter().flat_map(Record::keys).filter(|name| name.starts_with("F_")).collect();
    assert_eq!(prefixed, Vec::<&String>::new());
    assert_eq!(daemon.log(), "", "the journal has it all");
    let status = daemon.call(async |client| client.status(Default::default()).await).unwrap();
    assert_eq!(status.daemon.pid, daemon.pid());
}
