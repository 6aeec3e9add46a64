//! The limiter under random operations: no window carries more than a limit allows and one burst.
use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;

/// Grants under one limit, to hold against its promise: no window carries more than the limit allows
/// and one burst.
#[derive(Default)]
struct Meter {
    limit: Option<u64>,
    /// Bytes that may come on top.
    spare: u64,
    log: VecDeque<(Time, i64)>,
}

impl Meter {
    fn set(&mut self, limit: Option<u64>) {
        *self = Meter { limit, spare: self.spare, log: VecDeque::new() };
    }

    fn count(&mut self, now: Time, bytes: i64) {
        let Some(rate) = self.limit else { return };
        self.log.push_back((now, bytes));
        let mut sum = 0;
        for &(at, bytes) in self.log.iter().rev() {
            sum += bytes;
            let window = Duration::from_millis(100) + now.since(at);
            // A limit that was lowered keeps at most its own burst, so each stretch stands alone.
            let allowed = ByteRate(rate).over(window) + 1024 + self.spare;
            assert!(sum <= allowed as i64, "{sum} bytes in {window:?} at {rate}");
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Request(usize, u32),
    GiveBack(usize, u32),
    Wait(u64),
    Poll,
    Global(Option<u64>),
    Torrent(u64, Option<u64>),
    Class(u32, Option<u64>),
    Classes(u64, u32),
    Close(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let rate = prop_oneof![
        1 => Just(None),
        1 => Just(Some(0)),
        6 => prop::sample::select(vec![1, 900, 4_000, 70_000, 3_000_000, 900_000_000]).prop_map(Some)
    ];
    prop_oneof![
        20 => (0usize..12, 0u32..200_000).prop_map(|(flow, want)| Op::Request(flow, want)),
        3 => (0usize..12, 0u32..20_000).prop_map(|(flow, bytes)| Op::GiveBack(flow, bytes)),
        12 => (0u64..30_000_000).prop_map(Op::Wait),
        1 => (0u64..5_000_000_000).prop_map(Op::Wait),
        12 => Just(Op::Poll),
        1 => rate.clone().prop_map(Op::Global),
        1 => (0u64..3, rate.clone()).prop_map(|(torrent, rate)| Op::Torrent(torrent, rate)),
        1 => (0u32..3, rate).prop_map(|(class, rate)| Op::Class(class, rate)),
        1 => (0u64..3, 0u32..8).prop_map(|(torrent, classes)| Op::Classes(torrent, classes)),
        1 => (0usize..12).prop_map(Op::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_sequence_of_operations_breaks_a_limit_or_the_books(ops in prop::collection::vec(op(), 1..400)) {
        let mut limiter = Limiter::new();
        let mut flows: Vec<_> = (0..12).map(|f| limiter.open(TorrentId(f % 3), Direction::Up)).collect();
        let mut given = [0u32; 12];
        let (mut global, mut own) = (Meter::default(), [(); 3].map(|()| Meter::default()));
        let mut classes = [(); 3].map(|()| Meter::default());
        // The classes of each torrent, as bits.
        let mut of = [0u32; 3];
        let mut now = Time::ZERO;
        for op in ops {
            let mut grants = Vec::new();
            match op {
                Op::Request(f, want) => if let Grant::Granted(bytes) = limiter.request(now, flows[f], want) {
                    prop_assert!(bytes <= want && (bytes > 0 || want == 0));
                    grants.push((flows[f], bytes));
                },
                Op::GiveBack(f, bytes) => {
                    let bytes = bytes.min(given[f]);
                    given[f] -= bytes;
                    limiter.give_back(flows[f], bytes);
                    global.count(now, -i64::from(bytes));
                    own[f % 3].count(now, -i64::from(bytes));
                    // A class that the torrent came into since may get back what it never gave, up to a burst.
                    classes.iter_mut().for_each(|class| class.set(class.limit));
                }
                Op::Wait(nanos) => now += Duration::from_nanos(nanos),
                Op::Poll => {
                    limiter.poll(now, &mut grants);
                    prop_assert!(limiter.next_timeout().is_none_or(|at| at > now));
                }
                Op::Global(rate) => {
                    limiter.set_global(now, Direction::Up, rate.map(ByteRate));
                    global.set(rate);
                }
                Op::Torrent(t, rate) => {
                    limiter.set_torrent(now, TorrentId(t), Direction::Up, rate.map(ByteRate));
                    own[t as usize].set(rate);
                }
                Op::Class(c, rate) => {
                    limiter.set_class(now, ClassId(c), Direction::Up, rate.map(ByteRate));
                    let meter = &mut classes[c as usize];
                    // What each of its torrents has taken along for one request that waits elsewhere.
                    meter.spare = 3 * 1024.max(rate.unwrap_or(0) / 20);
                    meter.set(rate);
                }
                Op::Classes(t, bits) => {
                    of[t as usize] = bits;
                    let set: Vec<ClassId> = (0..3).filter(|c| bits & 1 << c != 0).map(ClassId).collect();
                    limiter.set_classes(now, TorrentId(t), &set);
                    classes.iter_mut().for_each(|class| class.set(class.limit));
                }
                Op::Close(f) => {
                    limiter.close(flows[f]);
                    flows[f] = limiter.open(TorrentId(f as u64 % 3), Direction::Up);
                    given[f] = 0;
                }
            }
            for (id, bytes) in grants {
                let f = flows.iter().position(|&flow| flow == id).expect("only open flows are granted");
                given[f] = bytes;
                global.count(now, i64::from(bytes));
                own[f % 3].count(now, i64::from(bytes));
                for (c, class) in classes.iter_mut().enumerate().filter(|(c, _)| of[f % 3] & 1 << c != 0) {
                    prop_assert!(class.limit.is_none_or(|rate| rate > 0 || bytes <= 1024), "class {c} is shut");
                    class.count(now, i64::from(bytes));
                }
            }
            limiter.check_invariants();
        }
    }
}
