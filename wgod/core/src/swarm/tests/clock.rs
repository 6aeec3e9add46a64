//! What the clock does: silence, keep-alives, snubbing, trackers.
use super::rig::*;
use crate::peer::CloseReason;
use crate::swarm::Action;
use crate::tracker::{Event, Outcome, Retry};
use wgo_proto::BLOCK_LEN;
use wgo_proto::wire::Message;

#[test]
fn a_silent_peer_is_closed_and_one_that_keeps_alive_is_not() {
    let mut rig = Rig::new(2, &[]);
    let (silent, alive) = (rig.fast(1), rig.fast(2));
    for _ in 0..4 {
        rig.wait(secs(50));
        rig.says(alive, &Message::KeepAlive);
    }
    assert!(matches!(rig.closing(silent), Some(CloseReason::Silent(_))));
    assert_eq!(rig.closing(alive), None);
}

#[test]
fn time_in_which_we_do_not_read_is_no_silence_and_neither_is_half_a_block() {
    let mut rig = Rig::new(2, &[]);
    let (unread, slow) = (rig.fast(1), rig.fast(2));
    for _ in 0..4 {
        rig.wait(secs(100));
        rig.swarm.excuse(rig.now, unread);
        rig.swarm.heard(rig.now, slow);
    }
    assert_eq!((rig.closing(unread), rig.closing(slow)), (None, None));
}

#[test]
fn we_keep_quiet_connections_alive_and_do_not_heap_up_what_is_not_read() {
    let mut rig = Rig::new(2, &[]);
    let key = rig.fast(1);
    rig.heard(key);
    rig.wait(secs(90));
    assert_eq!(rig.heard(key), []);
    rig.says(key, &Message::KeepAlive);
    rig.wait(secs(70));
    assert_eq!(rig.heard(key), [Said::KeepAlive], "one, though ticks have passed");
}

#[test]
fn a_peer_that_sends_nothing_is_snubbed_and_its_requests_go_to_others() {
    let mut rig = Rig::new(1, &[]);
    let bad = rig.seed(1);
    let asked = rig.requests(bad);
    let mut snubbed = None;
    for second in 1..=20 {
        rig.wait(secs(1));
        rig.says(bad, &Message::KeepAlive);
        if rig.swarm.peer_views(rig.now)[0].snubbed {
            snubbed.get_or_insert(second);
        }
    }
    assert_eq!(snubbed, Some(10), "it never sent a block");
    assert!(rig.swarm.peer_views(rig.now)[0].requests <= 1);
    let good = rig.seed(2);
    rig.wait(secs(1));
    let other = rig.requests(good);
    assert!(asked.iter().all(|block| other.contains(block)), "{asked:?} {other:?}");
    rig.sends(bad, asked[0].0, asked[0].1);
    assert!(!rig.swarm.peer_views(rig.now)[0].snubbed, "a block heals it");
}

#[test]
fn a_peer_that_has_served_well_gets_a_minute() {
    let mut rig = Rig::new(100, &[]);
    let key = rig.seed(1);
    let asked = rig.requests(key);
    rig.sends(key, asked[0].0, asked[0].1);
    rig.wait(secs(50));
    assert!(!rig.swarm.peer_views(rig.now)[0].snubbed);
    rig.wait(secs(12));
    assert!(rig.swarm.peer_views(rig.now)[0].snubbed);
}

fn announces(rig: &mut Rig) -> Vec<(Option<Event>, crate::tracker::AnnounceId, crate::tracker::Stats)> {
    let announce =
        |action| if let Action::Announce(a) = action { Some((a.event, a.id, a.stats)) } else { None };
    rig.actions().into_iter().filter_map(announce).collect()
}

#[test]
fn trackers_hear_started_completed_and_stopped_with_true_numbers() {
    let mut rig = Rig::with(2, &[], &["http://t.example/announce"], 50);
    rig.wait(secs(0));
    let total = u64::from(2 * BLOCKS * BLOCK_LEN);
    let (event, id, stats) = announces(&mut rig)[0];
    assert_eq!((event, stats.left, stats.downloaded), (Some(Event::Started), total, 0));
    assert!(stats.num_want > 0);
    rig.swarm.on_announced(rig.now, id, &Outcome::default(), &[addr(9)]);
    rig.wait(secs(1));
    assert!(rig.actions().iter().any(|a| matches!(a, Action::Dial(..))), "its peers are dialled");
    let seed = rig.seed(1);
    rig.serve_all(seed);
    announces(&mut rig);
    rig.swarm.announce_completed(rig.now);
    let (event, id, stats) = announces(&mut rig)[0];
    assert_eq!((event, stats.left, stats.downloaded), (Some(Event::Completed), 0, total));
    assert!(stats.num_want > 0, "a seed looks for those who want something");
    rig.swarm.on_announced(rig.now, id, &Outcome::default(), &[]);
    rig.swarm.announce_stopped(rig.now);
    assert_eq!(announces(&mut rig)[0].0, Some(Event::Stopped));
    assert_eq!(announces(&mut rig).len(), 0, "once");
}

