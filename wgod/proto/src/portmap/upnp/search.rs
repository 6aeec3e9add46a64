//! SSDP: asking the local network for gateways, by multicast, and what they answer.
use std::net::{Ipv4Addr, SocketAddrV4};

use super::{Location, Unusable};

/// Where searches go.
pub const SEARCH_ADDR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900);

/// What is searched for: gateways of both versions, and the service itself, for those that announce no more.
pub const SEARCHES: [&str; 3] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
];

/// A search for `target`, to be answered within a second.
pub fn search(target: &str) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {SEARCH_ADDR}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n"
    )
}

/// Where the description is of which an answer to a search tells.
///
/// # Errors
/// It is no answer to one of our searches, or leads to what can't be asked.
pub fn read_found(packet: &[u8]) -> Result<Location, Unusable> {
    let text = std::str::from_utf8(packet).map_err(|_| Unusable::NotFound)?;
    let mut lines = text.split('\n').map(str::trim);
    let status = lines.next().unwrap_or_default();
    let mut words = status.split_ascii_whitespace();
    let is_success =
        words.next().is_some_and(|word| word.starts_with("HTTP/")) && words.next() == Some("200");
    if !is_success {
        return Err(Unusable::NotFound);
    }
    let (mut target, mut location) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.trim() {
            name if name.eq_ignore_ascii_case("ST") => target = Some(value.trim()),
            name if name.eq_ignore_ascii_case("LOCATION") => location = Some(value.trim()),
            _ => {}
        }
    }
    match (target.is_some_and(|target| SEARCHES.contains(&target)), location) {
        (true, Some(location)) => Location::parse(location),
        _ => Err(Unusable::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_leads_to_the_description() {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nst: {}\r\nEXT:\r\nLocation: http://10.0.0.1:5000/d.xml\r\n\r\n",
            SEARCHES[1]
        );
        assert_eq!(read_found(answer.as_bytes()).unwrap().to_string(), "http://10.0.0.1:5000/d.xml");
        let at = |from: &str, to: &str| read_found(answer.replace(from, to).as_bytes());
        assert_eq!(at("200 OK", "404 No"), Err(Unusable::NotFound));
        assert_eq!(at("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"), Err(Unusable::NotFound));
        assert_eq!(at("InternetGatewayDevice:2", "Printer:1"), Err(Unusable::NotFound));
        assert_eq!(at("Location", "Elsewhere"), Err(Unusable::NotFound));
        assert!(matches!(at("10.0.0.1", "www"), Err(Unusable::Url(_))));
    }

    #[test]
    fn a_search_is_what_a_gateway_expects() {
        let text = search(SEARCHES[0]);
        assert!(text.starts_with("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n") && text.contains("MAN: \"ssdp:discover\"\r\n"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(packet in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_found(&packet);
        }
    }
}
