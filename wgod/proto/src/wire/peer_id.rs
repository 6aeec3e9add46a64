//! Peer ids: ours, and which client the others' mean (BEP 20).
use crate::units::PeerId;

/// How our peer ids begin: client `WG`, version 0.1.0.0.
pub const PREFIX: &[u8; 8] = b"-WG0100-";

/// Characters that an URL carries as one byte each, so that an announce stays short. 64 of them, so
/// that each takes six bits of the given randomness evenly.
const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// A peer id of ours: the prefix, then 12 characters made of the low six bits of each of `random`.
pub fn generate(random: [u8; 12]) -> PeerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(PREFIX);
    for (character, byte) in id[8..].iter_mut().zip(random) {
        *character = ALPHABET[usize::from(byte % 64)];
    }
    PeerId(id)
}

/// Name and version of the client that a peer id tells of: `Transmission 4.0.6`, `XY 1.2.3` for an
/// unlisted code, `unknown` where the id follows no convention. Printable ASCII of at most 40
/// characters, whatever the peer sent.
pub fn client_name(id: &PeerId) -> String {
    azureus(&id.0).or_else(|| mainline(&id.0)).or_else(|| shadow(&id.0)).unwrap_or_else(|| "unknown".into())
}

/// `-XXvvvv-`: two characters for the client, four for the version.
fn azureus(id: &[u8; 20]) -> Option<String> {
    let [b'-', x, y, version @ .., b'-'] = id.first_chunk::<8>()? else { return None };
    let code = [*x, *y];
    if !code.iter().chain(version).all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let [major, minor, patch, last] = *version;
    let mut numbers = format!("{}.{}.{}", digit(major), digit(minor), digit(patch));
    match last {
        b'0' => {}
        b'1'..=b'9' => numbers.extend(['.', char::from(last)]),
        _ => numbers.push(char::from(last)),
    }
    Some(format!("{} {numbers}", name_of(&AZUREUS, code, &code)))
}

/// `M7-10-1--`: the original client, three numbers of one or two digits between dashes.
fn mainline(id: &[u8; 20]) -> Option<String> {
    let (b'M', rest) = id.split_first()? else { return None };
    let mut numbers = rest.splitn(4, |&b| b == b'-').take(3);
    let mut number = || {
        let digits =
            numbers.next().filter(|n| (1..=2).contains(&n.len()) && n.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()
    };
    Some(format!("Mainline {}.{}.{}", number()?, number()?, number()?))
}

/// `S58B-----`: one letter for the client, up to five characters for the version, then dashes.
fn shadow(id: &[u8; 20]) -> Option<String> {
    let (&code, rest) = id.split_first()?;
    let (version, dashes) = rest.split_at(5);
    let used = version.iter().position(|&b| b == b'-').unwrap_or(5);
    let (version, padding) = version.split_at(used);
    let shaped = !version.is_empty()
        && version.iter().all(u8::is_ascii_alphanumeric)
        && padding.iter().chain(&dashes[..3]).all(|&b| b == b'-');
    if !code.is_ascii_alphabetic() || !shaped {
        return None;
    }
    let numbers: Vec<String> = version.iter().map(|&b| digit(b).to_string()).collect();
    Some(format!("{} {}", name_of(&SHADOW, code, &[code]), numbers.join(".")))
}

/// The value of one character of a version: 0–9, then A–Z for 10–35, a–z for 36–61.
fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'A'..=b'Z' => character - b'A' + 10,
        b'a'..=b'z' => character - b'a' + 36,
        _ => 0,
    }
}

fn name_of<K: Ord + Copy>(names: &[(K, &str)], code: K, fallback: &[u8]) -> String {
    match names.binary_search_by_key(&code, |(known, _)| *known) {
        Ok(at) => names[at].1.to_owned(),
        Err(_) => fallback.escape_ascii().to_string(),
    }
}

