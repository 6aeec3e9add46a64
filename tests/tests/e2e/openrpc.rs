//! What the daemon answers is what the OpenRPC document of its API says, for every method; and what that refuses, the
//! daemon refuses.
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jsonrpsee::core::client::{ClientT, SubscriptionClientT};
use jsonrpsee::core::params::ObjectParams;
use serde_json::{Value, json};
use wgo_api::client::connect_websocket;
use wgo_tests::api_doc::check::faults;
use wgo_tests::api_doc::request_schema;
use wgo_tests::http::post_unix;
use wgo_tests::leecher::Leecher;
use wgo_tests::maker::Torrent;
use wgo_tests::seeder::{Habits, Seeder};
use wgo_tests::tracker::{Over, Tracker};
use wgo_tests::wait::{SOON, TRANSFER, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings};

const PIECE: u32 = 32_768;

/// A caller who holds all that goes over the wire against the document.
struct Checked {
    daemon: Daemon,
    document: Value,
    called: BTreeSet<String>,
}

impl Checked {
    /// Starts a daemon and has it give out its document.
    fn start(settings: Settings) -> Checked {
        let daemon = Daemon::with(settings);
        let mut checked = Checked {
            daemon,
            document: serde_json::from_str(wgo_api::OPENRPC).unwrap(),
            called: BTreeSet::new(),
        };
        let given = checked.call("rpc.discover", json!({}));
        assert!(given == checked.document, "a daemon gives out the document of its own version");
        checked
    }

    fn post(&self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = post_unix(&self.daemon.socket(), request.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{method}");
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// What the document says of a method.
    #[track_caller]
    fn described(&self, method: &str) -> &Value {
        let methods = self.document["methods"].as_array().unwrap();
        methods.iter().find(|known| known["name"] == method).unwrap_or_else(|| panic!("no method {method}"))
    }

    #[track_caller]
    fn holds(&self, what: &str, schema: &Value, value: &Value) {
        let found = faults(&self.document, schema, value);
        assert!(found.is_empty(), "{what}: {found:#?}");
    }

    /// A call that succeeds, whose parameters and result are as documented.
    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.holds(&format!("parameters of {method}"), &request_schema(&self.document, method), &params);
        let mut answer = self.post(method, &params);
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        let result = answer["result"].take();
        self.holds(&format!("result of {method}"), &self.described(method)["result"]["schema"], &result);
        self.called.insert(method.to_owned());
        result
    }

    /// A call that fails, with an error that is as documented.
    #[track_caller]
    fn fails(&self, method: &str, params: Value) -> Value {
        let mut answer = self.post(method, &params);
        let error = answer["error"].take();
        let documented: Vec<&Value> =
            self.document["components"]["errors"].as_object().unwrap().values().collect();
        let known = documented.iter().find(|known| known["code"] == error["code"]);
        let known = known.unwrap_or_else(|| panic!("{method} {params}: {error} has no documented code"));
        self.holds(&format!("error of {method}"), &known["data"], &error["data"]);
        error
    }
}

/// A daemon with a torrent that seeds to a peer, one that downloads slowly, and one that is stopped.
struct Busy {
    checked: Checked,
    torrents: Vec<Torrent>,
    _peers: (Seeder, Leecher, Tracker),
}

impl Busy {
    fn begin(net: &mut Net) -> Busy {
        let sections = "[seeding]\nratio = 1000\n[queue]\ndownloads = 9\n".to_owned();
        let mut checked = Checked::start(Settings { ips: vec![net.home()], sections, ..Settings::default() });
        let tracker = Tracker::start(net.ip(), &[]);
        let payloads = ["seeds", "slow", "rests"].map(|name| {
            Payload::multi(name, PIECE, &[("big.bin", 600_000), ("note.txt", 700), ("sub/cover.jpg", 60_000)])
        });
        let torrents: Vec<Torrent> = payloads
            .iter()
            .map(|payload| Maker::new(payload).tier([tracker.url(Over::Http)]).make())
            .collect();
        payloads[0].write(&checked.daemon.downloads());
        let habits = Habits { pause: std::time::Duration::from_millis(200), ..Habits::default() };
        let seeder = Seeder::with(net.ip(), &[(&payloads[1], &torrents[1])], habits);
        let sources: Vec<Value> =
            torrents.iter().map(|torrent| json!({"torrent": BASE64.encode(&torrent.bytes)})).collect();
        checked.call(
            "add",
            json!({"sources": sources[..1], "labels": ["a", "b"], "ratio": 500.0, "check": "full"}),
        );
        let peers = [seeder.addr().to_string()];
        checked.call("add", json!({"sources": sources[1..2], "peers": peers, "first_last": true}));
        let magnet = json!({"uri": "magnet:?xt=urn:btih:not-a-hash"});
        let added = checked.call("add", json!({"sources": [sources[2], sources[0], magnet], "paused": true}));
        let statuses: Vec<&Value> =
            added["torrents"].as_array().unwrap().iter().map(|added| &added["status"]).collect();
        assert_eq!(statuses, ["added", "present", "failed"], "{added}");
        checked.call("wait", json!({"id": "seeds", "for": "done", "timeout_secs": 120}));
        let listens = checked.daemon.listens(net.home());
        // Of all but the last piece, which is shorter.
        let leecher = Leecher::start(net.ip(), listens, torrents[0].hash, torrents[0].pieces - 1, PIECE);
        Busy { checked, torrents, _peers: (seeder, leecher, tracker) }
    }
}

#[test]
fn every_method_answers_as_documented() {
    let mut net = Net::new();
    let mut busy = Busy::begin(&mut net);
    looks(&mut busy);
    subscriptions(&mut busy.checked);
    let checked = &mut busy.checked;
    changes_of_torrents(checked);
    the_daemon_itself(checked);
    let documented: BTreeSet<String> = checked.document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|method| method["name"].as_str().unwrap().to_owned())
        .collect();
    let never: Vec<_> = documented.difference(&checked.called).collect();
    assert!(never.is_empty(), "methods that no test calls as documented; add calls of them here: {never:?}");
    assert!(checked.daemon.process().wait(SOON).success());
}

