//! Scripted proxies: good ones, and every way to be bad.
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

/// More than any of it takes, on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// For what is to run into its limit.
const SHORT: Duration = Duration::from_millis(300);

/// What a scripted proxy does with a connection, in turn.
#[derive(Clone, Debug)]
enum Step {
    /// Reads exactly this.
    Expect(Vec<u8>),
    /// Writes this.
    Say(Vec<u8>),
    /// Says nothing until the other end goes.
    Hang,
    /// Sends back what comes, until the other end goes.
    Echo,
}
use Step::{Echo, Expect, Hang, Say};

/// A proxy that does the same with each connection; the first line of what it heard wrongly comes out of `wrong`.
struct Scripted {
    addr: SocketAddr,
    wrong: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Scripted {
    async fn start(steps: Vec<Step>) -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let wrong = Arc::new(Mutex::new(Vec::new()));
        let heard_wrongly = wrong.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (steps, wrong) = (steps.clone(), heard_wrongly.clone());
                connections.spawn(async move {
                    for step in steps {
                        match step {
                            Expect(bytes) => {
                                let mut heard = vec![0; bytes.len()];
                                let read = stream.read_exact(&mut heard).await;
                                if read.is_err() || heard != bytes {
                                    wrong.lock().unwrap().push(format!("{heard:?}, not {bytes:?}"));
                                    return;
                                }
                            }
                            Say(bytes) => drop(stream.write_all(&bytes).await),
                            Hang => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
                            Echo => {
                                let (mut read, mut write) = stream.split();
                                let _ = tokio::io::copy(&mut read, &mut write).await;
                            }
                        }
                    }
                });
            }
        });
        Scripted { addr, wrong, _server: server }
    }

    fn proxy(&self, kind: ProxyKind, login: Option<Login>) -> Arc<Proxy> {
        Arc::new(Proxy::new(kind, self.addr.into(), login, Outlet::default()))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.wrong.lock().unwrap().is_empty(), "{:?}", self.wrong);
    }
}

fn me() -> Option<Login> {
    Some(Login::new("me", "hunter2").unwrap())
}

fn target() -> Target {
    Target::new("peer.example", 80).unwrap()
}

/// `CONNECT peer.example:80` of SOCKS5.
fn connect() -> Step {
    Expect(b"\x05\x01\x00\x03\x0cpeer.example\x00\x50".to_vec())
}

fn greeting() -> [Step; 2] {
    [Expect(vec![5, 1, 0]), Say(vec![5, 0])]
}

/// How connecting by a proxy fails that does this.
async fn failure(kind: ProxyKind, login: Option<Login>, steps: Vec<Step>) -> ProxyError {
    let scripted = Scripted::start(steps).await;
    scripted.proxy(kind, login).connect(&target(), LONG).await.map(drop).unwrap_err()
}

/// The connection by a proxy that does this, and the proxy.
async fn connected(kind: ProxyKind, login: Option<Login>, steps: Vec<Step>) -> (Transport, Scripted) {
    let scripted = Scripted::start(steps).await;
    let transport = scripted.proxy(kind, login).connect(&target(), LONG).await.unwrap();
    (transport, scripted)
}

async fn echoes((transport, _proxy): (Transport, Scripted)) {
    transport.write_all(b"to the peer", LONG).await.unwrap();
    let mut back = [0; 11];
    transport.read_exact(&mut back, LONG).await.unwrap();
    assert_eq!(&back, b"to the peer");
}

#[tokio::test]
async fn a_good_socks5_proxy_connects_with_and_without_a_login() {
    let granted = |kind: &[u8]| Say([&[5, 0, 0], kind].concat());
    for bound in
        [&[1, 0, 0, 0, 0, 0, 0][..], &[3, 3, b'a', b'b', b'c', 0, 1], &[[4].as_slice(), &[0; 18]].concat()]
    {
        let [hello, chosen] = greeting();
        let steps = vec![hello, chosen, connect(), granted(bound), Echo];
        echoes(connected(ProxyKind::Socks5, None, steps).await).await;
    }
    let steps = vec![
        Expect(vec![5, 2, 0, 2]),
        Say(vec![5, 2]),
        Expect(b"\x01\x02me\x07hunter2".to_vec()),
        Say(vec![1, 0]),
        connect(),
        granted(&[1, 0, 0, 0, 0, 0, 0]),
        Echo,
    ];
    echoes(connected(ProxyKind::Socks5, me(), steps).await).await;
    // It may not care who we are.
    let steps =
        vec![Expect(vec![5, 2, 0, 2]), Say(vec![5, 0]), connect(), granted(&[1, 0, 0, 0, 0, 0, 0]), Echo];
    echoes(connected(ProxyKind::Socks5, me(), steps).await).await;
}

