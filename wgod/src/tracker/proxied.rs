//! Trackers over HTTP by way of a proxy: no name is looked up here and no family chosen, since the proxy does both.
//!
//! What a name leads to is not known, so of the guards (`guard.rs`) those hold that need no address: a URL brings
//! nothing along; the proxy's own machine is not asked, by address or as `localhost`; and no redirect leads from a
//! name or a global address to a local one that is written out. Where other names lead is up to the proxy's rules.
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT as AGENT};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::{Body, Response, Url};
use rustls::ClientConfig;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};
use tower_http::decompression::Decompression;
use wgo_proto::proxy::Target as Far;
use wgo_proto::tracker::http::percent_decode;

use super::guard::Reach;
use super::http::{IDLE_TIME, USER_AGENT, chain, find};
use super::target::Target;
use super::{Settings, TrackerError};
use crate::proxy::{Proxy, ProxyError};

/// What a request may fail by; our own errors are among its causes.
type Failure = Box<dyn Error + Send + Sync>;

/// The HTTP client whose connections go by the proxy. `reqwest` would make them itself, with errors that don't say
/// what the proxy did; its answers are the same.
pub(super) struct ByProxy(BoxCloneSyncService<Request<Empty<Bytes>>, http::Response<Body>, Failure>);

impl ByProxy {
    pub(super) fn new(proxy: &Arc<Proxy>, settings: &Settings, tls: ClientConfig) -> ByProxy {
        let (proxy, limit) = (proxy.clone(), settings.connect_timeout);
        let connect = service_fn(move |uri: Uri| {
            let proxy = proxy.clone();
            async move { tunnel(&proxy, &uri, limit).await }
        });
        let connect = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connect);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(settings.per_tracker)
            .build(connect);
        let client = Decompression::new(client)
            .map_response(|response: http::Response<_>| response.map(Body::wrap))
            .map_err(Failure::from);
        ByProxy(BoxCloneSyncService::new(client))
    }

    /// The answer to GET `url`, whose host is that of `target`.
    pub(super) async fn send(&self, url: &Url, target: &Target) -> Result<Response, TrackerError> {
        let request =
            request(url.clone()).ok_or_else(|| TrackerError::Url { why: "a strange URL".to_owned() })?;
        let answer = self.0.clone().oneshot(request).await;
        answer.map(Response::from).map_err(|failure| explain(failure.as_ref(), target))
    }
}

async fn tunnel(
    proxy: &Proxy,
    uri: &Uri,
    limit: Duration,
) -> Result<TokioIo<crate::transport::Transport>, Failure> {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let target = far(host, port)?;
    Ok(TokioIo::new(proxy.connect(&target, limit).await?))
}

/// Where the proxy is to lead.
pub(super) fn far(host: &str, port: u16) -> Result<Far, TrackerError> {
    Far::new(host, port)
        .ok_or_else(|| TrackerError::Url { why: "its host is no name that a proxy takes".to_owned() })
}

/// A URL may say who we are to the tracker; that goes into a header.
fn request(mut url: Url) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::get("/").header(AGENT, USER_AGENT).header(ACCEPT, "*/*");
    if !url.username().is_empty() || url.password().is_some() {
        let word = |text: &str| String::from_utf8_lossy(&percent_decode(text)).into_owned();
        let login = format!("{}:{}", word(url.username()), word(url.password().unwrap_or_default()));
        request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(login)));
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
    }
    url.set_fragment(None);
    request.uri(url.as_str()).body(Empty::new()).ok()
}

/// Translates what the HTTP client says.
fn explain(failure: &(dyn Error + 'static), target: &Target) -> TrackerError {
    if let Some(ours) = find::<TrackerError>(failure) {
        return ours.clone();
    }
    if let Some(proxy) = find::<ProxyError>(failure) {
        return TrackerError::Proxy(proxy.clone());
    }
    match find::<rustls::Error>(failure) {
        Some(tls) => TrackerError::Tls { host: target.host.clone(), why: tls.to_string() },
        None => TrackerError::Broken { why: chain(failure) },
    }
}

/// How near a host is, as far as it says so itself.
pub(super) fn reach(target: &Target) -> Reach {
    if let Some(ip) = target.ip() {
        return Reach::of(ip);
    }
    let host = target.host.trim_end_matches('.');
    let local = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
    match local.contains(&host) || host.ends_with(".localhost") {
        true => Reach::Loopback,
        false => Reach::Global,
    }
}

/// Whether a host at such a reach may be asked by the proxy.
pub(super) fn may_ask(target: &Target, reach: Reach) -> Result<(), TrackerError> {
    match reach {
        Reach::Loopback => Err(TrackerError::ProxysOwn { host: target.host.clone() }),
        Reach::Local | Reach::Global => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told_of_a_host_is_told() {
        for (url, want) in [
            ("http://127.0.0.1/announce", Reach::Loopback),
            ("http://0x7f.1/announce", Reach::Loopback),
            ("http://[::1]/announce", Reach::Loopback),
            ("http://localhost/announce", Reach::Loopback),
            ("http://LOCALHOST./announce", Reach::Loopback),
            ("http://a.localhost/announce", Reach::Loopback),
            ("http://10.0.0.1/announce", Reach::Local),
            ("http://nolocalhost/announce", Reach::Global),
            ("http://tracker.example/announce", Reach::Global),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(reach(&target), want, "{url}");
            assert_eq!(may_ask(&target, want).is_ok(), want != Reach::Loopback);
        }
    }

    #[test]
    fn a_login_in_a_url_goes_into_a_header() {
        let made = request(Url::parse("http://m%40e:p+w%20@t.example:81/announce?x=1#y").unwrap()).unwrap();
        assert_eq!(made.uri(), "http://t.example:81/announce?x=1");
        assert_eq!(made.headers()[AUTHORIZATION], format!("Basic {}", STANDARD.encode("m@e:p+w ")));
        let plain = request(Url::parse("https://t.example/announce").unwrap()).unwrap();
        assert!(!plain.headers().contains_key(AUTHORIZATION));
    }
}
