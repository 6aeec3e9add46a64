//! A tracker of our own, over HTTP (BEP 3, 7, 23, 24, 48) and UDP (BEP 15) on one address: it names exactly
//! the peers that the scenario wants, whoever asks, and notes what it heard.
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use wgo_proto::bencode::Encoder;
use wgo_proto::tracker::http::{encode_announce, query_pairs};
use wgo_proto::tracker::udp::{Request, Response, ScrapedSwarm};
use wgo_proto::tracker::{Announce, AnnounceReply, Event, SwarmCounts};
use wgo_proto::units::{PeerId, WireHash};

use crate::wait::pause;

/// How often the threads look whether to end.
const TICK: Duration = Duration::from_millis(10);

/// A client may take this long to send its request.
const REQUEST: Duration = Duration::from_secs(10);

/// What the tracker of a scenario tells clients to wait between announces.
const INTERVAL_SECS: u32 = 1800;

/// What a scrape says of each torrent: seeds, leechers and completed downloads.
pub const SCRAPED: (u32, u32, u32) = (11, 22, 33);

/// Where the tracker tells everyone that they are, over HTTP.
pub const SEEN_AT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 24);

/// By which of its two protocols it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// TCP.
    Http,
    /// UDP.
    Udp,
}

/// One announce.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The protocol.
    pub over: Over,
    /// Where it came from, with the port that was announced.
    pub peer: SocketAddr,
    /// What it said.
    pub announce: Announce,
}

/// How HTTP requests are answered.
#[derive(Clone, Debug, Default)]
pub enum Manner {
    /// As they should be.
    #[default]
    Proper,
    /// With these bytes, head and all.
    Raw(Vec<u8>),
    /// Never; the connection stays open.
    Silent,
}

/// A running tracker; ends when dropped.
#[derive(Debug)]
pub struct Tracker {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    peers: Mutex<Vec<SocketAddr>>,
    heard: Mutex<Vec<Heard>>,
    scraped: Mutex<Vec<(Over, Vec<WireHash>)>>,
    manner: Manner,
    stop: AtomicBool,
}

impl Tracker {
    /// A tracker at `ip` that names `peers`.
    pub fn start(ip: IpAddr, peers: &[SocketAddr]) -> Tracker {
        Tracker::with(ip, peers, Manner::Proper)
    }

    /// A tracker with other manners over HTTP.
    pub fn with(ip: IpAddr, peers: &[SocketAddr], manner: Manner) -> Tracker {
        let (tcp, udp) = both(ip);
        let addr = tcp.local_addr().unwrap();
        let shared = Arc::new(Shared { peers: Mutex::new(peers.to_vec()), manner, ..Shared::default() });
        let (for_tcp, for_udp) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || serve_http(&tcp, &for_tcp)),
            std::thread::spawn(move || serve_udp(&udp, &for_udp)),
        ];
        Tracker { addr, shared, threads }
    }

    /// Its URL by `over`.
    pub fn url(&self, over: Over) -> String {
        let scheme = if over == Over::Http { "http" } else { "udp" };
        format!("{scheme}://{}/announce", self.addr)
    }

    /// Names `peers` from now on.
    pub fn name(&self, peers: &[SocketAddr]) {
        *self.shared.peers.lock().unwrap() = peers.to_vec();
    }

    /// What it has heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// By what it was scraped so far, and for which torrents.
    pub fn scraped(&self) -> Vec<(Over, Vec<WireHash>)> {
        self.shared.scraped.lock().unwrap().clone()
    }

    /// How often `event` was announced for the torrent.
    pub fn count(&self, hash: WireHash, event: Event) -> usize {
        let is_it = |heard: &&Heard| heard.announce.hash == hash && heard.announce.event == Some(event);
        self.heard().iter().filter(is_it).count()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there has been printed; a second one here would hide the first.
            let _ = thread.join();
        }
    }
}

/// A TCP and a UDP socket with the same free port.
fn both(ip: IpAddr) -> (TcpListener, UdpSocket) {
    for _ in 0..50 {
        let tcp = TcpListener::bind((ip, 0)).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            tcp.set_nonblocking(true).unwrap();
            udp.set_read_timeout(Some(TICK)).unwrap();
            return (tcp, udp);
        }
    }
    panic!("no port at {ip} is free for both TCP and UDP");
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn hear(&self, over: Over, from: IpAddr, announce: Announce) -> Vec<SocketAddr> {
        let peer = SocketAddr::new(from, announce.port);
        let stopping = announce.event == Some(Event::Stopped);
        self.heard.lock().unwrap().push(Heard { over, peer, announce });
        if stopping { Vec::new() } else { self.peers.lock().unwrap().clone() }
    }
}

fn serve_http(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    while !shared.stopped() {
        match listener.accept() {
            Ok((stream, from)) => {
                let shared = shared.clone();
                // A client that goes away in the middle is its own business.
                connections.push(std::thread::spawn(move || drop(answer_http(stream, from.ip(), &shared))));
            }
            Err(_) => pause(TICK),
        }
    }
    connections.into_iter().for_each(|thread| drop(thread.join()));
}

