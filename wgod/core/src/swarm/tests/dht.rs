//! `port` messages (BEP 5), and that private torrents are left out of the DHT (BEP 27).
use wgo_proto::wire::{Message, Reserved};

use super::rig::*;
use crate::peer_mgr::Source;
use crate::swarm::Action;

fn told(rig: &mut Rig) -> Vec<std::net::SocketAddr> {
    let node = |action| if let Action::DhtNode(addr) = action { Some(addr) } else { None };
    rig.actions().into_iter().filter_map(node).collect()
}

#[test]
fn our_port_is_told_to_those_who_have_a_node() {
    let mut rig = Rig::new(1, &[]);
    let (with, without) = (rig.connect(1, Reserved::DHT), rig.plain(2));
    for key in [with, without] {
        rig.swarm.tell_dht_port(key, 6868);
    }
    assert!(rig.heard(with).contains(&Said::Other("port")));
    assert!(!rig.heard(without).contains(&Said::Other("port")));
}

#[test]
fn a_peers_node_is_at_the_peers_address_and_told_once() {
    let mut rig = Rig::new(1, &[]);
    let key = rig.plain(1);
    for port in [7000, 7001, 7002] {
        rig.says(key, &Message::Port(port));
    }
    let node = std::net::SocketAddr::new(addr(1).ip(), 7000);
    assert_eq!(told(&mut rig), [node]);
    let other = rig.plain(2);
    rig.says(other, &Message::Port(0));
    assert_eq!(told(&mut rig), [], "nobody is at port 0");
}

#[test]
fn a_private_torrent_tells_no_port_heeds_none_and_takes_no_peers_of_the_dht() {
    for (private, nodes, peers) in [(false, 1, 3), (true, 0, 0)] {
        let mut rig = Rig::new(1, &[]);
        rig.swarm.config.private = private;
        let key = rig.connect(1, Reserved::DHT);
        rig.swarm.tell_dht_port(key, 6868);
        assert_eq!(rig.heard(key).contains(&Said::Other("port")), !private);
        rig.says(key, &Message::Port(7000));
        assert_eq!(told(&mut rig).len(), nodes);
        for (n, source) in [(3, Source::Dht), (4, Source::Pex), (5, Source::Lsd)] {
            rig.swarm.add_candidates(rig.now, [addr(n)], source);
        }
        rig.wait(secs(1));
        assert_eq!(rig.count(|action| matches!(action, Action::Dial(..))), peers, "private: {private}");
    }
}
