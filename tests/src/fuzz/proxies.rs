//! What proxies answer: SOCKS5 (RFC 1928, 1929) and CONNECT of HTTP (RFC 9110).
use std::net::SocketAddr;

use wgo_proto::proxy::connect::{self, MAX_HEAD};
use wgo_proto::proxy::socks5::{self, Command, MAX_HEADER};
use wgo_proto::proxy::{Login, Target};

use super::Reader;

/// A whole conversation with a proxy that says anything: nothing is read beyond what its parts announce.
pub(super) fn socks5(data: &[u8]) {
    let mut reader = Reader::new(data);
    let with_login = reader.byte().is_multiple_of(2);
    let mut out = Vec::new();
    socks5::greeting(with_login, &mut out);
    assert_eq!(out[0], 5);
    if let Ok(socks5::Method::Login) = socks5::method(reader.array(), with_login) {
        assert!(with_login, "it was not offered");
        let (user, password) = (text(reader.sized()), text(reader.sized()));
        if let Ok(login) = Login::new(&user, &password) {
            out.clear();
            socks5::login(&login, &mut out);
            let parts =
                [&[1, user.len() as u8][..], user.as_bytes(), &[password.len() as u8], password.as_bytes()];
            assert_eq!(out, parts.concat());
            assert!(!format!("{login:?}").contains(&format!("password: {password:?}")));
        }
        _ = socks5::verdict(reader.array());
    }
    let Ok(kind) = socks5::granted(reader.array()) else { return };
    let first = reader.byte();
    let Ok(len) = socks5::rest_len(kind, first) else { return };
    assert!(len + 1 + 4 <= MAX_HEADER, "{len} bytes of an address");
    let rest = reader.bytes(len);
    if let Ok(port) = socks5::relay_port(rest) {
        assert!(port != 0 && rest.ends_with(&port.to_be_bytes()));
    }
}

/// Datagrams by a relay: what we send is what would be read, and what comes is never more than came.
pub(super) fn socks5_datagram(data: &[u8]) {
    if let Ok((_, payload)) = socks5::received(data) {
        assert!(data.ends_with(payload) && payload.len() + 10 <= data.len().max(10) + 4);
        assert_eq!(data[2], 0, "a part of a datagram counts as one");
    }
    let mut reader = Reader::new(data);
    let (port, name) = (reader.short(), text(reader.sized()));
    let payload = reader.rest();
    let Some(target) = Target::new(&name, port) else { return };
    let mut out = Vec::new();
    socks5::datagram(&target, payload, &mut out);
    assert!(out.len() <= MAX_HEADER + payload.len());
    let (from, read) = socks5::received(&out).expect("what we write we read");
    assert_eq!(read, payload);
    let same = |addr: &SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    match &target {
        Target::Addr(addr) => assert_eq!(from, Some(same(addr))),
        Target::Name(_) => assert!(from.is_none(), "{name:?} is taken for {from:?}"),
    }
    out.clear();
    socks5::request(Command::Connect, &target, &mut out);
    assert_eq!(&out[..3], [5, 1, 0]);
}

/// The head of an answer to CONNECT says whether there is a tunnel by its first line alone, and no name brings a
/// line of its own into what we ask.
pub(super) fn http_connect(data: &[u8]) {
    let mut reader = Reader::new(data);
    let logged_in = reader.byte().is_multiple_of(2);
    let (port, name) = (reader.short(), text(reader.sized()));
    let head = reader.rest();
    let said = connect::answer(head, logged_in);
    if head.len() <= MAX_HEAD && said.is_ok() {
        assert!(head.starts_with(connect::BEGIN) && head[9] == b'2');
    }
    if let Some(end) = head.windows(2).position(|two| two == b"\r\n") {
        assert_eq!(connect::answer(&head[..end], logged_in), said, "only the first line counts");
    }
    let Some(target) = Target::new(&name, port) else { return };
    let mut out = Vec::new();
    connect::request(&target, None, &mut out);
    let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
    assert_eq!((lines.len(), lines[2], lines[3]), (4, &b"\r"[..], &b""[..]));
    assert_eq!(lines[0].iter().filter(|byte| **byte == b' ').count(), 2, "{target} has a blank");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
