//! HTTP trackers that fail or attack: each failure is told apart, in bounded time and memory.
use std::time::{Duration, Instant};

use wgo_proto::tracker::Retry;

use super::super::{Settings, TrackerError};
use super::fake_http::{Act, FakeHttp, answer, body, gzip, ok, redirect};
use super::{PASSKEY, ask, loopback, reply, trackers};

const SOON: Duration = Duration::from_millis(200);

/// What comes of an announce to a tracker that does this.
async fn outcome(act: Act) -> TrackerError {
    let tracker = FakeHttp::start(loopback(false), move |_| act.clone()).await;
    ask(&trackers(Settings::default()), &tracker.url()).await.unwrap_err()
}

#[tokio::test]
async fn each_useless_answer_says_what_is_wrong_with_it() {
    let garbage = "not a tracker's answer, ";
    let cases: Vec<(Act, &str)> = vec![
        (Act::Send(ok(b"<html>Login</html>")), garbage),
        (Act::Send(ok(b"")), garbage),
        (Act::Send(ok(b"4:spam")), "not a tracker's answer, no dictionary: \"4:spam\""),
        (Act::Send(ok(b"d14:failure reason7:go awaye")), "the tracker refuses: go away"),
        (
            Act::Send(ok(format!("d14:failure reason16:no {PASSKEY}e").as_bytes())),
            "the tracker refuses: no …",
        ),
        (Act::Send(ok(format!("{PASSKEY}?").as_bytes())), garbage),
        (Act::Send(answer("404 Not Found", &[], b"<html>")), "HTTP status 404 Not Found"),
        (Act::Send(answer("503 Service Unavailable", &[], b"")), "HTTP status 503 Service Unavailable"),
        (Act::Send(answer("299 Odd", &[], b"no")), garbage),
        (Act::Send(answer("799 Odd", &[], b"")), "HTTP status 799"),
        (Act::Send(answer("304 Not Modified", &[], b"")), "HTTP status 304 Not Modified"),
        (
            Act::Send(answer("403 Forbidden", &[], b"d14:failure reason7:go awaye")),
            "the tracker refuses: go away",
        ),
        (Act::SendAndClose(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()), "no whole answer: "),
        (Act::SendAndClose(Vec::new()), "no whole answer: "),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nd8:inter".to_vec()),
            "no whole answer: ",
        ),
        (Act::Send(answer("200 OK", &["Content-Encoding: gzip"], b"not gzip")), "no whole answer: "),
        (redirect("ftp://127.0.0.1/x"), "redirect refused: to ftp:, neither http: nor https:"),
        (Act::Send(answer("301 Moved Permanently", &[], b"")), "redirect refused: status 301 without"),
        (redirect("file:///etc/passwd"), "redirect refused: to file:, neither http: nor https:"),
        (redirect("http://:0/"), "redirect refused: to what is no URL"),
    ];
    for (act, expected) in cases {
        let err = outcome(act).await;
        assert!(err.to_string().starts_with(expected), "{err}, expected {expected}");
    }
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let tracker = FakeHttp::start(loopback(false), |_| redirect("/announce/again")).await;
    let err = ask(&trackers(Settings::default()), &tracker.url()).await.unwrap_err();
    assert_eq!(err.to_string(), "redirect refused: more than 5 in a row");
    assert_eq!(tracker.requests(), 6);
}

#[tokio::test]
async fn the_trackers_own_time_to_wait_is_passed_on() {
    let minutes = |n: u64| Some(Retry::After(Duration::from_secs(60 * n)));
    let cases: Vec<(Vec<u8>, Option<Retry>)> = vec![
        (ok(b"d14:failure reason4:busy8:retry in2:10e"), minutes(10)),
        (ok(b"d14:failure reason4:busy8:retry in5:nevere"), Some(Retry::Never)),
        (ok(b"d14:failure reason4:busye"), None),
        (answer("429 Too Many Requests", &["Retry-After: 120"], b""), minutes(2)),
        (answer("503 Service Unavailable", &["Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"], b""), None),
        (answer("503 Service Unavailable", &["Retry-After: 99999999999"], b""), minutes(7 * 24 * 60)),
    ];
    for (bytes, expected) in cases {
        let err = outcome(Act::Send(bytes)).await;
        assert_eq!(err.retry(), expected, "{err}");
    }
}

#[tokio::test]
async fn a_huge_answer_is_refused_at_once() {
    let huge = vec![b' '; 10 << 20];
    let chunk = [&b"10000\r\n"[..], &[b' '; 0x10000], b"\r\n"].concat();
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let acts = [
        // Said beforehand: nothing of it is read.
        Act::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n".to_vec(), Duration::ZERO),
        Act::Send(ok(&huge)),
        Act::Send(answer("500 Internal Server Error", &[], &huge)),
        Act::Send(answer("200 OK", &["Content-Encoding: gzip"], &gzip(&huge))),
        Act::Flood(endless, chunk),
    ];
    for (n, act) in acts.into_iter().enumerate() {
        let err = outcome(act).await;
        assert!(matches!(err, TrackerError::TooLarge { limit: 1_048_576 }), "{n}: {err:?}");
    }
}

#[tokio::test]
async fn a_tracker_that_does_not_answer_in_time_is_given_up() {
    let answer = ok(&body(&reply()));
    for act in [Act::Never, Act::Drip(answer, Duration::from_millis(20))] {
        let tracker = FakeHttp::start(loopback(false), move |_| act.clone()).await;
        let settings = Settings { http_timeout: SOON, ..Settings::default() };
        let began = Instant::now();
        let err = ask(&trackers(settings), &tracker.url()).await.unwrap_err();
        assert_eq!(err.to_string(), "timed out after 200ms, waiting for the whole answer");
        assert!(began.elapsed() >= SOON);
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up() {
    // A listener that accepts nothing: its queue of one is full after two.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&loopback(false).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, SOON) {
        queued.push(stream);
    }
    let settings = Settings { connect_timeout: SOON, ..Settings::default() };
    let err = ask(&trackers(settings), &format!("http://{address}/announce")).await.unwrap_err();
    assert_eq!(err.to_string(), "timed out after 200ms, connecting");
}

#[tokio::test]
async fn a_tracker_that_is_not_there_is_named() {
    let trackers = trackers(Settings::default());
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind(loopback(false)).unwrap().local_addr().unwrap();
    let err = ask(&trackers, &format!("http://{address}/announce/{PASSKEY}")).await.unwrap_err();
    assert_eq!(err.to_string(), "cannot reach 127.0.0.1: Connection refused (os error 111)");
    let err = ask(&trackers, "http://tracker.invalid/announce").await.unwrap_err();
    assert!(matches!(&err, TrackerError::Resolve { .. } | TrackerError::ResolveTimedOut { .. }), "{err:?}");
    for (url, expected) in [
        ("wss://t.example/announce", "a tracker's URL begins with http:, https: or udp:, not with wss:"),
        ("t.example/announce", "not a tracker's URL: relative URL without a base"),
    ] {
        let err = ask(&trackers, url).await.unwrap_err();
        assert_eq!((err.to_string().as_str(), err.retry()), (expected, Some(Retry::Never)));
    }
}
