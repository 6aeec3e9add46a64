//! `.torrent` files from the web, for `add`.
//!
//! They are fetched here and not by the daemon: so nobody who may use a control socket can make it ask addresses
//! that only its machine reaches, and the URL, in which there is often a passkey, stays with its user. The answer
//! is hostile: it is bounded in size and time, must parse as a torrent, and leads only to where the given URL
//! could have led itself.
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use wgo_api::Kind;
use wgo_api::params::Source;
use wgo_proto::metainfo::Metainfo;

use crate::failure::Failure;
use crate::sources::{Given, MAX_TORRENT};

mod reach;
mod shown;

use reach::Reach;
use shown::shown;
pub(crate) use shown::shown_text;

/// What servers see.
const USER_AGENT: &str = concat!("wgoctl/", env!("CARGO_PKG_VERSION"));

/// Redirects followed for one URL: indexers need two or three.
const MAX_REDIRECTS: usize = 5;

/// Puts torrents in place of the URLs among the sources, or why there are none. Each may take as long as `limit`.
pub(crate) async fn fetch_all(all: &mut [Given], limit: Option<Duration>) {
    let mut fetcher = Fetcher { limit, tls: None };
    for given in all {
        let Ok(Source::Uri(text)) = &given.source else { continue };
        if is_url(text) {
            given.source = fetcher.fetch(text).await;
        }
    }
}

/// Does the link lead to a web server?
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    })
}

/// Why there is no torrent.
struct Problem {
    kind: Kind,
    why: String,
}

fn problem<T>(kind: Kind, why: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { kind, why: why.into() })
}

/// Where an answer leads.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// To another URL.
    Url(Url),
    /// Indexers answer with the magnet link that they know of a torrent.
    Magnet(String),
}

/// What the fetches of one run share.
struct Fetcher {
    limit: Option<Duration>,
    /// Read from the system's store at the first `https:`.
    tls: Option<ClientConfig>,
}

impl Fetcher {
    async fn fetch(&mut self, text: &str) -> Result<Source, Failure> {
        let failed = |Problem { kind, why }| Failure::Fetch { url: shown_text(text), kind, why };
        let url = parse(text).map_err(failed)?;
        let limit = self.limit;
        let whole = self.follow(url);
        let outcome = match limit {
            None => whole.await,
            Some(limit) => tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| {
                let seconds = limit.as_secs_f64();
                problem(
                    Kind::Network,
                    format!("the answer was not there within {seconds} s; --timeout gives it longer"),
                )
            }),
        };
        outcome.map_err(failed)
    }

    /// Asks, and asks again where the answer leads.
    async fn follow(&mut self, given: Url) -> Result<Source, Problem> {
        let mut url = given.clone();
        let mut bound = None;
        for _ in 0..=MAX_REDIRECTS {
            let asked = self.ask(&url, &mut bound).await;
            let next = match asked {
                Ok(Answer::Torrent(source)) => return Ok(source),
                Ok(Answer::Elsewhere(Next::Magnet(magnet))) => return Ok(Source::Uri(magnet)),
                Ok(Answer::Elsewhere(Next::Url(next))) => next,
                Err(problem) if url == given => return Err(problem),
                Err(Problem { kind, why }) => {
                    return problem(kind, format!("redirected to {}: {why}", shown(&url)));
                }
            };
            url = next;
        }
        problem(
            Kind::Network,
            format!("more than {MAX_REDIRECTS} redirects, the last one to {}", shown(&url)),
        )
    }

    /// One request. `bound` is how near the addresses of the first host are; others may be no nearer.
    async fn ask(&mut self, url: &Url, bound: &mut Option<Reach>) -> Result<Answer, Problem> {
        let addresses = resolve(url).await?;
        let reach = addresses.iter().map(|address| Reach::of(address.ip())).max().unwrap_or(Reach::Internet);
        if reach > *bound.get_or_insert(reach) {
            return problem(
                Kind::Network,
                format!(
                    "this leads from outside to {reach} and is not followed; give that URL itself if it is meant"
                ),
            );
        }
        let client = self.client(url, &addresses)?;
        let response = client.get(url.clone()).send().await.map_err(explain)?;
        if response.status().is_redirection() {
            return next(&response, url).map(Answer::Elsewhere);
        }
        if !response.status().is_success() {
            return problem(Kind::Network, refusal(response.status()));
        }
        let html = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
        });
        let bytes = body(response).await?;
        check(&bytes, html)?;
        Ok(Answer::Torrent(Source::of_file(&bytes)))
    }

    /// A client that connects to these addresses: another look-up could give others than those that were judged.
    fn client(&mut self, url: &Url, addresses: &[SocketAddr]) -> Result<Client, Problem> {
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .http1_only()
            // What a proxy connects to could not be judged.
            .no_proxy()
            .redirect(Policy::none())
            .tls_backend_preconfigured(self.tls(url.scheme() == "https")?);
        if let Some(host) = url.domain() {
            builder = builder.resolve_to_addrs(host, addresses);
        }
        builder.build().map_err(explain)
    }

    fn tls(&mut self, needed: bool) -> Result<ClientConfig, Problem> {
        if let Some(tls) = &self.tls {
            return Ok(tls.clone());
        }
        let mut authorities = RootCertStore::empty();
        if needed {
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if authorities.is_empty() {
                let why = "no certificate authorities to judge the server by; install ca-certificates";
                return problem(Kind::Network, why);
            }
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Problem { kind: Kind::Internal, why: error.to_string() })?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        if needed {
            self.tls = Some(tls.clone());
        }
        Ok(tls)
    }
}

/// What a server answered.
enum Answer {
    Torrent(Source),
    Elsewhere(Next),
}

