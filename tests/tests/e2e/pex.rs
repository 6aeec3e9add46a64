//! Peer exchange (BEP 11) and what else peers tell of addresses (BEP 10), by connections that a test speaks for.
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use wgo_api::ApiClient;
use wgo_api::params::ReloadParams;
use wgo_proto::units::WireHash;
use wgo_proto::wire::extended::{Pex, PexFlags, PexPeer};
use wgo_proto::wire::{ExtHandshake, ExtMessage, Extension, ExtensionIds, Limits, MetadataMessage, Reserved};
use wgo_tests::daemon::Daemon;
use wgo_tests::maker::{Maker, Torrent};
use wgo_tests::net::Net;
use wgo_tests::payload::Payload;
use wgo_tests::wait::{SOON, until};
use wgo_tests::wire::{Got, Wire, dial, peer_id};

/// The extension protocol.
const EXTENDED: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]);

/// A connection that said `handshake`, and what it was told.
fn meet(
    from: IpAddr,
    to: SocketAddr,
    hash: WireHash,
    change: impl Fn(&mut ExtHandshake),
) -> (Wire, ExtHandshake) {
    let mut wire = until("the torrent takes connections", SOON, || {
        Wire::open(dial(Some(from), to, false).ok()?, hash, peer_id(), EXTENDED).ok()
    });
    let extensions = ExtensionIds::local(Extension::ALL);
    let mut ours = ExtHandshake { extensions, ..ExtHandshake::default() };
    change(&mut ours);
    say(&mut wire, &ExtMessage::Handshake(Box::new(ours)));
    match told(&mut wire, |message| matches!(message, ExtMessage::Handshake(_))) {
        ExtMessage::Handshake(theirs) => (wire, *theirs),
        other => panic!("{other:?}"),
    }
}

fn say(wire: &mut Wire, message: &ExtMessage<'_>) {
    let mut bytes = Vec::new();
    assert!(message.encode(&ExtensionIds::local(Extension::ALL), &mut bytes));
    wire.send_raw(&bytes).unwrap();
}

/// The next extension message that is `wanted`.
fn told(wire: &mut Wire, wanted: impl Fn(&ExtMessage<'_>) -> bool) -> ExtMessage<'static> {
    let decode = |got: &Got| -> Option<ExtMessage<'static>> {
        let Got::Extended(id, body) = got else { return None };
        match ExtMessage::decode(*id, body, &Limits::new(None)).unwrap() {
            ExtMessage::Handshake(handshake) => Some(ExtMessage::Handshake(handshake)),
            ExtMessage::Pex(pex) => Some(ExtMessage::Pex(pex)),
            _ => None,
        }
    };
    let got = wire.until("an extension message", SOON, |got| decode(got).is_some_and(|said| wanted(&said)));
    decode(&got).unwrap()
}

fn names(addr: SocketAddr) -> ExtMessage<'static> {
    ExtMessage::Pex(Pex { added: vec![PexPeer { addr, flags: PexFlags(0) }], dropped: vec![] })
}

/// A torrent that the daemon lacks.
fn add(daemon: &Daemon, name: &str, private: bool) -> Torrent {
    let payload = Payload::single(name, 100_000, 32 << 10);
    let maker = Maker::new(&payload);
    let torrent = if private { maker.private().make() } else { maker.make() };
    daemon.add(&torrent, &daemon.downloads(), &[]);
    torrent
}

#[test]
fn private_torrents_neither_tell_nor_listen() {
    let Some(mut net) = Net::required("private_torrents_neither_tell_nor_listen") else { return };
    let daemon = Daemon::start(&net);
    let (private, public) = (add(&daemon, "private", true), add(&daemon, "public", false));
    let to = daemon.listens(net.home());
    let listening = [net.ip(), net.ip()].map(|ip| TcpListener::bind((ip, 0)).unwrap());
    let [secret, open] = listening.each_ref().map(|listener| listener.local_addr().unwrap());
    let (mut wire, theirs) = meet(net.ip(), to, private.hash, |_| ());
    assert_eq!(theirs.extensions.said(Extension::Pex), None);
    say(&mut wire, &names(secret));
    // An answer to what follows shows that it was read.
    say(&mut wire, &ExtMessage::Metadata(MetadataMessage::Request { piece: 0 }));
    let refused = Extension::Metadata.local_id();
    wire.until("metadata is refused", SOON, |got| matches!(got, Got::Extended(id, _) if *id == refused));
    let (mut other, theirs) = meet(net.ip(), to, public.hash, |_| ());
    assert!(theirs.extensions.get(Extension::Pex).is_some());
    say(&mut other, &names(open));
    // It is dialled; and the other one, which would have been first, is not.
    listening[1].accept().unwrap();
    listening[0].set_nonblocking(true).unwrap();
    assert_eq!(listening[0].accept().map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

#[test]
fn peers_hear_of_each_other_until_it_is_switched_off() {
    let Some(mut net) = Net::required("peers_hear_of_each_other_until_it_is_switched_off") else { return };
    let daemon = Daemon::start(&net);
    let torrent = add(&daemon, "public", false);
    let to = daemon.listens(net.home());
    let (listening, asking, late) = (net.ip(), net.ip(), net.ip());
    let (_listening, _) = meet(listening, to, torrent.hash, |handshake| handshake.port = Some(6881));
    let (mut asking, _) = meet(asking, to, torrent.hash, |_| ());
    let said = told(&mut asking, |message| matches!(message, ExtMessage::Pex(_)));
    let expected = names(SocketAddr::new(listening, 6881));
    assert_eq!(said, expected);
    let config = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), config.replace("[discovery]\n", "[discovery]\npex = false\n")).unwrap();
    let reloaded = daemon.call(async |client| client.reload(ReloadParams::default()).await).unwrap();
    assert_eq!(reloaded.applied, ["discovery.pex = false (was true)"]);
    let said = told(&mut asking, |message| matches!(message, ExtMessage::Handshake(_)));
    let ExtMessage::Handshake(handshake) = said else { panic!("{said:?}") };
    assert_eq!(handshake.extensions.said(Extension::Pex), Some(0), "all hear that it is off");
    let (_late, theirs) = meet(late, to, torrent.hash, |_| ());
    assert_eq!(theirs.extensions.said(Extension::Pex), None);
}

#[test]
fn several_peers_tell_where_we_are_and_show_what_they_call_themselves() {
    let Some(mut net) = Net::required("several_peers_tell_where_we_are") else { return };
    let daemon = Daemon::start(&net);
    let torrent = add(&daemon, "public", false);
    let to = daemon.listens(net.home());
    let ours: IpAddr = "203.0.113.77".parse().unwrap();
    let vote = |from: IpAddr| {
        let (wire, _) = meet(from, to, torrent.hash, |handshake| {
            (handshake.yourip, handshake.client) = (Some(ours), Some(format!("Voter \u{1b}[2J {from}")));
        });
        until("its handshake was read", SOON, || {
            let peers = daemon.show(&torrent.id()).peers.unwrap();
            let shown = format!("Voter \u{fffd}[2J {from}");
            peers.iter().any(|peer| peer.client == shown && peer.source == "incoming").then_some(())
        });
        wire
    };
    let _first = [vote(net.ip()), vote(net.ip())];
    assert!(daemon.status().external.is_empty(), "two are too few");
    let _third = vote(net.ip());
    until("the address is known", SOON, || (daemon.status().external == [ours.to_string()]).then_some(()));
}
