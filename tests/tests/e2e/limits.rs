//! Rate limits, measured by the other side. The long form (`WGOD_LONG=1`) is issue 2's: 30 torrents,
//! 10 s, 1 %. The short one asserts what no busy machine can blur: the limit holds, nobody starves.
use std::path::Path;
use std::time::{Duration, Instant};

use wgo_tests::leecher::Leecher;
use wgo_tests::seeder::Seeder;
use wgo_tests::wait::{SOON, long, pause, until};
use wgo_tests::{Daemon, Maker, Net, Payload, Settings, Torrent};

const LIMIT: u64 = 2_000_000;
const PIECE: u32 = 65_536;

/// What is measured: how many torrents each way, for how long, and how far off things may be.
struct Form {
    each_way: usize,
    bytes: usize,
    warm_up: Duration,
    span: Duration,
    /// How far the rate may be above the limit, and below, in parts of the limit.
    above: f64,
    below: f64,
    share_off: f64,
    worst_second: f64,
}

fn form() -> Form {
    if long() {
        let (warm_up, span) = (Duration::from_secs(8), Duration::from_secs(10));
        Form {
            each_way: 15,
            bytes: 8 << 20,
            warm_up,
            span,
            above: 0.01,
            below: 0.01,
            share_off: 0.15,
            worst_second: 0.5,
        }
    } else {
        let (warm_up, span) = (Duration::from_secs(3), Duration::from_secs(5));
        Form {
            each_way: 5,
            bytes: 8 << 20,
            warm_up,
            span,
            above: 0.10,
            below: 0.7,
            share_off: 0.5,
            worst_second: 0.0,
        }
    }
}

fn torrents(kind: &str, form: &Form) -> Vec<(Payload, Torrent)> {
    let make = |n| {
        let payload = Payload::single(&format!("{kind}-{n}.bin"), form.bytes, PIECE);
        let torrent = Maker::new(&payload).make();
        (payload, torrent)
    };
    (0..form.each_way).map(make).collect()
}

/// Counters, second by second.
fn sample(span: Duration, mut count: impl FnMut() -> Vec<u64>) -> (Duration, Vec<Vec<u64>>) {
    let begun = Instant::now();
    let mut samples = vec![count()];
    while begun.elapsed() < span {
        pause(Duration::from_secs(1));
        samples.push(count());
    }
    (begun.elapsed(), samples)
}

fn judge(what: &str, form: &Form, took: Duration, samples: &[Vec<u64>]) {
    let total = |sample: &Vec<u64>| sample.iter().sum::<u64>();
    let (first, last) = (&samples[0], samples.last().unwrap());
    let all = (total(last) - total(first)) as f64;
    let rate = all / took.as_secs_f64();
    let each: Vec<f64> = last.iter().zip(first).map(|(b, a)| (b - a) as f64).collect();
    let fair = all / each.len() as f64;
    let seconds: Vec<f64> =
        samples.windows(2).map(|pair| (total(&pair[1]) - total(&pair[0])) as f64).collect();
    eprintln!("{what}: {rate:.0} B/s; shares {each:.0?}; seconds {seconds:.0?}");
    let limit = LIMIT as f64;
    let off = rate / limit - 1.0;
    assert!(off <= form.above && -off <= form.below, "{what}: {rate:.0} B/s under a limit of {LIMIT}");
    for share in &each {
        assert!(
            (share / fair - 1.0).abs() <= form.share_off,
            "{what}: a torrent got {share}, fair is {fair}"
        );
    }
    let worst = seconds.iter().copied().fold(f64::MAX, f64::min);
    assert!(worst >= limit * form.worst_second, "{what}: a second of {worst} bytes");
}

#[test]
fn many_torrents_share_one_limit_each_way() {
    let Some(mut net) = Net::required("many_torrents_share_one_limit_each_way") else { return };
    net.short_buffers();
    let form = form();
    let settings = Settings { ips: vec![net.home()], up: LIMIT, down: LIMIT, ..Settings::default() };
    let daemon = Daemon::with(settings);
    let (seeds, leeches) = (torrents("up", &form), torrents("down", &form));
    for (payload, torrent) in &seeds {
        payload.write(&daemon.downloads());
        let id = daemon.add(torrent, &daemon.downloads(), &[]);
        daemon.wait_seeding(&id);
    }
    let held: Vec<_> = leeches.iter().map(|(payload, torrent)| (payload, torrent)).collect();
    let seeder = Seeder::start(net.ip(), &held);
    for (_, torrent) in &leeches {
        daemon.add(torrent, &daemon.downloads(), &[seeder.addr()]);
    }
    let to = daemon.listens(net.home());
    let takers: Vec<_> = seeds
        .iter()
        .map(|(_, torrent)| Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, PIECE))
        .collect();
    until("bytes flow both ways", SOON, || {
        (seeder.sent() > 0 && takers.iter().all(|taker| taker.bytes() > 0)).then_some(())
    });
    pause(form.warm_up);
    let (took, samples) = sample(form.span, || {
        let up = takers.iter().map(Leecher::bytes);
        up.chain(seeder.sent_each()).collect()
    });
    let part = |range: std::ops::Range<usize>| -> Vec<Vec<u64>> {
        samples.iter().map(|sample| sample[range.clone()].to_vec()).collect()
    };
    judge("up", &form, took, &part(0..form.each_way));
    judge("down", &form, took, &part(form.each_way..2 * form.each_way));
}

#[test]
fn a_changed_limit_takes_effect_at_once() {
    let Some(mut net) = Net::required("a_changed_limit_takes_effect_at_once") else { return };
    net.short_buffers();
    let settings = Settings { ips: vec![net.home()], up: 200_000, ..Settings::default() };
    let daemon = Daemon::with(settings);
    let payload = Payload::single("changing.bin", 4 << 20, PIECE);
    payload.write(&daemon.downloads());
    let torrent = Maker::new(&payload).make();
    let id = daemon.add(&torrent, &daemon.downloads(), &[]);
    daemon.wait_seeding(&id);
    let to = daemon.listens(net.home());
    let taker = Leecher::start(net.ip(), to, torrent.hash, torrent.pieces, PIECE);
    until("bytes flow", SOON, || (taker.bytes() > 0).then_some(()));
    let rate = |secs: u64| {
        let (begun, before) = (Instant::now(), taker.bytes());
        pause(Duration::from_secs(secs));
        (taker.bytes() - before) as f64 / begun.elapsed().as_secs_f64()
    };
    pause(Duration::from_secs(1));
    let slow = rate(3);
    assert!(slow < 300_000.0, "{slow} B/s under 200 kB/s");
    daemon.limit(None, Some(2_000_000), None);
    pause(Duration::from_secs(1));
    let fast = rate(2);
    assert!(fast > 1_200_000.0, "{fast} B/s a second after the limit rose to 2 MB/s");
    daemon.limit(Some(&id), Some(100_000), None);
    pause(Duration::from_secs(1));
    let own = rate(3);
    assert!(own < 200_000.0, "{own} B/s under the torrent's own 100 kB/s");
    assert!(Path::new(&daemon.torrent(&id).folder).is_absolute());
}
