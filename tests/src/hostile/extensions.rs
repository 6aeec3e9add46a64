//! What the extension protocol lets a peer say without end: about itself, and about others (BEP 10, 11).
use std::net::{Ipv4Addr, SocketAddrV4};

use super::attack::{Attack, Bound, Field};
use super::flood::{Flood, extended};

/// Connections of a flood.
const LINES: (usize, usize) = (5, 50);
/// Addresses of a message.
const ADDRESSES: usize = 1000;

/// What is done with extended messages.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    vec![
        attack("extension handshakes, each another", "messages", Bound::new(16, 300, 40), handshakes),
        // 400 addresses of each connection are taken, then one in four seconds; of them 1000 are kept.
        attack("PEX: thousands of addresses", "messages", Bound::new(16, 500, 1500), addresses),
        attack("PEX: our own address and senseless ones", "messages", Bound::new(16, 500, 1500), senseless),
        attack("PEX: all have left", "messages", Bound::new(16, 500, 1500), dropped),
        attack("upload_only on and off", "messages", Bound::new(16, 300, 5), upload_only),
    ]
}

fn flood(field: &Field<'_>, load: &dyn Fn(u64) -> Vec<u8>, of_load: u64) -> u64 {
    let lines = field.many(LINES.0, LINES.1);
    let opening = extended(0, b"d1:md6:ut_pexi1e11:upload_onlyi3eee");
    Flood { lines, hash: field.fetched.hash(), opening, load, of_load, reads: true }.run(field)
}

fn handshakes(field: &Field<'_>) -> u64 {
    const LOAD: u64 = 100;
    let load = |n: u64| -> Vec<u8> {
        let one = |m: u64| {
            let port = 1024 + (n * LOAD + m) % 60_000;
            let name = "v".repeat(200);
            let body = format!(
                "d1:md6:ut_pexi{}e11:ut_metadatai{}ee13:metadata_sizei{}e1:pi{port}e4:reqqi{}e1:v200:{name}e",
                1 + m % 200,
                1 + m % 100,
                1 + n * 1000 + m,
                m * 99,
            );
            extended(0, body.as_bytes())
        };
        (0..LOAD).flat_map(one).collect()
    };
    flood(field, &load, LOAD)
}

fn pex(key: &str, peers: impl Iterator<Item = SocketAddrV4>) -> Vec<u8> {
    let packed: Vec<u8> =
        peers.flat_map(|peer| [peer.ip().octets().as_slice(), &peer.port().to_be_bytes()].concat()).collect();
    let body = [format!("d{}:{key}{}:", key.len(), packed.len()).as_bytes(), &packed, b"e"].concat();
    extended(wgo_proto::wire::Extension::Pex.local_id(), &body)
}

fn made_up() -> impl Iterator<Item = SocketAddrV4> {
    let any = || Ipv4Addr::from_bits(0x0100_0000 + fastrand::u32(..0x7e00_0000));
    std::iter::repeat_with(move || SocketAddrV4::new(any(), fastrand::u16(1024..))).take(ADDRESSES)
}

fn addresses(field: &Field<'_>) -> u64 {
    flood(field, &|_| pex("added", made_up()), 1)
}

/// Ourselves, nobody, everybody, and machines that only we have near.
fn senseless(field: &Field<'_>) -> u64 {
    let std::net::SocketAddr::V4(own) = field.to else { return 0 };
    let listed = [
        own,
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, 22),
        SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, 8), 0),
        SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 6881),
        SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 80),
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80),
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 6881),
        SocketAddrV4::new(Ipv4Addr::BROADCAST, 6881),
    ];
    flood(field, &|_| pex("added", listed.into_iter().cycle().take(ADDRESSES)), 1)
}

fn dropped(field: &Field<'_>) -> u64 {
    flood(field, &|_| pex("dropped", made_up()), 1)
}

fn upload_only(field: &Field<'_>) -> u64 {
    const LOAD: u64 = 200;
    let id = wgo_proto::wire::Extension::UploadOnly.local_id();
    let both = [extended(id, &[1]), extended(id, &[0])].concat();
    let load = both.repeat(LOAD as usize);
    flood(field, &|_| load.clone(), LOAD * 2)
}
