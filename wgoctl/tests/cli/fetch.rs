//! `wgoctl add URL` against a web server on the loopback interface, good and bad.
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::Rig;

const TORRENT: &[u8] = b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:01234567890123456789ee";
const BASE64: &str = "ZDQ6aW5mb2Q2Omxlbmd0aGk1ZTQ6bmFtZTE6YTEyOnBpZWNlIGxlbmd0aGkxNjM4NGU2OnBpZWNlczIwOjAxMjM0NTY3ODkwMTIzNDU2Nzg5ZWU=";

/// A server that lives as long as the test's process.
struct Web {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let note = note.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &note));
            }
        });
        Web { address, heard }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, note: &Mutex<Vec<String>>) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    note.lock().unwrap().push(head.join("\n"));
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    // A client that has seen enough closes.
    let _ = answer(&mut stream, &target);
}

fn answer(stream: &mut TcpStream, target: &str) -> std::io::Result<()> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match path {
        "/a.torrent" => whole(stream, "200 OK", "", TORRENT),
        "/packed" => whole(stream, "200 OK", "Content-Encoding: gzip\r\n", &gzip(TORRENT)),
        "/page" => whole(stream, "200 OK", "Content-Type: text/html; charset=utf-8\r\n", b"<p>Log in!"),
        "/empty" => whole(stream, "200 OK", "", b""),
        "/broken" => whole(stream, "200 OK", "", b"d4:infod4:name\x1b[2Je"),
        "/to" => whole(stream, "302 Found", &format!("Location: {query}\r\n"), b""),
        "/nowhere" => whole(stream, "302 Found", "", b""),
        "/secret" => whole(stream, "403 Forbidden", "", b"no"),
        "/busy" => whole(stream, "503 Service Unavailable", "", b"no"),
        "/says-it-is-huge" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nd"),
        "/short" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nd4:info"),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                stream.write_all(&[b'd'; 65536])?;
            }
        }
        "/silent" => std::io::copy(stream, &mut std::io::sink()).map(|_| ()),
        "/noise" => stream.write_all(b"SSH-2.0-x\r\n\r\n"),
        _ => whole(stream, "404 Not Found", "", b"no"),
    }
}

fn whole(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let len = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

/// The bytes in one block that isn't compressed (RFC 1951, 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    let sizes = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
    let tail = [(!crc).to_le_bytes(), u32::from(len).to_le_bytes()].concat();
    [&head[..], &sizes, bytes, &tail].concat()
}

#[test]
fn a_url_is_fetched_and_its_torrent_sent() {
    let (rig, web) = (Rig::new(), Web::start());
    for url in [
        web.url("/a.torrent?passkey=1"),
        web.url("/packed"),
        web.url("/a.torrent").replacen("http", "HTTP", 1),
    ] {
        rig.run(&["add", "--paused", &url]).code(0);
        assert_eq!(rig.last_call().1["sources"], json!([{"torrent": BASE64}]), "{url}");
    }
    let first = web.heard().remove(0).to_lowercase();
    assert!(first.starts_with("get /a.torrent?passkey=1 http/1.1\n"), "{first}");
    assert!(first.contains("\nuser-agent: wgoctl/") && !first.contains("\nreferer:"), "{first}");
    assert!(first.contains("\naccept-encoding: gzip"), "{first}");
    // As a line of a list, too, in its place among others.
    let magnet = "magnet:?xt=urn:btih:0123456789012345678901234567890123456789";
    let list = format!("{magnet}\n{}\n", web.url("/a.torrent"));
    rig.run_with(&["add", "-"], list.as_bytes(), wgoctl::console::Terminal::default()).code(0);
    assert_eq!(rig.last_call().1["sources"], json!([{"uri": magnet}, {"torrent": BASE64}]));
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (rig, web) = (Rig::new(), Web::start());
    rig.run(&["add", &web.url("/to?/to?/a.torrent")]).code(0);
    assert_eq!(rig.last_call().1["sources"], json!([{"torrent": BASE64}]));
    // Indexers lead to magnet links.
    let magnet = "magnet:?xt=urn:btih:0123456789012345678901234567890123456789";
    rig.run(&["add", &web.url(&format!("/to?{magnet}"))]).code(0);
    assert_eq!(rig.last_call().1["sources"], json!([{"uri": magnet}]));

    let before = web.heard().len();
    let round = web.url("/to?/round");
    rig.run(&["add", &round]).code(1).complains(&["redirected to http://", "/round: the server answers 404"]);
    let many = web.url(&format!("{}/a.torrent", "/to?".repeat(6)));
    rig.run(&["add", &many]).code(1).complains(&["more than 5 redirects"]);
    assert_eq!(web.heard().len() - before, 2 + 6);
    rig.run(&["add", &web.url("/to?file:///etc/passwd")])
        .code(1)
        .complains(&["to file:, which is not fetched"]);
    rig.run(&["add", &web.url("/nowhere")]).code(1).complains(&["302 Found and not where to go"]);
}

#[test]
fn what_is_no_torrent_is_told_apart_and_nothing_is_sent() {
    let (rig, web) = (Rig::new(), Web::start());
    for (path, parts) in [
        ("/page", &["web page and not a torrent", "log in"][..]),
        ("/empty", &["the answer is empty"]),
        ("/broken", &["no torrent that can be read"]),
        ("/secret", &["403 Forbidden", "log in"]),
        ("/missing", &["404 Not Found", "is the link right?"]),
        ("/busy", &["503 Service Unavailable", "later"]),
        ("/says-it-is-huge", &["more than 47185920 bytes"]),
        ("/endless", &["more than 47185920 bytes"]),
        ("/short", &["broke off"]),
        ("/noise", &["broke off"]),
    ] {
        let ran = rig.run(&["add", &web.url(&format!("{path}?passkey=geheim"))]).code(1);
        let place = format!("wgoctl: {}?…: ", web.url(path));
        let ran = ran.complains(&[&place]).complains(parts);
        assert!(!ran.err.contains("geheim") && !ran.err.contains('\u{1b}'), "{}", ran.err);
    }
    assert!(rig.daemon.mock().calls().is_empty(), "{:?}", rig.daemon.mock().calls());

    let document = rig.run(&["--json", "add", &web.url("/a.torrent"), &web.url("/page")]).code(5).json();
    assert_eq!(document["torrents"][0]["status"], "added");
    assert_eq!(document["torrents"][1]["status"], "failed");
    assert_eq!(document["torrents"][1]["kind"], "bad_torrent");
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_given_up() {
    let (rig, web) = (Rig::new(), Web::start());
    let ran = rig.run(&["--timeout", "1 s", "add", &web.url("/silent")]).code(1);
    ran.complains(&["/silent: the answer was not there within 1 s; --timeout gives it longer"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.run(&["add", &format!("http://{closed}/")]).code(1).complains(&["cannot connect", "refused"]);
    rig.run(&["add", "http://nowhere.invalid/x"])
        .code(1)
        .complains(&["cannot find the address of nowhere.invalid"]);
    rig.run(&["add", &web.url("/a.torrent").replacen("http", "https", 1)])
        .code(1)
        .complains(&["cannot connect"]);
    rig.run(&["add", "http://"]).code(2).complains(&["http://: no URL that can be read"]);
}