/// Codes of the clients one meets, ascending.
const AZUREUS: [([u8; 2], &str); 47] = [
    (*b"7T", "aTorrent"),
    (*b"AG", "Ares"),
    (*b"AN", "Ares"),
    (*b"AR", "Arctic"),
    (*b"AT", "Artemis"),
    (*b"AX", "BitPump"),
    (*b"AZ", "Vuze"),
    (*b"BB", "BitBuddy"),
    (*b"BC", "BitComet"),
    (*b"BF", "BitFlu"),
    (*b"BG", "BTG"),
    (*b"BI", "BiglyBT"),
    (*b"BL", "BitLord"),
    (*b"BN", "Baidu Netdisk"),
    (*b"BP", "BitTorrent Pro"),
    (*b"BT", "BitTorrent"),
    (*b"BW", "BitWombat"),
    (*b"CD", "Enhanced CTorrent"),
    (*b"CT", "CTorrent"),
    (*b"DE", "Deluge"),
    (*b"FC", "FileCroc"),
    (*b"FD", "Free Download Manager"),
    (*b"FL", "Flud"),
    (*b"FW", "FrostWire"),
    (*b"GT", "anacrolix/torrent"),
    (*b"HL", "Halite"),
    (*b"KG", "KGet"),
    (*b"KT", "KTorrent"),
    (*b"LP", "Lphant"),
    (*b"LT", "libtorrent"),
    (*b"MG", "MediaGet"),
    (*b"PI", "PicoTorrent"),
    (*b"RT", "Retriever"),
    (*b"SD", "Thunder"),
    (*b"SP", "BitSpirit"),
    (*b"TB", "Torch"),
    (*b"TL", "Tribler"),
    (*b"TR", "Transmission"),
    (*b"TX", "Tixati"),
    (*b"UM", "uTorrent Mac"),
    (*b"UT", "uTorrent"),
    (*b"UW", "uTorrent Web"),
    (*b"WG", "wgod"),
    (*b"WW", "WebTorrent"),
    (*b"XL", "Xunlei"),
    (*b"lt", "rTorrent"),
    (*b"qB", "qBittorrent"),
];

const SHADOW: [(u8, &str); 6] = [
    (b'A', "ABC"),
    (b'O', "Osprey Permaseed"),
    (b'Q', "BTQueue"),
    (b'S', "Shadow's"),
    (b'T', "BitTornado"),
    (b'U', "UPnP NAT"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(start: &[u8]) -> String {
        let mut id = [b'x'; 20];
        id[..start.len()].copy_from_slice(start);
        client_name(&PeerId(id))
    }

    #[test]
    fn our_own_id_has_our_prefix_and_needs_no_escaping_in_urls() {
        let id = generate(std::array::from_fn(|i| (i * 23) as u8));
        assert!(id.0.starts_with(PREFIX));
        assert!(id.0.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)));
        assert_eq!(client_name(&id), "wgod 0.1.0");
    }

    #[test]
    fn different_randomness_gives_different_ids() {
        assert_ne!(generate([0; 12]), generate([1; 12]));
    }

    #[test]
    fn known_clients_are_named() {
        for (id, name) in [
            (&b"-TR4060-"[..], "Transmission 4.0.6"),
            (b"-qB4650-", "qBittorrent 4.6.5"),
            (b"-DE13F0-", "Deluge 1.3.15"),
            (b"-LT20B0-", "libtorrent 2.0.11"),
            (b"-lt0D80-", "rTorrent 0.13.8"),
            (b"-UT355S-", "uTorrent 3.5.5S"),
            (b"-AZ5751-", "Vuze 5.7.5.1"),
            (b"-7T1230-", "aTorrent 1.2.3"),
            (b"-zz1234-", "zz 1.2.3.4"),
            (b"M7-10-1--", "Mainline 7.10.1"),
            (b"M4-3-6---", "Mainline 4.3.6"),
            (b"S58B-----", "Shadow's 5.8.11"),
            (b"T03I-----", "BitTornado 0.3.18"),
            (b"Z12345---", "Z 1.2.3.4.5"),
        ] {
            assert_eq!(named(id), name, "{}", id.escape_ascii());
        }
    }

    #[test]
    fn ids_of_no_convention_are_unknown() {
        for id in [&b"-XX12\x003-"[..], b"-TR4060x", b"xxxxxxxx", b"M7-xx-1-", b"\0\0\0", b"S--------", b"-"]
        {
            assert_eq!(named(id), "unknown", "{}", id.escape_ascii());
        }
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(AZUREUS.is_sorted_by_key(|(code, _)| code));
        assert!(SHADOW.is_sorted_by_key(|(code, _)| code));
    }

    proptest! {
        #[test]
        fn any_id_gives_short_printable_ascii(id: [u8; 20], shape in 0usize..4) {
            let mut id = id;
            let shapes: [&[u8]; 4] = [b"", b"-", b"M", b"S"];
            id[..shapes[shape].len()].copy_from_slice(shapes[shape]);
            let name = client_name(&PeerId(id));
            prop_assert!((1..=40).contains(&name.len()));
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        }
    }
}