/// Torrents, seen in every way while they do something.
fn looks(busy: &mut Busy) {
    let checked = &mut busy.checked;
    let whole = json!({"id": "seeds", "files": true, "peers": true, "trackers": true, "pieces": true});
    until("a peer and a tracker are shown", TRANSFER, || {
        let shown = checked.call("show", whole.clone());
        let has = |list: &str| shown[list].as_array().is_some_and(|list| !list.is_empty());
        (has("peers") && has("trackers") && shown["torrent"]["up_rate"] != 0).then_some(())
    });
    let slow = json!({"id": "slow", "files": true, "peers": true, "trackers": true, "pieces": true});
    until("it downloads", TRANSFER, || {
        (checked.call("show", slow.clone())["torrent"]["eta_secs"].is_u64()).then_some(())
    });
    let list = checked.call("list", json!({}));
    assert_eq!(list["torrents"].as_array().unwrap().len(), 3);
    let params =
        json!({"filter": {"states": ["seeding"], "labels": ["a"], "text": "EE"}, "fields": ["name"]});
    assert_eq!(checked.call("list", params)["torrents"][0]["name"], "seeds");
    checked.call("list", json!({"since": list["version"]}));
    checked.call("status", json!({"torrents": true}));
    checked.call("status", json!({"ids": [busy.torrents[2].id()]}));
    checked.call("stats", json!({}));
    let metainfo = checked.call("metainfo", json!({"id": "seeds"}));
    assert_eq!(metainfo["torrent"], BASE64.encode(&busy.torrents[0].bytes));
    checked.call("doctor", json!({}));
}

/// Over a WebSocket: what a subscription sends, and its end.
fn subscriptions(checked: &mut Checked) {
    let named = |params: &[(&str, Value)]| {
        let mut all = ObjectParams::new();
        params.iter().for_each(|(name, value)| all.insert(name, value).unwrap());
        all
    };
    let (first, later, listed) = checked.daemon.block_on(async {
        let client = connect_websocket(&checked.daemon.socket(), SOON).await.unwrap();
        let params = named(&[("fields", json!(["name", "down_rate", "uploaded_bytes"]))]);
        let mut changes = client.subscribe::<Value, _>("subscribe", params, "unsubscribe").await.unwrap();
        let mut next = async || {
            tokio::time::timeout(SOON, changes.next())
                .await
                .expect("a change is told in time")
                .unwrap()
                .unwrap()
        };
        let (first, later) = (next().await, next().await);
        changes.unsubscribe().await.unwrap();
        (first, later, client.request::<Value, _>("list", named(&[])).await.unwrap())
    });
    let described = checked.described("subscribe");
    assert_eq!(described["x-notification"]["method"], "changes");
    let item = described["x-notification"]["result"].clone();
    checked.holds("the first list", &item, &first);
    checked.holds("a change", &item, &later);
    checked.holds("list", &checked.described("list")["result"]["schema"].clone(), &listed);
    assert_eq!((&first["full"], &later["full"]), (&json!(true), &json!(false)));
    checked.called.extend(["subscribe", "unsubscribe"].map(str::to_owned));
}