#[tokio::test]
async fn what_the_peer_says_right_behind_the_answer_is_the_peers() {
    let [hello, chosen] = greeting();
    let steps = vec![hello, chosen, connect(), Say(b"\x05\x00\x00\x01\0\0\0\0\0\0hello".to_vec()), Hang];
    let (transport, _proxy) = connected(ProxyKind::Socks5, None, steps).await;
    let mut first = [0; 5];
    transport.read_exact(&mut first, LONG).await.unwrap();
    assert_eq!(&first, b"hello");
    let request = b"CONNECT peer.example:80 HTTP/1.1\r\nHost: peer.example:80\r\n\r\n".to_vec();
    let answer = b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello".to_vec();
    let steps = vec![Expect(request), Say(answer), Hang];
    let (transport, _proxy) = connected(ProxyKind::Http, None, steps).await;
    transport.read_exact(&mut first, LONG).await.unwrap();
    assert_eq!(&first, b"hello");
}

#[tokio::test]
async fn a_good_http_proxy_makes_a_tunnel_with_a_login() {
    let request = "CONNECT peer.example:80 HTTP/1.1\r\nHost: peer.example:80\r\n\
                   Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\r\n";
    let steps =
        vec![Expect(request.into()), Say(b"HTTP/1.0 200 Connection established\r\n\r\n".to_vec()), Echo];
    echoes(connected(ProxyKind::Http, me(), steps).await).await;
}

