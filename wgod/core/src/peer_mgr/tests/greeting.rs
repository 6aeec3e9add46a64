//! How peers are greeted, and what is remembered of it.
use super::*;

#[test]
fn a_peer_that_does_not_take_one_greeting_gets_the_other_at_once_and_what_it_takes_is_remembered() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Tracker);
    let dial = |peers: &mut PeerMgr, now| {
        assert_eq!(peers.next_dial(now), Some(peer(1)));
        peers.greeting(peer(1))
    };
    for first in [Greeting::Plain, Greeting::Encrypted] {
        peers.forget_all();
        peers.add(secs(0), peer(1), Source::Tracker);
        let other = first.other();
        assert_eq!(dial(&mut peers, secs(0)), None, "whatever the setting prefers");
        peers.on_greeting_refused(secs(1), peer(1), first);
        assert_eq!(dial(&mut peers, secs(1)), Some(other));
        peers.on_connected(secs(2), peer(1), Origin::Outgoing, id(1)).unwrap();
        peers.on_greeted(peer(1), other);
        peers.on_closed(secs(500), peer(1), Why::Ended);
        assert_eq!(dial(&mut peers, secs(600)), Some(other));
        peers.on_greeting_refused(secs(601), peer(1), other);
        assert_eq!(peers.next_dial(secs(602)), None, "it took this one before: it may just be full");
        assert_eq!(dial(&mut peers, secs(660)), Some(other));
        peers.on_greeting_refused(secs(661), peer(1), other);
        assert_eq!(dial(&mut peers, secs(661)), Some(first), "it may have changed its mind");
        peers.on_connected(secs(662), peer(1), Origin::Outgoing, id(1)).unwrap();
        peers.on_greeted(peer(1), first);
        peers.on_closed(secs(700), peer(1), Why::Stopping);
        assert_eq!(dial(&mut peers, secs(700)), Some(first));
        peers.on_greeting_refused(secs(701), peer(1), other);
        assert_eq!(dial(&mut peers, secs(701)), Some(first), "another setting had it greeted otherwise");
        peers.on_failed(secs(702), peer(1));
        peers.check_invariants();
    }
}

#[test]
fn a_peer_is_greeted_encrypted_if_it_is_said_to_want_that_and_it_did_not_take_another_greeting_itself() {
    let mut peers = manager(Limits::default());
    for n in [1, 2] {
        peers.add(secs(0), peer(n), Source::Pex);
    }
    peers.wants_encryption(peer(1));
    peers.wants_encryption(peer(3));
    assert_eq!((peers.greeting(peer(1)), peers.greeting(peer(2))), (Some(Greeting::Encrypted), None));
    assert_eq!(peers.counts().candidates, 2, "nobody is made known by it");
    dial_all(&mut peers, secs(0));
    peers.on_connected(secs(1), peer(1), Origin::Outgoing, id(1)).unwrap();
    peers.on_greeted(peer(1), Greeting::Plain);
    peers.wants_encryption(peer(1));
    assert_eq!(peers.greeting(peer(1)), Some(Greeting::Plain));
    peers.check_invariants();
}

#[test]
fn a_dial_to_a_forgotten_address_takes_no_place_after_a_greeting_was_refused() {
    let mut peers = manager(Limits { half_open: 1, ..Limits::default() });
    peers.add(secs(0), peer(1), Source::Tracker);
    assert_eq!(peers.next_dial(secs(0)), Some(peer(1)));
    peers.forget_all();
    peers.add(secs(0), peer(2), Source::Tracker);
    assert_eq!(peers.next_dial(secs(1)), None, "one dial is under way");
    peers.on_greeting_refused(secs(2), peer(1), Greeting::Plain);
    assert_eq!(peers.next_dial(secs(2)), Some(peer(2)));
}

#[test]
fn a_peer_that_takes_no_greeting_backs_off_like_any_that_fails() {
    let mut peers = manager(Limits::default());
    peers.add(secs(0), peer(1), Source::Tracker);
    let (mut now, mut greetings) = (secs(0), Vec::new());
    while peers.counts().candidates > 0 {
        assert!(greetings.len() < 100);
        for addr in dial_all(&mut peers, now) {
            let greeting = peers.greeting(addr).unwrap_or(Greeting::Plain);
            greetings.push(greeting);
            peers.on_greeting_refused(now, addr, greeting);
        }
        peers.check_invariants();
        now += Duration::from_secs(1);
    }
    assert_eq!(greetings, [Greeting::Plain, Greeting::Encrypted].repeat(MAX_FAILURES as usize));
}