fn answer_http(mut stream: TcpStream, from: IpAddr, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST))?;
    let mut head = Vec::new();
    let mut buf = [0; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let n = stream.read(&mut buf)?;
        if n == 0 || head.len() > 65536 {
            return Ok(());
        }
        head.extend_from_slice(&buf[..n]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let mut body = Vec::new();
    match read_announce(target) {
        _ if target.starts_with("/scrape") => {
            let hashes = query_pairs(target).filter(|(key, _)| key == "info_hash");
            let hashes: Vec<_> =
                hashes.filter_map(|(_, hash)| Some(WireHash(hash.try_into().ok()?))).collect();
            encode_scrape(&hashes, &mut body);
            shared.scraped.lock().unwrap().push((Over::Http, hashes));
        }
        Some(announce) => {
            let peers = shared.hear(Over::Http, from, announce);
            let reply = AnnounceReply {
                interval: Some(Duration::from_secs(INTERVAL_SECS.into())),
                counts: SwarmCounts {
                    seeders: Some(1),
                    leechers: Some(1),
                    completed: None,
                    downloaders: None,
                },
                peers,
                external_ip: Some(SEEN_AT.into()),
                ..AnnounceReply::default()
            };
            encode_announce(&reply, &mut body);
        }
        None => body.extend(b"d14:failure reason12:not understoode"),
    }
    match &shared.manner {
        Manner::Proper => {
            let len = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(b"Connection: close\r\n\r\n")?;
            stream.write_all(&body)
        }
        Manner::Raw(bytes) => stream.write_all(bytes),
        Manner::Silent => {
            while !shared.stopped() {
                pause(TICK);
            }
            Ok(())
        }
    }
}

/// What BEP 48 answers of these torrents.
fn encode_scrape(hashes: &[WireHash], body: &mut Vec<u8>) {
    let mut sorted: Vec<_> = hashes.iter().map(|hash| hash.0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let (seeds, leechers, completed) = SCRAPED;
    body.extend(b"d5:filesd");
    for hash in sorted {
        Encoder::new(body).bytes(hash);
        Encoder::new(body).dict(|dict| {
            dict.entry("complete").int(seeds.into());
            dict.entry("downloaded").int(completed.into());
            dict.entry("incomplete").int(leechers.into());
        });
    }
    body.extend(b"ee");
}

/// Reads the query of an announce; `None` when something needed is not in it.
fn read_announce(target: &str) -> Option<Announce> {
    let pairs: Vec<(String, Vec<u8>)> = query_pairs(target).collect();
    let raw = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice());
    let text = |name: &str| std::str::from_utf8(raw(name)?).ok();
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    Some(Announce {
        hash: WireHash(raw("info_hash")?.try_into().ok()?),
        peer_id: PeerId(raw("peer_id")?.try_into().ok()?),
        port: text("port")?.parse().ok()?,
        uploaded: number("uploaded").unwrap_or(0),
        downloaded: number("downloaded").unwrap_or(0),
        left: number("left").unwrap_or(0),
        event: match text("event") {
            Some("started") => Some(Event::Started),
            Some("completed") => Some(Event::Completed),
            Some("stopped") => Some(Event::Stopped),
            _ => None,
        },
        key: text("key").and_then(|key| u32::from_str_radix(key, 16).ok()).unwrap_or(0),
        num_want: text("numwant").and_then(|n| n.parse().ok()),
    })
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    const CONNECTION: u64 = 0x7761_676f;
    let mut packet = [0; 2048];
    while !shared.stopped() {
        let Ok((len, from)) = socket.recv_from(&mut packet) else { continue };
        let response = match Request::decode(&packet[..len]) {
            Ok(Request::Connect { transaction }) => Response::Connect { transaction, connection: CONNECTION },
            Ok(Request::Announce { connection: CONNECTION, transaction, announce, .. }) => {
                let mut peers = shared.hear(Over::Udp, from.ip(), announce);
                peers.retain(|peer| peer.is_ipv4() == from.is_ipv4());
                Response::Announce { transaction, interval: INTERVAL_SECS, leechers: 1, seeders: 1, peers }
            }
            Ok(Request::Announce { transaction, .. }) => {
                Response::Error { transaction, message: "not this connection".to_owned() }
            }
            Ok(Request::Scrape { transaction, hashes, .. }) => {
                let (seeders, leechers, completed) = SCRAPED;
                let swarms = vec![ScrapedSwarm { seeders, completed, leechers }; hashes.len()];
                shared.scraped.lock().unwrap().push((Over::Udp, hashes));
                Response::Scrape { transaction, swarms }
            }
            Err(_) => continue,
        };
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        // An unreachable client will ask again.
        let _ = socket.send_to(&bytes, from);
    }
}
