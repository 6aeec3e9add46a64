//! The DHT as the tests have it: a private one of libtorrent's nodes, and a node that the test itself plays, which
//! hears every word.
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wgo_proto::compact::Family;
use wgo_proto::krpc::{Body, Contact, MAX_RECEIVED, Method, Nodes, Packet, Query, Response, Values};
use wgo_proto::{NodeId, WireHash};

use crate::net::skip;
use crate::peers::python;
use crate::process::Process;
use crate::wait::{SOON, TRANSFER, try_until, until};

const NODES: &str = include_str!("dht_nodes.py");

/// All nodes of the private DHT have this port.
const PORT: u16 = 6881;

/// Nodes that each knows before a test begins: the closest of 24 to any point are then found.
const ENOUGH: u64 = 9;

/// Nodes of libtorrent at addresses of their own; they end when this is dropped.
pub struct PrivateDht {
    nodes: Vec<SocketAddr>,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Process,
    _home: TempDir,
}

impl PrivateDht {
    /// Starts `count` nodes in the network of the test and waits until they know each other. `None`, said loudly,
    /// where libtorrent isn't there.
    pub fn start(test: &str, count: u8) -> Option<PrivateDht> {
        let Some(python) = python() else {
            skip(test, "libtorrent not found: set WGOD_LT_PYTHON");
            return None;
        };
        let home = tempfile::Builder::new().prefix("wgod-dht-").tempdir().unwrap();
        // Clients take few nodes of one /24 for several.
        let ips: Vec<IpAddr> = (1..=count).map(|n| Ipv4Addr::new(198, 18, n, 1).into()).collect();
        let mut process = Process::spawn("dht", &python, &home.path().join("log"), |command| {
            command
                .args(["-W", "ignore", "-c", NODES, &PORT.to_string()])
                .args(ips.iter().map(IpAddr::to_string));
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        let (requests, answers) = process.pipes();
        let nodes = ips.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect();
        let mut dht =
            PrivateDht { nodes, requests, answers: BufReader::new(answers), _process: process, _home: home };
        until("the private DHT has come together", TRANSFER, || {
            dht.ask("join");
            let known = dht.known();
            crate::wait::pause(Duration::from_millis(200));
            known.iter().all(|nodes| *nodes >= ENOUGH).then_some(())
        });
        Some(dht)
    }

    /// Where its nodes are.
    pub fn nodes(&self) -> &[SocketAddr] {
        &self.nodes
    }

    /// What `[dht]` of a daemon says that is to begin with one of them.
    pub fn config(&self) -> String {
        bootstrap(&self.nodes[..1])
    }

    /// The ids of its nodes, as they give them.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| id_of(*node)).collect()
    }

    fn known(&mut self) -> Vec<u64> {
        let known = self.ask("known");
        known.as_array().unwrap().iter().map(|nodes| nodes.as_u64().unwrap()).collect()
    }

    fn ask(&mut self, what: &str) -> Value {
        writeln!(self.requests, "{}", json!({ "do": what })).expect("the nodes run");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("the nodes answer");
        assert!(answer.get("error").is_none(), "libtorrent: {answer}");
        answer["ok"].take()
    }
}

/// The id that a node at `addr` gives when it is pinged.
fn id_of(addr: SocketAddr) -> NodeId {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let query = Query { id: node_id(addr), read_only: true, method: Method::Ping };
    let ping = Packet { transaction: b"id", version: None, ip: None, body: Body::Query(query) };
    let mut bytes = Vec::new();
    ping.encode(&mut bytes);
    until("a node answers", SOON, || {
        socket.send_to(&bytes, addr).unwrap();
        let mut answer = [0; MAX_RECEIVED];
        let len = socket.recv(&mut answer).ok()?;
        match Packet::decode(&answer[..len]).ok()?.body {
            Body::Response(response) => Some(response.id),
            _ => None,
        }
    })
}

/// The line of `[dht]` that names these.
pub fn bootstrap(nodes: &[SocketAddr]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
    format!("bootstrap = [{}]", nodes.join(", "))
}

/// A query that came, as far as tests are interested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `ping`.
    Ping,
    /// `find_node`.
    FindNode,
    /// `get_peers`.
    GetPeers(WireHash),
    /// `announce_peer`, with the port.
    Announce(WireHash, u16),
    /// Anything else.
    Other,
}