#[tokio::test]
async fn every_failure_says_which_proxy_and_what_and_whose_fault_it_is() {
    let socks5 = |after: Vec<Step>| (ProxyKind::Socks5, [greeting().to_vec(), after].concat());
    let http = |answer: &[u8]| (ProxyKind::Http, vec![Say(answer.to_vec()), Hang]);
    let cases = [
        ((ProxyKind::Socks5, vec![Expect(vec![5, 1, 0]), Say(vec![5, 255])]), "none of the ways", true),
        ((ProxyKind::Socks5, vec![Expect(vec![5, 1, 0]), Say(vec![5, 2])]), "was not offered", true),
        ((ProxyKind::Socks5, vec![Say(b"HTTP/1.1 400".to_vec())]), "doesn't speak SOCKS5", true),
        ((ProxyKind::Socks5, vec![Expect(vec![5, 1, 0])]), "hung up during the handshake", true),
        (
            socks5(vec![connect(), Say(vec![5, 5, 0, 1])]),
            "can't connect to peer.example:80: connection refused",
            false,
        ),
        (socks5(vec![connect(), Say(vec![5, 2, 0, 1])]), "its rules don't allow it", false),
        (socks5(vec![connect(), Say(vec![5, 4, 0, 1])]), "host unreachable", false),
        (socks5(vec![connect(), Say(vec![5, 99, 0, 1])]), "unknown code 99", false),
        (socks5(vec![connect()]), "can't connect to peer.example:80: it hung up instead of an answer", false),
        (socks5(vec![connect(), Say(vec![5, 0, 0, 9, 0])]), "an address of the unknown kind 9", true),
        (socks5(vec![connect(), Say(vec![9, 0, 0, 1])]), "doesn't speak SOCKS5", true),
        (http(b"HTTP/1.1 407 Login\r\n\r\n"), "it wants a user and a password", true),
        (
            http(b"HTTP/1.1 403 No\r\n\r\n"),
            "can't connect to peer.example:80: its rules don't allow it",
            false,
        ),
        (http(b"HTTP/1.1 502 No\r\n\r\n"), "it can't reach the target", false),
        (http(b"HTTP/1.1 501 No\r\n\r\n"), "it makes no tunnels", true),
        (http(b"\x05\x00 and so on"), "it doesn't speak HTTP", true),
        (http(&[b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 9000]].concat()), "more than 8192 bytes", true),
        ((ProxyKind::Http, vec![Say(b"HTTP/1.1 2".to_vec())]), "hung up instead of an answer", false),
    ];
    for ((kind, steps), said, is_the_proxys) in cases {
        let error = failure(kind, None, steps.clone()).await;
        let text = error.to_string();
        assert!(text.starts_with(&format!("proxy {}://127.0.0.1:", kind.scheme())), "{text}");
        assert!(text.contains(said), "{steps:?}\n says {text}\n not {said}");
        assert_eq!(error.why.is_the_proxys(), is_the_proxys, "{text}");
    }
    let wrong_login = vec![
        Expect(vec![5, 2, 0, 2]),
        Say(vec![5, 2]),
        Expect(b"\x01\x02me\x07hunter2".to_vec()),
        Say(vec![1, 1]),
    ];
    let error = failure(ProxyKind::Socks5, me(), wrong_login).await;
    assert!(error.to_string().ends_with("it refused user and password"), "{error}");
    assert!(error.why.is_the_proxys() && !format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_proxy_that_hangs_is_given_up() {
    let [hello, chosen] = greeting();
    let scripted = Scripted::start(vec![hello, chosen, connect(), Hang]).await;
    let proxy = scripted.proxy(ProxyKind::Socks5, None);
    let error = proxy.connect(&target(), SHORT).await.map(drop).unwrap_err();
    assert!(
        error.to_string().ends_with("can't connect to peer.example:80: no answer within 300ms"),
        "{error}"
    );
    assert!(!error.why.is_the_proxys(), "it may be the target that doesn't answer");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_never_says_hello_is_down_and_is_not_asked_by_all() {
    let scripted = Scripted::start(vec![Hang]).await;
    let proxy = scripted.proxy(ProxyKind::Socks5, None);
    let error = proxy.connect(&target(), LONG).await.map(drop).unwrap_err();
    assert!(error.to_string().ends_with("it doesn't answer within 10s"), "{error}");
    let began = Instant::now();
    let error = proxy.connect(&target(), LONG).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("it doesn't answer within 10s; it is tried again in"), "{error}");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_named_and_is_used_again_when_it_is_back() {
    let scripted = Scripted::start(Vec::new()).await;
    let addr = scripted.addr;
    drop(scripted);
    // The listener goes with its task.
    while tokio::net::TcpListener::bind(addr).await.is_err() {
        tokio::task::yield_now().await;
    }
    let network =
        Network { proxy: Some(parsed(&format!("socks5://{addr}"))), proxy_only: true, ..Network::default() };
    let proxies = Proxies::new(&network, None, &Outlet::default());
    assert_eq!(proxies.shown().unwrap().state, ProxyState::Unknown);
    let proxy = proxies.for_peers().unwrap();
    let error = proxy.connect(&target(), LONG).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("it can't be reached: Connection refused"), "{error}");
    let shown = proxies.shown().unwrap();
    assert_eq!((shown.state, shown.url), (ProxyState::Down, format!("socks5://{addr}")));
    assert!(shown.error.unwrap().contains("Connection refused") && shown.retry_secs.is_some());
    let back = TcpListener::bind(addr).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (mut stream, _) = back.accept().await.unwrap();
        let mut request = [0; 3 + 19];
        stream.read_exact(&mut request[..3]).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        stream.read_exact(&mut request[3..]).await.unwrap();
        stream.write_all(&[5, 4, 0, 1]).await.unwrap();
    });
    proxy.usable().await;
    let error = proxy.connect(&target(), LONG).await.map(drop).unwrap_err();
    assert!(error.to_string().ends_with("host unreachable"), "{error}");
    serving.join_next().await.unwrap().unwrap();
    assert_eq!(proxies.shown().unwrap().state, ProxyState::Up, "the proxy is not to blame for that");
}

fn parsed(url: &str) -> crate::config::ProxyUrl {
    crate::config::ProxyUrl::of(url)
}

