//! What a torrent's URLs don't lead us to, although they name it.
use std::net::IpAddr;
use std::sync::Arc;

use wgo_proto::tracker::Retry;

use super::super::http::Http;
use super::super::resolve::Resolver;
use super::super::target::Target;
use super::super::{Settings, TrackerError, Via, check_url};
use super::fake_http::{Act, FakeHttp, body, ok, redirect};
use super::{ask, loopback, reply, trackers};

#[tokio::test]
async fn a_service_on_this_machine_is_not_asked_unless_it_looks_like_a_tracker() {
    let service = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let trackers = trackers(Settings::default());
    let port = service.address.port();
    for url in [format!("http://127.0.0.1:{port}/admin?do=it"), format!("http://localhost:{port}/")] {
        let err = ask(&trackers, &url).await.unwrap_err();
        assert!(matches!(err, TrackerError::Forbidden { .. }), "{err:?}");
        assert!(err.to_string().contains("here a tracker's path must begin with /announce"), "{err}");
    }
    // However the address is written.
    for host in ["2130706433", "0x7f.1", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let err = ask(&trackers, &format!("http://{host}:{port}/admin")).await.unwrap_err();
        assert!(matches!(err, TrackerError::Forbidden { .. }), "{host}: {err:?}");
    }
    assert_eq!(service.requests(), 0);
    assert!(ask(&trackers, &format!("http://127.0.0.1:{port}/announce")).await.is_ok());
}

#[tokio::test]
async fn a_redirect_to_a_service_on_this_machine_is_not_followed() {
    let service = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let to = format!("http://{}/admin", service.address);
    let tracker = FakeHttp::start(loopback(false), move |_| redirect(&to)).await;
    let err = ask(&trackers(Settings::default()), &tracker.url()).await.unwrap_err();
    assert!(matches!(err, TrackerError::Forbidden { .. }), "{err:?}");
    assert_eq!(service.requests(), 0);
}

/// A tracker that was seen at a global address. What is connected to is judged again: by then its name leads
/// elsewhere.
#[tokio::test]
async fn a_name_that_moves_to_this_machine_after_the_look_at_it_leads_nowhere() {
    let service = FakeHttp::start(loopback(false), |_| Act::Send(ok(&body(&reply())))).await;
    let settings = Settings::default();
    let resolver = Resolver::new(&settings);
    let http = Http::new(&settings, &resolver, rustls::RootCertStore::empty()).unwrap();
    let here: Arc<[IpAddr]> = Arc::new([service.address.ip()]);
    resolver.remember("rebound.test", &here);
    let url = format!("http://rebound.test:{}/announce", service.address.port());
    let target = Target::parse(&url).unwrap();
    let err = http.get(&target, Via::Ip("192.0.2.1".parse().unwrap()), &url).await.unwrap_err();
    assert!(matches!(err, TrackerError::NoAddress { .. }), "{err:?}");
    assert_eq!(service.requests(), 0);
    let from_the_beginning = http.get(&target, Via::Ip(service.address.ip()), &url).await;
    assert!(from_the_beginning.is_ok(), "seen here from the beginning");
}

#[tokio::test]
async fn a_url_that_says_itself_what_is_announced_is_of_no_use() {
    let trackers = trackers(Settings::default());
    for url in ["http://127.0.0.1:1/announce?info_hash=x", "udp://127.0.0.1:1/announce?port=80"] {
        assert!(check_url(url).is_err());
        let err = ask(&trackers, url).await.unwrap_err();
        assert!(matches!(err, TrackerError::Baked { .. }), "{err:?}");
        assert_eq!(err.retry(), Some(Retry::Never));
    }
}