/// A node that the test plays: it answers, knows the nodes and peers that it is told, and remembers all that it
/// hears.
pub struct Node {
    addr: SocketAddr,
    state: Arc<Mutex<NodeState>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct NodeState {
    heard: Vec<(SocketAddr, Asked)>,
    raw: Vec<Vec<u8>>,
    nodes: Vec<Contact>,
    peers: Vec<SocketAddr>,
}

impl Node {
    /// A node at `ip`, at any port.
    pub fn start(ip: IpAddr) -> Node {
        Node::at(SocketAddr::new(ip, 0))
    }

    /// A node at `addr`.
    pub fn at(addr: SocketAddr) -> Node {
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let addr = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(NodeState::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stopping) = (state.clone(), stopping.clone());
            move || serve(&socket, node_id(addr), &state, &stopping)
        });
        Node { addr, state, stopping, thread: Some(thread) }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Names another node to whoever asks.
    pub fn knows(&self, other: SocketAddr) {
        self.state.lock().unwrap().nodes.push(Contact { id: node_id(other), addr: other });
    }

    /// Names a peer of every torrent.
    pub fn has_peer(&self, peer: SocketAddr) {
        self.state.lock().unwrap().peers.push(peer);
    }

    /// What it was asked so far, and by whom.
    pub fn heard(&self) -> Vec<(SocketAddr, Asked)> {
        self.state.lock().unwrap().heard.clone()
    }

    /// Waits until it has been asked something of the kind; gives who did.
    #[track_caller]
    pub fn wait_for(&self, what: &str, of: impl Fn(Asked) -> bool) -> SocketAddr {
        until(&format!("the node hears {what}"), SOON, || {
            self.heard().into_iter().find_map(|(from, asked)| of(asked).then_some(from))
        })
    }

    /// Whether a datagram came so far with these bytes anywhere in it.
    pub fn heard_bytes(&self, bytes: &[u8]) -> bool {
        let state = self.state.lock().unwrap();
        state.raw.iter().any(|datagram| datagram.windows(bytes.len()).any(|window| window == bytes))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The id of a node, which differs with its address.
fn node_id(addr: SocketAddr) -> NodeId {
    use sha1::{Digest, Sha1};
    NodeId(Sha1::digest(addr.to_string()).into())
}

fn serve(socket: &UdpSocket, id: NodeId, state: &Mutex<NodeState>, stopping: &AtomicBool) {
    let mut buf = [0; MAX_RECEIVED];
    while !stopping.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
        let mut state = state.lock().unwrap();
        state.raw.push(buf[..len].to_vec());
        let Ok(packet) = Packet::decode(&buf[..len]) else { continue };
        let Body::Query(query) = packet.body else { continue };
        let asked = match query.method {
            Method::Ping => Asked::Ping,
            Method::FindNode { .. } => Asked::FindNode,
            Method::GetPeers { info_hash, .. } => Asked::GetPeers(info_hash),
            Method::AnnouncePeer { info_hash, port, .. } => {
                Asked::Announce(info_hash, port.unwrap_or(from.port()))
            }
            _ => Asked::Other,
        };
        state.heard.push((from, asked));
        let (mut nodes, mut peers) = (Vec::new(), Vec::new());
        state.nodes.iter().for_each(|contact| contact.put(&mut nodes));
        state.peers.iter().for_each(|peer| wgo_proto::compact::put(peer, &mut peers));
        drop(state);
        let mut response = Response::new(id);
        response.nodes = Some(Nodes::new(&nodes, Family::V4));
        if matches!(asked, Asked::GetPeers(_)) {
            response.token = Some(b"token");
            response.values = (!peers.is_empty()).then(|| Values::packed(&peers, Family::V4));
        }
        let answer = Packet {
            transaction: packet.transaction,
            version: None,
            ip: Some(from),
            body: Body::Response(response),
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        // It may be gone.
        let _ = socket.send_to(&bytes, from);
    }
}

/// Whether something becomes true in a moment; for what need not.
pub fn soon(limit: Duration, probe: impl Fn() -> bool) -> bool {
    try_until(limit, || probe().then_some(())).is_some()
}
