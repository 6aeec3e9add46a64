//! Regressions that the simulation found.
use std::time::Duration;

use wgo_proto::InfoHashes;

use super::super::*;

const HASHES: InfoHashes = InfoHashes { v1: None, v2: None };
const ID: TorrentId = TorrentId(1);

fn at(secs: u64) -> Time {
    Time::from_start(Duration::from_secs(secs))
}

fn effects(session: &mut Session) -> Vec<Effect> {
    session.check_invariants();
    std::iter::from_fn(|| session.poll_effect()).collect()
}

fn started(id: TorrentId, finished: bool) -> Newcomer {
    Newcomer {
        id,
        hashes: HASHES,
        started: true,
        known: true,
        needs: Check::None,
        check_asked: false,
        finished,
        device: 0,
        moving: None,
        place: Default::default(),
    }
}

fn full_disk() -> Fault {
    Fault { kind: FaultKind::DiskFull, message: "no space left".into() }
}

#[test]
fn completed_waits_for_a_checkpoint_that_began_after_the_last_piece() {
    let mut session = Session::new(QueueLimits::default());
    session.add(at(0), started(ID, false));
    session.handle_timeout(at(30));
    assert!(effects(&mut session).contains(&Effect::Checkpoint(ID)));
    session.on_finished(at(31), ID);
    assert_eq!(effects(&mut session), []);
    session.on_checkpointed(at(32), ID, true);
    assert_eq!(
        effects(&mut session),
        [Effect::Checkpoint(ID)],
        "the first one knew nothing of the last piece"
    );
    session.on_checkpointed(at(33), ID, true);
    assert_eq!(effects(&mut session), [Effect::Completed(ID)]);
}

#[test]
fn failures_of_what_was_under_way_do_not_put_the_probe_off() {
    let mut session = Session::new(QueueLimits::default());
    session.add(at(0), started(ID, false));
    for _ in 0..20 {
        session.on_fault(at(1), ID, full_disk());
    }
    effects(&mut session);
    session.handle_timeout(at(6));
    assert!(effects(&mut session).contains(&Effect::Probe(ID)), "five seconds after the first failure");
    session.on_fault(at(6), ID, full_disk());
    effects(&mut session);
    session.handle_timeout(at(15));
    assert!(!effects(&mut session).contains(&Effect::Probe(ID)), "a failed probe doubles the wait");
    session.handle_timeout(at(16));
    assert!(effects(&mut session).contains(&Effect::Probe(ID)));
}

#[test]
fn a_torrent_that_finishes_beyond_the_limit_of_seeds_queues_once_it_is_durable() {
    let mut session = Session::new(QueueLimits { seeds: Some(1), ..QueueLimits::default() });
    let other = TorrentId(2);
    session.add(at(0), started(ID, true));
    session.add(at(0), started(other, false));
    effects(&mut session);
    session.on_finished(at(1), other);
    assert_eq!(effects(&mut session), [Effect::Checkpoint(other)]);
    session.on_checkpointed(at(2), other, true);
    assert_eq!(effects(&mut session), [Effect::Completed(other), Effect::Halt(other)]);
    assert_eq!(session.row(other).map(Row::state), Some(State::Queued));
    session.stop(at(3), ID);
    assert!(effects(&mut session).contains(&Effect::GoLive(other)));
}