fn changes_of_torrents(checked: &mut Checked) {
    for (method, params) in [
        ("limit", json!({"up": 1_000_000})),
        ("limit", json!({"id": "slow", "down": 2_000_000})),
        ("limit", json!({})),
        ("alt", json!({"mode": "on", "up": 500_000})),
        ("limit", json!({})),
        ("alt", json!({"mode": "auto"})),
        (
            "files",
            json!({"id": "rests", "choose": {"only": ["*.txt"], "high": ["note.txt"]}, "first_last": true}),
        ),
        ("trackers", json!({"id": "rests", "add": ["udp://127.0.0.1:9/"], "tier": 0})),
        ("label", json!({"all": true, "add": ["c"]})),
        ("label", json!({"ids": ["slow", "nobody"], "set": []})),
        (
            "set",
            json!({"ids": ["rests"], "priority": "high", "ratio": 1.5, "seed_time_secs": "default", "goal_action": "keep"}),
        ),
        ("queue", json!({"ids": ["rests"], "to": 0})),
        ("queue", json!({"ids": ["rests"], "to": "bottom"})),
        ("show", json!({"id": "rests", "files": true, "trackers": true})),
        ("start", json!({"ids": ["rests"], "now": true})),
        ("announce", json!({"all": true})),
        ("scrape", json!({"ids": ["rests", "nobody"]})),
        ("stop", json!({"ids": ["rests", "slow"]})),
        ("rename", json!({"id": "rests", "path": "rests", "to": "leisure"})),
        ("verify", json!({"ids": ["seeds"]})),
    ] {
        checked.call(method, params);
    }
    let shelf = checked.daemon.home().join("shelf");
    checked.call("move", json!({"ids": ["leisure"], "folder": shelf}));
    checked.call("status", json!({"torrents": true}));
    let removed = checked.call("remove", json!({"ids": ["leisure", "nobody"], "data": true}));
    assert_eq!(
        (&removed["torrents"][0]["status"], &removed["torrents"][1]["kind"]),
        (&json!("ok"), &json!("no_match"))
    );
}

fn the_daemon_itself(checked: &mut Checked) {
    checked.call("config", json!({}));
    checked.call("config", json!({"keys": ["limits"], "check": true}));
    checked.call("config_reset", json!({"keys": ["limits"]}));
    checked.call("config_reset", json!({"all": true}));
    checked.call("reload", json!({}));
    checked.call("log", json!({"spec": "peer=trace"}));
    checked.call("log", json!({"reset": true}));
    let made = checked.call("backup", json!({}));
    let part = checked.call("read_backup", json!({"id": made["id"], "offset": 0}));
    let kept = checked.call("write_backup", json!({"offset": 0, "data": part["data"]}));
    assert_eq!(kept["size_bytes"], made["backup"]["size_bytes"], "it fits one part");
    checked.call("restore", json!({"id": kept["id"], "check": true}));
    checked.call("quit", json!({"now": true}));
}

#[test]
fn what_the_document_refuses_the_daemon_refuses() {
    let net = Net::new();
    let checked = Checked::start(Settings { ips: vec![net.home()], ..Settings::default() });
    for (method, params) in [
        ("limit", json!({"upp": 1})),
        ("limit", json!({"up": -1})),
        ("limit", json!({"up": 1.5})),
        ("show", json!({})),
        ("show", json!({"id": 7})),
        ("show", json!({"id": null})),
        ("stop", json!({"ids": "a"})),
        ("wait", json!({"id": "a", "for": "ever"})),
        ("list", json!({"fields": ["nmae"]})),
        ("list", json!({"filter": {"state": []}})),
        ("queue", json!({"ids": ["a"], "to": "first"})),
        ("set", json!({"all": true, "goal_action": "delete"})),
        ("set", json!({"all": true, "seed_time_secs": "never"})),
        ("add", json!({"sources": [{"torrent": "", "uri": ""}]})),
        ("add", json!({"sources": [{"url": "http://127.0.0.1/"}]})),
        ("add", json!({"sources": [], "known": {"had": "all"}})),
        ("files", json!({"id": "a", "choose": ["*"]})),
        ("trackers", json!({"id": "a", "replace": [{"old": "a"}]})),
        ("trackers", json!({"id": "a", "tier": 4_294_967_296_u64})),
        ("write_backup", json!({"offset": 0, "data": "*"})),
        ("quit", json!({"later": true})),
        ("stats", json!({"of": "me"})),
    ] {
        let schema = request_schema(&checked.document, method);
        assert!(!faults(&checked.document, &schema, &params).is_empty(), "documented: {method} {params}");
        let error = checked.fails(method, params.clone());
        assert_eq!(error["data"]["kind"], "bad_request", "{method} {params}: {error}");
    }
    // As documented, and wrong all the same.
    for (method, params, kind) in [
        ("show", json!({"id": "nobody"}), "no_match"),
        ("stop", json!({}), "bad_request"),
        ("read_backup", json!({"id": "none", "offset": 0}), "no_match"),
        ("label", json!({"all": true}), "bad_request"),
    ] {
        checked.holds(method, &request_schema(&checked.document, method), &params);
        assert_eq!(checked.fails(method, params)["data"]["kind"], kind, "{method}");
    }
    // A notification is nobody's call.
    let limits = || checked.post("limit", &json!({}))["result"]["limits"].clone();
    let before = limits();
    let notification = json!({"jsonrpc": "2.0", "method": "limit", "params": {"up": 1}});
    let answer = post_unix(&checked.daemon.socket(), notification.to_string().as_bytes()).unwrap();
    assert!(answer.status == 200 && !String::from_utf8_lossy(&answer.body).contains("result"), "{answer:?}");
    assert_eq!(limits(), before);
}
