//! Tests of magnet links.
use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const V1: &str = "c0fda1edafdbdbb96443424e0b3899af7159d10e";
const V2: &str = "95e04d0c4bad94ab206efa884666fd89777dbe4f7bd9945af1829037a85c6192";

fn any_hashes() -> impl Strategy<Value = InfoHashes> {
    let v1 = any::<[u8; 20]>().prop_map(InfoHashV1);
    let v2 = any::<[u8; 32]>().prop_map(InfoHashV2);
    prop_oneof![
        v1.clone().prop_map(|v1| InfoHashes { v1: Some(v1), v2: None }),
        v2.clone().prop_map(|v2| InfoHashes { v1: None, v2: Some(v2) }),
        (v1, v2).prop_map(|(v1, v2)| InfoHashes { v1: Some(v1), v2: Some(v2) }),
    ]
}

fn any_magnet() -> impl Strategy<Value = Magnet> {
    let url = |scheme: &'static str| {
        "[a-z]{1,9}(:[1-9])?(/\\PC{0,9}[a-z])?".prop_map(move |rest| format!("{scheme}://{rest}"))
    };
    let peer =
        prop_oneof![any::<std::net::SocketAddr>().prop_map(|address| {
            HostPort { host: address.ip().to_string(), port: address.port().max(1) }
        })];
    let peers = vec(peer, 0..4).prop_map(|mut peers| {
        keep_first(&mut peers);
        peers
    });
    let select = vec((0u32..50, 0u32..9), 0..4)
        .prop_map(|ranges| joined(ranges.iter().map(|r| r.0..=r.0 + r.1).collect()));
    let trackers = vec(prop_oneof![url("udp"), url("http"), url("https")], 0..5)
        .prop_map(|urls| urls::tiers([urls]).concat());
    let web_seeds = vec(url("https"), 0..3).prop_map(urls::web_seeds);
    let name = option::of("\\PC{1,40}".prop_map(|name| safe_component(name.as_bytes())));
    (any_hashes(), name, any::<Option<u64>>(), trackers, web_seeds, peers, select).prop_map(
        |(hashes, name, len, trackers, web_seeds, peers, select)| Magnet {
            hashes,
            name,
            len,
            trackers,
            web_seeds,
            peers,
            select,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(magnet in any_magnet()) {
        let text = magnet.to_string();
        prop_assert!(text.is_ascii() && !text.contains(' '));
        prop_assert_eq!(text.parse(), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(
        parameters in vec(("(xt|dn|tr|ws|so|xl|x.pe|xt.1|amp;tr)?", "=?(urn:bt[im]h:)?(1220)?\\PC{0,50}"), 0..6),
        other in "\\PC{0,80}",
    ) {
        let query: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}{value}")).collect();
        let _ = Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}&{}", query.join("&")));
        let _ = Magnet::parse(&other);
    }
}

#[test]
fn every_parameter_is_read() {
    let link = format!(
        "MAGNET:?xt=urn:btih:{V1}&amp;XT.2=urn:BTMH:1220{V2}&dn=a+b%2fc%20%zz&xl=425&tr=udp%3A%2F%2Ft.example%3A80\
         &tr.1=http://u.example/a&tr=wss://v.example&tr=http://u.example/a&ws=http://w.example/x&x.pe=192.0.2.1:6881\
         &x.pe=[2001:db8::1]:1&x.pe=peer.example:2&x.pe=nothing&so=7,0,2,4,6-8,9,x,5-3&kt=words&xt=urn:sha1:X&"
    );
    let magnet = Magnet::parse(&link).unwrap();
    assert_eq!(magnet.hashes, InfoHashes { v1: V1.parse().ok(), v2: V2.parse().ok() });
    assert_eq!((magnet.name.as_deref(), magnet.len), (Some("a b_c %zz"), Some(425)));
    assert_eq!(magnet.trackers, ["udp://t.example:80", "http://u.example/a"]);
    assert_eq!(magnet.web_seeds, ["http://w.example/x"]);
    let peers: Vec<String> = magnet.peers.iter().map(HostPort::to_string).collect();
    assert_eq!(peers, ["192.0.2.1:6881", "[2001:db8::1]:1", "peer.example:2"]);
    assert_eq!(magnet.select, [0..=0, 2..=2, 4..=4, 6..=9]);
    assert!(magnet.selects(7) && !magnet.selects(1));
}

#[test]
fn a_hash_in_base32_is_the_same_hash() {
    // The digits of RFC 4648 over the bytes of `V1`.
    let link = "magnet:?xt=urn:btih:YD62D3NP3PN3SZCDIJHAWOEZV5YVTUIO";
    let expected = InfoHashes { v1: V1.parse().ok(), v2: None };
    assert_eq!(Magnet::parse(link).unwrap().hashes, expected);
    assert_eq!(Magnet::parse(&link.to_lowercase()).unwrap().hashes, expected);
}

#[test]
fn links_that_name_no_torrent_are_refused_with_the_reason() {
    let short = format!("magnet:?xt=urn:btih:{}", &V1[1..]);
    let sha1_multihash = format!("magnet:?xt=urn:btmh:1114{V1}");
    let two = format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{}", "0".repeat(40));
    let long = format!("magnet:?xt=urn:btih:{V1}&dn={}", "x".repeat(MAX_MAGNET_LEN));
    let cases = [
        ("", "not a magnet link: it does not begin with `magnet:?`"),
        ("magnet", "not a magnet link: it does not begin with `magnet:?`"),
        ("http://a.example/?xt=urn:btih:", "not a magnet link: it does not begin with `magnet:?`"),
        ("magnet:?", "the magnet link names no torrent"),
        ("magnet:?xt=urn:sha1:X&xt", "the magnet link names no torrent"),
        (&short, "0fda1edafdbdbb96443424e0b3899af7159d10e\" is not 40 hexadecimal or 32 base32 digits"),
        ("magnet:?xt=urn:btih:01890189018901890189018901890189", "is not 40 hexadecimal or 32 base32 digits"),
        (&sha1_multihash, "is not 1220 and 64 hexadecimal digits"),
        (&two, "names two torrents"),
        (&long, "at most 65536 are possible"),
    ];
    for (link, expected) in cases {
        let error = Magnet::parse(link).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