fn parse(text: &str) -> Result<Url, Problem> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        Ok(_) => problem(Kind::BadRequest, "this URL names no host"),
        Err(error) => problem(Kind::BadRequest, format!("no URL that can be read: {error}")),
    }
}

async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, Problem> {
    // `socket_addrs` would look names up on this thread.
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((bare, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => problem(Kind::Network, format!("cannot find the address of {host}: {error}")),
    }
}

/// Where a redirect leads, if that is somewhere to go.
fn next(response: &Response, from: &Url) -> Result<Next, Problem> {
    let status = response.status();
    let Some(location) = response.headers().get(LOCATION) else {
        return problem(Kind::Network, format!("the server answers {status} and not where to go"));
    };
    // A Location in UTF-8 is against the rules and happens.
    let text = String::from_utf8_lossy(location.as_bytes());
    lead(from, &text)
}

fn lead(from: &Url, location: &str) -> Result<Next, Problem> {
    let url = match from.join(location) {
        Ok(url) => url,
        Err(error) => {
            return problem(Kind::Network, format!("redirected to what is no URL: {error}"));
        }
    };
    match (from.scheme(), url.scheme()) {
        (_, "magnet") => Ok(Next::Magnet(location.to_owned())),
        ("https", "http") => problem(
            Kind::Network,
            format!("redirected from https to {}, which anybody on the way could change", shown(&url)),
        ),
        (_, "http" | "https") if url.has_host() => Ok(Next::Url(url)),
        (_, other) => problem(Kind::Network, format!("redirected to {other}:, which is not fetched")),
    }
}

/// The body, unpacked; given up as soon as it is too long, or says that it will be.
async fn body(mut response: Response) -> Result<Vec<u8>, Problem> {
    let too_long =
        || problem(Kind::BadTorrent, format!("has more than {MAX_TORRENT} bytes, too many for a torrent"));
    if response.content_length().is_some_and(|len| len > MAX_TORRENT) {
        return too_long();
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(explain)? {
        bytes.extend_from_slice(&part);
        if bytes.len() as u64 > MAX_TORRENT {
            return too_long();
        }
    }
    Ok(bytes)
}

/// Is it a torrent? Most often what isn't is the page on which one logs in.
fn check(bytes: &[u8], html: bool) -> Result<(), Problem> {
    let Err(error) = Metainfo::parse(bytes) else { return Ok(()) };
    if bytes.is_empty() {
        return problem(Kind::BadTorrent, "the answer is empty");
    }
    if html || bytes.trim_ascii_start().starts_with(b"<") {
        return problem(
            Kind::BadTorrent,
            "this is a web page and not a torrent; give the link to the .torrent file itself. If one has to log in \
             for it, download it with the browser and add the file",
        );
    }
    problem(Kind::BadTorrent, format!("what came is no torrent that can be read: {error}"))
}

fn refusal(status: StatusCode) -> String {
    let advice = match status.as_u16() {
        401 | 403 => "; one may have to log in: download it with the browser and add the file",
        404 | 410 => "; is the link right?",
        429 | 500.. => "; try again later",
        _ => "",
    };
    format!("the server answers {status}{advice}")
}

/// What `reqwest` says, without the URL, by its innermost cause: what is around that says nothing.
fn explain(error: reqwest::Error) -> Problem {
    let error = error.without_url();
    let mut innermost: &(dyn Error + 'static) = &error;
    // An `io::Error` hides the error that it wraps from `source`.
    while let Some(inner) = match innermost.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn Error + 'static)),
        None => innermost.source(),
    } {
        innermost = inner;
    }
    let doing = if error.is_connect() { "cannot connect" } else { "the answer broke off" };
    Problem { kind: Kind::Network, why: format!("{doing}: {innermost}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_the_web_or_a_magnet_link_and_never_from_https_to_http() {
        let of = |from: &str, to: &str| lead(&Url::parse(from).unwrap(), to).map_err(|problem| problem.why);
        let url = |text: &str| Ok(Next::Url(Url::parse(text).unwrap()));
        assert_eq!(of("http://a/x/y", "../z"), url("http://a/z"));
        assert_eq!(of("http://a/", "https://b/c"), url("https://b/c"));
        assert_eq!(of("https://a/", "//b/c"), url("https://b/c"));
        assert_eq!(of("https://a/", "magnet:?xt=1"), Ok(Next::Magnet("magnet:?xt=1".to_owned())));
        for (from, to, why) in [
            ("https://a/", "http://a/", "from https to http://a/"),
            ("http://a/", "file:///etc/passwd", "to file:"),
            ("http://a/", "data:,d", "to data:"),
            ("http://a/", "http://", "no URL"),
        ] {
            let told = of(from, to).unwrap_err();
            assert!(told.contains(why), "{from} {to}: {told}");
        }
    }

    #[test]
    fn only_torrents_pass() {
        for (bytes, html, why) in [
            (&b""[..], false, "empty"),
            (b"", true, "empty"),
            (b"\n <!DOCTYPE html>", false, "web page"),
            (b"Please log in", true, "web page"),
            (b"{\"error\": 1}", false, "no torrent"),
            (b"d4:infode", false, "no torrent"),
        ] {
            let told = check(bytes, html).map_err(|problem| problem.why).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
    #[test]
    fn a_server_outside_leads_to_no_address_of_this_machine() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut fetcher = Fetcher { limit: None, tls: None };
        for bound in [Reach::Internet, Reach::LocalNetwork] {
            let asked = runtime.block_on(fetcher.ask(&url, &mut Some(bound)));
            let why = asked.err().map(|problem| problem.why).unwrap_or_default();
            assert!(why.contains("from outside to this machine"), "{bound}: {why}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