#[test]
fn trackers_hear_started_and_stopped_once_for_all_naps_of_a_torrent() {
    let url = &["http://t.example/announce"];
    let mut rig = Rig::with(2, &[0, 1], url, 50);
    rig.wait(secs(1));
    let (event, id, _) = announces(&mut rig)[0];
    assert_eq!(event, Some(Event::Started));
    let interval = Some(secs(1800));
    rig.swarm.on_announced(rig.now, id, &Outcome { interval, ..Outcome::default() }, &[]);
    let memory = rig.swarm.suspend_trackers();
    assert_eq!(memory.statuses().len(), 1, "shown while it sleeps");
    let mut woken = Rig::with(2, &[0, 1], url, 50);
    woken.now = rig.now;
    woken.swarm.resume_trackers(memory);
    woken.wait(secs(60));
    assert_eq!(announces(&mut woken).len(), 0, "it knows us, and its interval goes on");
    woken.wait(secs(1800));
    let (event, id, _) = announces(&mut woken)[0];
    assert_eq!(event, None);
    woken.swarm.on_announced(woken.now, id, &Outcome::default(), &[]);
    woken.swarm.announce_stopped(woken.now);
    assert_eq!(announces(&mut woken)[0].0, Some(Event::Stopped));
}

#[test]
fn a_tracker_busy_with_an_announce_hears_stopped_when_that_is_answered() {
    for answered in [true, false] {
        let mut rig = Rig::with(2, &[], &["http://t.example/announce"], 50);
        rig.wait(secs(0));
        let (_, id, _) = announces(&mut rig)[0];
        rig.swarm.on_announced(rig.now, id, &Outcome::default(), &[]);
        rig.wait(secs(31));
        rig.swarm.announce_now(rig.now);
        let Some((_, id, _)) = announces(&mut rig).pop() else { panic!("nothing said") };
        rig.swarm.announce_stopped(rig.now);
        assert_eq!(announces(&mut rig).len(), 0, "one at a time");
        // No clock any more: the torrent has left the registry.
        match answered {
            true => rig.swarm.on_announced(rig.now, id, &Outcome::default(), &[]),
            false => rig.swarm.on_announce_failed(rig.now, id, "no", Retry::BackOff),
        }
        assert_eq!(announces(&mut rig).pop().and_then(|a| a.0), Some(Event::Stopped), "{answered}");
    }
}

/// What is announced, to whom.
fn told(rig: &mut Rig) -> Vec<(String, Option<Event>)> {
    let told =
        |action| if let Action::Announce(a) = action { Some((a.url.to_string(), a.event)) } else { None };
    let mut told: Vec<_> = rig.actions().into_iter().filter_map(told).collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

#[test]
fn trackers_that_are_changed_hear_that_we_come_and_go_also_when_that_was_done_in_our_sleep() {
    let (old, kept, new) = ("http://a.example/", "http://b.example/", "http://c.example/");
    let tiers = [vec![kept.into()], vec![new.into()]];
    for asleep in [false, true] {
        let mut rig = Rig::with(2, &[0, 1], &[old, kept], 50);
        rig.wait(secs(1));
        let answers = Outcome { interval: Some(secs(1800)), ..Outcome::default() };
        let begun = announces(&mut rig);
        assert_eq!(begun.len(), 2);
        for (_, id, _) in begun {
            rig.swarm.on_announced(rig.now, id, &answers, &[]);
        }
        if asleep {
            let mut memory = rig.swarm.suspend_trackers();
            memory.set_trackers(&tiers);
            let urls: Vec<_> = memory.statuses().iter().map(|status| status.url.to_string()).collect();
            assert_eq!(urls, [kept, new]);
            let mut woken = Rig::with(2, &[0, 1], &[], 50);
            woken.now = rig.now;
            woken.swarm.resume_trackers(memory);
            woken.wait(secs(1));
            rig = woken;
        } else {
            rig.swarm.set_trackers(rig.now, &tiers);
        }
        let expected = [(old.to_owned(), Some(Event::Stopped)), (new.to_owned(), Some(Event::Started))];
        assert_eq!(told(&mut rig), expected, "asleep: {asleep}");
        rig.wait(secs(60));
        assert_eq!(told(&mut rig), [], "once; the one that stays has heard of us");
    }
}
