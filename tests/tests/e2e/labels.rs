//! Labels, as operators and programs give and take them.
use serde_json::Value;
use wgo_api::ApiClient;
use wgo_api::Kind;
use wgo_api::params::{AddParams, LabelParams, Source};
use wgo_tests::{Daemon, Maker, Net, Payload, ctl};

/// The labels that `list` shows of a torrent.
fn labels(daemon: &Daemon, id: &str) -> Vec<String> {
    let (code, list) = ctl::json(daemon, &["list"]);
    assert_eq!(code, 0, "{list}");
    let row = list["torrents"].as_array().unwrap().iter().find(|row| row["info_hash"] == id);
    let labels = row.unwrap()["labels"].as_array().unwrap();
    labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect()
}

fn found(daemon: &Daemon, label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    let (code, list) = ctl::json(daemon, &["list", "--filter", &filter]);
    assert_eq!(code, 0, "{list}");
    let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
    list["torrents"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn labels_are_given_taken_found_and_outlast_a_kill() {
    let net = Net::new();
    let mut daemon = Daemon::start(&net);
    let ids: Vec<String> = ["one.bin", "two.bin"]
        .iter()
        .map(|name| {
            let payload = Payload::single(name, 100_000, 32_768);
            payload.write(&daemon.downloads());
            daemon.add(&Maker::new(&payload).make(), &daemon.downloads(), &[])
        })
        .collect();
    ctl::run(&daemon, &["label", "one.bin", "--add", "tv", "--add", "hd ready"]).expect(0);
    ctl::run(&daemon, &["label", "--all", "--add", "tv"]).expect(0);
    assert_eq!(labels(&daemon, &ids[0]), ["hd ready", "tv"]);
    assert_eq!(found(&daemon, "tv").len(), 2);
    assert_eq!(found(&daemon, "hd ready"), ["one.bin"]);
    ctl::run(&daemon, &["label", "two.bin", "--set", "films,tv"]).expect(0);
    ctl::run(&daemon, &["label", "two.bin", "--remove", "tv", "--remove", "never there"]).expect(0);
    ctl::run(&daemon, &["label", "nobody", "--add", "x"]).expect(4);
    ctl::run(&daemon, &["label", "nobody", "two.bin", "--add", "x"]).expect(5);
    // What was acknowledged is on disk.
    daemon.kill9();
    daemon.run();
    assert_eq!(labels(&daemon, &ids[0]), ["hd ready", "tv"]);
    assert_eq!(labels(&daemon, &ids[1]), ["films", "x"]);
    ctl::run(&daemon, &["label", "--all", "--set", ""]).expect(0);
    daemon.kill9();
    daemon.run();
    assert!(ids.iter().all(|id| labels(&daemon, id).is_empty()));
}

#[test]
fn what_is_no_label_changes_nothing_over_the_socket_either() {
    let net = Net::new();
    let daemon = Daemon::start(&net);
    let payload = Payload::single("kept.bin", 100_000, 32_768);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let params = AddParams {
        sources: vec![Source::of_file(&torrent.bytes)],
        labels: vec!["a\nb".into()],
        ..AddParams::default()
    };
    let added = daemon.call(async |client| client.add(params).await).unwrap();
    assert_eq!(added.torrents[0].kind, Some(Kind::BadRequest), "{added:?}");
    assert!(daemon.list().is_empty());

    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    let full: Vec<String> = (0..32).map(|i| format!("label {i:02}")).collect();
    let set = |set: &[String]| LabelParams {
        ids: vec![id.clone()],
        set: Some(set.to_vec()),
        ..LabelParams::default()
    };
    daemon.call(async |client| client.label(set(&full)).await).unwrap();
    for wrong in ["", "a,b", "\u{1b}[2J", &"x".repeat(101)] {
        let error = daemon.call(async |client| client.label(set(&[wrong.to_owned()])).await).unwrap_err();
        assert_eq!(error.kind(), Kind::BadRequest, "{wrong:?}");
    }
    let more = LabelParams { ids: vec![id.clone()], add: vec!["more".into()], ..LabelParams::default() };
    let refused = daemon.call(async |client| client.label(more).await).unwrap();
    assert_eq!(refused.torrents[0].kind, Some(Kind::BadRequest), "{refused:?}");
    assert!(refused.torrents[0].error.as_ref().unwrap().contains("32 labels at most"), "{refused:?}");
    assert_eq!(labels(&daemon, &id), full);
}
