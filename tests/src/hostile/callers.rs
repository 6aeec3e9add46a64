//! Callers of the control socket who do wrong: they may be anybody's script. None of them is a peer.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::attack::{Attack, Bound, Field};
use crate::wait::pause;

/// Between two rounds over all connections.
const TICK: Duration = Duration::from_millis(10);
/// An answer is waited for so long.
const ANSWER: Duration = Duration::from_secs(5);
/// What switches a connection to WebSockets (RFC 6455).
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What callers do.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // 128 places and 32 that are told that there are none.
    let places = 128 + 32 + 8;
    vec![
        attack("control: idle connections", "connections", Bound::new(24, places, 500), idle),
        attack("control: heads byte by byte", "bytes", Bound::new(24, places, 200), slow_heads),
        attack("control: a MiB of garbage", "MiB", Bound::new(32, places, 40_000), garbage),
        attack(
            "control: 10 TB announced, and sent on and on",
            "MiB",
            Bound::new(64, places, 40_000),
            endless,
        ),
        // A body may be some MiB, so that torrents fit, and is held once as text and once read.
        attack("control: a MiB of brackets", "MiB", Bound::new(64, places, 100_000), brackets),
        attack("control: batches of 10,000 calls", "calls", Bound::new(96, places, 150), batches),
        attack("control: WebSocket messages without end", "MiB", Bound::new(96, places, 60_000), websocket),
        attack(
            "control: subscriptions without end, never read",
            "calls",
            Bound::new(64, places, 1500),
            subscribe,
        ),
    ]
}

fn connect(field: &Field<'_>) -> Option<UnixStream> {
    let stream = UnixStream::connect(field.socket()).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn idle(field: &Field<'_>) -> u64 {
    let (mut held, mut opened) = (Vec::new(), 0);
    let most = field.many(400, 2000);
    while !field.over() {
        while held.len() < most && !field.over() {
            let Some(stream) = connect(field) else { break };
            held.push(stream);
            opened += 1;
        }
        let is_open = |mut stream: &UnixStream| !matches!(stream.read(&mut [0; 256]), Ok(0));
        held.retain(|stream| is_open(stream));
        pause(TICK);
    }
    opened
}

fn slow_heads(field: &Field<'_>) -> u64 {
    let (mut held, mut sent): (Vec<UnixStream>, u64) = (Vec::new(), 0);
    while !field.over() {
        while held.len() < field.many(100, 300)
            && let Some(mut stream) = connect(field)
        {
            let _refused = stream.write_all(b"POST / HTTP/1.1\r\nX: ");
            held.push(stream);
        }
        held.retain_mut(|stream| stream.write_all(b"y").is_ok());
        sent += held.len() as u64;
        pause(TICK);
    }
    sent
}

/// POSTs `body` again and again, one request at a time on each of some connections. Gives how often.
fn post(field: &Field<'_>, len: usize, body: &(dyn Fn() -> Vec<u8> + Sync)) -> u64 {
    let done = std::sync::atomic::AtomicU64::new(0);
    let one = || -> std::io::Result<()> {
        let mut stream = UnixStream::connect(field.socket())?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n"
        );
        // It may be refused before all is sent.
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body()));
        let mut buf = vec![0; 65_536];
        while stream.read(&mut buf)? > 0 {}
        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        sent
    };
    std::thread::scope(|scope| {
        for _ in 0..field.many(2, 8) {
            scope.spawn(|| {
                while !field.over() {
                    // What becomes of it is the daemon's to say.
                    let _ = one();
                    if !field.long {
                        pause(TICK);
                    }
                }
            });
        }
    });
    done.into_inner()
}

fn garbage(field: &Field<'_>) -> u64 {
    post(field, 1 << 20, &|| vec![0xa7; 1 << 20])
}

fn brackets(field: &Field<'_>) -> u64 {
    post(field, 1 << 20, &|| vec![b'['; 1 << 20])
}

fn batches(field: &Field<'_>) -> u64 {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    let batch = format!("[{}{call}]", format!("{call},").repeat(9_999)).into_bytes();
    post(field, batch.len(), &|| batch.clone()) * 10_000
}

/// Sends `load` on each of some connections that began with `first`, as fast as it is taken. Gives the loads.
fn pour(field: &Field<'_>, first: &[u8], load: &[u8]) -> u64 {
    let mut lines: Vec<Option<(UnixStream, usize)>> = (0..field.many(4, 16)).map(|_| None).collect();
    let mut bytes = 0;
    while !field.over() {
        let mut moved = false;
        for place in &mut lines {
            if place.is_none() {
                *place = connect(field).map(|stream| (stream, 0));
                if let Some((stream, _)) = place {
                    let _refused = stream.write_all(first);
                }
            }
            let Some((stream, at)) = place else { continue };
            match stream.write(&load[*at..]) {
                Ok(n) => {
                    (*at, bytes, moved) = ((*at + n) % load.len(), bytes + n, true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => *place = None,
            }
        }
        if !moved || !field.long {
            pause(TICK / 5);
        }
    }
    (bytes / load.len()) as u64
}

fn endless(field: &Field<'_>) -> u64 {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999999999999\r\n\r\n";
    pour(field, head.as_bytes(), &vec![b' '; 1 << 20])
}

/// One message in a million parts, of which each is as long as one may be that is announced by seven bits.
fn websocket(field: &Field<'_>) -> u64 {
    let first = [UPGRADE.as_bytes(), &[0x01, 0x80 | 100, 0, 0, 0, 0], &[b' '; 100]].concat();
    let next = [vec![0x00, 0x80 | 100, 0, 0, 0, 0], vec![b' '; 100]].concat();
    let load = next.repeat((1 << 20) / next.len());
    pour(field, &first, &load)
}

fn subscribe(field: &Field<'_>) -> u64 {
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"subscribe"}"#;
    let mut frame = vec![0x81, 0x80 | call.len() as u8, 0, 0, 0, 0];
    frame.extend(call.as_bytes());
    pour(field, UPGRADE.as_bytes(), &frame)
}
