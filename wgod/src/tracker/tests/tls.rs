//! Trackers over TLS. The certificate is a fixture, made with
//! `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=wgod-test
//! -addext subjectAltName=IP:127.0.0.1,DNS:tracker.invalid -addext basicConstraints=critical,CA:FALSE`.
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::super::{Settings, TrackerError, Trackers};
use super::fake_http::{Act, FakeHttp, body, ok, redirect};
use super::{PASSKEY, ask, loopback, reply, trackers};

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("certificate.pem")).unwrap()
}

pub(super) fn authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate()).unwrap();
    authorities
}

pub(super) async fn tls_tracker() -> FakeHttp {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    FakeHttp::start_with(
        loopback(false),
        |_| Act::Send(ok(&body(&reply()))),
        move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await.ok() }
        },
    )
    .await
}

#[tokio::test]
async fn a_certificate_that_is_trusted_is_accepted() {
    let tracker = tls_tracker().await;
    let url = tracker.url().replace("http:", "https:");
    let trackers = Trackers::with_authorities(Settings::default(), authorities()).unwrap();
    assert_eq!(ask(&trackers, &url).await.unwrap(), reply());
    // Good for the address only.
    let by_name = format!("https://localhost:{}/announce/{PASSKEY}", tracker.address.port());
    let err = ask(&trackers, &by_name).await.unwrap_err();
    assert!(matches!(&err, TrackerError::Tls { .. }), "{err:?}");
    assert!(err.to_string().starts_with("no secure connection to localhost: "), "{err}");
    // A redirect to TLS, as from a tracker that moved.
    let old = FakeHttp::start(loopback(false), move |_| redirect(&url)).await;
    assert_eq!(ask(&trackers, &old.url()).await.unwrap(), reply());
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let tracker = tls_tracker().await;
    let url = tracker.url().replace("http:", "https:");
    let err = ask(&trackers(Settings::default()), &url).await.unwrap_err();
    assert!(matches!(err, TrackerError::NoAuthorities { .. }), "{err:?}");
    // The authorities of this machine, which are none of ours.
    let system = Trackers::start(Settings::default()).unwrap();
    if !system.inner.http.has_authorities() {
        eprintln!("SKIPPED part of a_certificate_that_nobody_vouches_for_is_refused: no authorities here");
        return;
    }
    let err = ask(&system, &url).await.unwrap_err();
    assert!(matches!(&err, TrackerError::Tls { .. }), "{err:?}");
    assert_eq!(tracker.requests(), 0);
}

#[tokio::test]
async fn a_tracker_that_speaks_no_tls_is_told_apart() {
    let plain = FakeHttp::start_with(
        loopback(false),
        |_| Act::Never,
        |mut stream| async move {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            None::<tokio::net::TcpStream>
        },
    )
    .await;
    let trackers = Trackers::with_authorities(Settings::default(), authorities()).unwrap();
    let err = ask(&trackers, &plain.url().replace("http:", "https:")).await.unwrap_err();
    assert!(matches!(&err, TrackerError::Tls { .. } | TrackerError::Connect { .. }), "{err:?}");
}
