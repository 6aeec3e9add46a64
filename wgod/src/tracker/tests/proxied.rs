//! Trackers by a proxy: all of it goes to the proxy, names included, and what it may be led to.
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::{Settings, TrackerError, Trackers};
use super::fake_http::{Act, FakeHttp, answer, body, gzip, ok, redirect};
use super::tls::{authorities, tls_tracker};
use super::{PASSKEY, ask, loopback, reply, trackers};
use crate::config::{Network, ProxyUrl};
use crate::outlet::Outlet;
use crate::proxy::Proxies;

/// A SOCKS5 proxy by which every name and address leads to the same place. Ends when dropped.
struct FakeProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl FakeProxy {
    async fn to(place: SocketAddr) -> FakeProxy {
        let listener = TcpListener::bind(loopback(false)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let to = asked.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let to = to.clone();
                connections.spawn(async move {
                    let mut head = [0; 3];
                    stream.read_exact(&mut head).await.unwrap();
                    stream.write_all(&[5, 0]).await.unwrap();
                    let mut head = [0; 5];
                    stream.read_exact(&mut head).await.unwrap();
                    assert_eq!(head[..4], [5, 1, 0, 3], "a connection, by name");
                    let mut name = vec![0; usize::from(head[4]) + 2];
                    stream.read_exact(&mut name).await.unwrap();
                    name.truncate(usize::from(head[4]));
                    to.lock().unwrap().push(String::from_utf8(name).unwrap());
                    let mut far = TcpStream::connect(place).await.unwrap();
                    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                });
            }
        });
        FakeProxy { address, asked, _tasks: tasks }
    }

    /// Settings by which nothing can go elsewhere.
    fn settings(&self) -> Settings {
        let outlet = Outlet::default();
        let proxy = Some(ProxyUrl::of(&format!("socks5://{}", self.address)));
        let network = Network { proxy, proxy_only: true, ..Network::default() };
        let proxies = Proxies::new(&network, None, &outlet);
        Settings { outlet: outlet.shut("by the proxy"), proxies, ..Settings::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_name_that_only_the_proxy_knows_is_asked_for_over_one_connection() {
    let packed = answer("200 OK", &["Content-Encoding: gzip"], &gzip(&body(&reply())));
    let tracker = FakeHttp::start(loopback(false), move |_| Act::Send(packed.clone())).await;
    let proxy = FakeProxy::to(tracker.address).await;
    let trackers = trackers(proxy.settings());
    for _ in 0..3 {
        let url = format!("http://tracker.invalid/announce?passkey={PASSKEY}");
        assert_eq!(ask(&trackers, &url).await.unwrap(), reply(), "unpacked");
    }
    assert_eq!(proxy.asked(), ["tracker.invalid"]);
    assert_eq!(tracker.seen.connections.load(Ordering::SeqCst), 1);
    let head = tracker.seen.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with(&format!("get /announce?passkey={PASSKEY}&info_hash=")), "{head}");
    for line in ["host: tracker.invalid\r\n", "user-agent: wgod/", "accept-encoding: gzip"] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[tokio::test]
async fn tls_is_between_us_and_the_tracker() {
    let tracker = tls_tracker().await;
    let proxy = FakeProxy::to(tracker.address).await;
    let trackers = Trackers::with_authorities(proxy.settings(), authorities()).unwrap();
    assert_eq!(ask(&trackers, "https://tracker.invalid/announce").await.unwrap(), reply());
    let err = ask(&trackers, "https://other.invalid/announce").await.unwrap_err();
    assert!(err.to_string().starts_with("no secure connection to other.invalid: "), "{err}");
}

#[tokio::test]
async fn the_proxys_own_machine_is_not_asked_and_no_redirect_leads_nearer() {
    let tracker = FakeHttp::start(loopback(false), |path| match path {
        path if path.starts_with("/announce/lan") => redirect("http://192.168.1.1/announce"),
        path if path.starts_with("/announce/self") => redirect("http://127.0.0.1/announce"),
        path if path.starts_with("/announce/name") => redirect("http://other.invalid/announce"),
        _ => Act::Send(ok(&body(&reply()))),
    })
    .await;
    let proxy = FakeProxy::to(tracker.address).await;
    let trackers = trackers(proxy.settings());
    for host in ["127.0.0.1", "localhost", "[::1]", "a.localhost"] {
        let err = ask(&trackers, &format!("http://{host}/announce")).await.unwrap_err();
        assert!(matches!(err, TrackerError::ProxysOwn { .. }), "{host}: {err:?}");
    }
    assert_eq!(proxy.asked(), Vec::<String>::new());
    for path in ["lan", "self"] {
        let err = ask(&trackers, &format!("http://tracker.invalid/announce/{path}")).await.unwrap_err();
        assert!(matches!(err, TrackerError::Redirect { .. }), "{path}: {err:?}");
    }
    assert!(ask(&trackers, "http://tracker.invalid/announce/name").await.is_ok());
    let mut asked = proxy.asked();
    asked.dedup();
    assert_eq!(asked, ["tracker.invalid", "other.invalid"]);
}

#[tokio::test]
async fn a_proxy_that_is_down_is_named_and_nothing_is_looked_up() {
    let proxy = FakeProxy::to(loopback(false)).await;
    let settings = proxy.settings();
    let address = proxy.address;
    drop(proxy);
    while TcpListener::bind(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    let trackers = trackers(settings);
    for url in ["http://tracker.invalid/announce", "udp://tracker.invalid:1/announce"] {
        let err = ask(&trackers, url).await.unwrap_err();
        assert!(
            err.to_string().starts_with(&format!("proxy socks5://{address}: it can't be reached: ")),
            "{err}"
        );
        assert!(err.is_unreachable());
    }
}