#[test]
fn what_may_not_go_round_the_proxy_is_decided_in_one_place() {
    use Direct::{Dht, Incoming, LocalDiscovery, Names, Peers, PortMapping, Trackers};
    let all = [Peers, Incoming, Trackers, Names, Dht, LocalDiscovery, PortMapping];
    let forbidden = |purpose, only| {
        let proxy = Some(parsed("socks5://127.0.0.1:1"));
        let network = Network { proxy, proxy_for: purpose, proxy_only: only, ..Network::default() };
        let proxies = Proxies::new(&network, None, &Outlet::default());
        all.into_iter().filter(|direct| proxies.forbids(*direct)).collect::<Vec<_>>()
    };
    assert_eq!(forbidden(ProxyFor::All, false), [Peers, Trackers]);
    assert_eq!(forbidden(ProxyFor::Peers, false), [Peers]);
    assert_eq!(forbidden(ProxyFor::Trackers, false), [Trackers]);
    assert_eq!(forbidden(ProxyFor::All, true), all);
    assert!(all.into_iter().all(|direct| !Proxies::default().forbids(direct)));
}

/// A SOCKS5 proxy that relays datagrams to itself: it answers each with the same payload, as from its target. Each
/// association lasts until `end` says so.
async fn relaying(mut end: mpsc::Receiver<()>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 3 + 10];
            stream.read_exact(&mut request[..3]).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            stream.read_exact(&mut request[3..]).await.unwrap();
            assert_eq!(request[3..], [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // An address that nobody may be led to.
            let mut answer = vec![5, 0, 0, 1, 192, 0, 2, 99];
            answer.extend(socket.local_addr().unwrap().port().to_be_bytes());
            stream.write_all(&answer).await.unwrap();
            let mut datagram = [0; 512];
            loop {
                tokio::select! {
                    _ = end.recv() => break,
                    heard = socket.recv_from(&mut datagram) => {
                        let (len, from) = heard.unwrap();
                        // Garbage first, and a fragment, which nobody hears.
                        for noise in [&b"x"[..], &[0, 0, 1, 1, 1, 2, 3, 4, 0, 1]] {
                            socket.send_to(noise, from).await.unwrap();
                        }
                        socket.send_to(&datagram[..len], from).await.unwrap();
                    }
                }
            }
        }
    });
    (addr, server)
}

#[tokio::test]
async fn datagrams_go_by_an_association_that_is_made_anew_when_it_ends() {
    let (end, ends) = mpsc::channel(1);
    let (addr, _server) = relaying(ends).await;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let proxy = Arc::new(Proxy::new(ProxyKind::Socks5, addr.into(), None, Outlet::default()));
    let hear = move |from: Option<SocketAddr>, payload: &[u8]| drop(heard.send((from, payload.to_vec())));
    let relay = Relay::new(proxy, 1500, hear, TaskTracker::new(), CancellationToken::new());
    let tracker = Target::new("192.0.2.7", 6969).unwrap();
    for turn in 0..3u8 {
        relay.send(&tracker, &[turn]).await.unwrap();
        let (from, payload) = tokio::time::timeout(LONG, hears.recv()).await.unwrap().unwrap();
        assert_eq!((from, payload), (Some("192.0.2.7:6969".parse().unwrap()), vec![turn]));
        if turn == 1 {
            let first = relay.association().await.unwrap();
            end.send(()).await.unwrap();
            tokio::time::timeout(LONG, first.over.cancelled()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_proxy_without_udp_says_so_and_is_not_down() {
    let [hello, chosen] = greeting();
    let associate = Expect(vec![5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let scripted = Scripted::start(vec![hello, chosen, associate, Say(vec![5, 7, 0, 1])]).await;
    for (kind, said) in [
        (ProxyKind::Socks5, "can't relay UDP: it doesn't support the command"),
        (ProxyKind::Http, "an HTTP proxy carries no UDP"),
    ] {
        let proxy = scripted.proxy(kind, None);
        let relay = Relay::new(proxy.clone(), 9, |_, _| (), TaskTracker::new(), CancellationToken::new());
        let error = relay.send(&target(), b"x").await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.why.is_the_proxys());
        assert!(!matches!(proxy.health.shown(Instant::now()), health::Shown::Down { .. }), "{kind:?}");
        assert_eq!(proxy.check_udp().await.unwrap_err().to_string(), error.to_string());
    }
}
