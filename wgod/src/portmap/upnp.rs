//! UPnP: the search for the gateway, and HTTP with it. Hyper's client on a socket of the [`Outlet`]: no names are
//! resolved, no redirects followed, no proxies asked, and nobody but the gateway is.
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};
use wgo_core::portmap::{Link, Told};
use wgo_proto::portmap::upnp::{
    Call, Location, MAX_DOCUMENT, Reply, SEARCH_ADDR, SEARCHES, Service, read_found, read_reply, search,
    services,
};

use crate::outlet::Outlet;

/// Gateways answer a search within a second, as it asks of them; one more for those that are slow.
const SEARCH_TIME: Duration = Duration::from_secs(2);
/// A search is sent once more then: a datagram may be lost.
const SEARCH_AGAIN: Duration = Duration::from_millis(700);
/// Descriptions that are read of one gateway.
const MAX_LOCATIONS: usize = 4;
/// Bytes of an answer to a search.
const MAX_PACKET: usize = 2048;
/// What one HTTP request may take in all.
const HTTP_TIME: Duration = Duration::from_secs(5);
/// The header of a call.
const SOAP_ACTION: &str = "SOAPAction";
/// What gateways see of us.
const USER_AGENT: &str = concat!("Linux UPnP/1.1 wgod/", env!("CARGO_PKG_VERSION"));

/// A service that maps ports, and how we reach it.
#[derive(Clone, Debug)]
pub(super) struct Found(Service);

/// Looks for the gateway, and for what of it maps ports.
///
/// # Errors
/// What the state machine is to hear instead.
pub(super) async fn find(outlet: &Outlet, link: Link) -> Result<Found, Told> {
    let failed = |error: io::Error| Told::Failed(format!("no search: {error}"));
    // From this address, so that it leaves by the interface that has it.
    let socket = outlet.udp(SocketAddr::new(link.local.into(), 0)).map_err(failed)?;
    let begun = Instant::now();
    let (mut tried, mut sent, mut last) = (BTreeSet::new(), 0, Told::Silent);
    let mut packet = [0; MAX_PACKET];
    loop {
        if sent < 2 && begun.elapsed() >= SEARCH_AGAIN * sent {
            sent += 1;
            for target in SEARCHES {
                socket
                    .send_to(search(target).as_bytes(), SocketAddr::V4(SEARCH_ADDR))
                    .await
                    .map_err(failed)?;
            }
        }
        let until = if sent < 2 { begun + SEARCH_AGAIN * sent } else { begun + SEARCH_TIME };
        let (len, from) = match timeout_at(until, socket.recv_from(&mut packet)).await {
            Ok(Ok(came)) => came,
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) if sent < 2 => continue,
            Err(_) => return Err(last),
        };
        // Whoever else answers may be a gateway, but isn't ours.
        let found = (from.ip() == IpAddr::V4(link.gateway))
            .then(|| read_found(packet.get(..len).unwrap_or_default()));
        match found {
            Some(Ok(location)) if location.ip() != link.gateway => {
                last = Told::Failed(format!("it names a description elsewhere: {location}"));
            }
            Some(Ok(location)) if tried.len() < MAX_LOCATIONS && tried.insert(location.to_string()) => {
                match describe(outlet, &location).await {
                    Ok(found) => return Ok(found),
                    Err(why) => last = Told::Failed(why),
                }
                // What came meanwhile is looked at, however long that took.
                continue;
            }
            Some(Err(error)) => last = Told::Failed(error.to_string()),
            _ => {}
        }
        // Where answers come without end, none has to be waited for.
        if begun.elapsed() >= SEARCH_TIME {
            return Err(last);
        }
    }
}

/// The service of a description.
async fn describe(outlet: &Outlet, location: &Location) -> Result<Found, String> {
    let request = Request::get(&location.path).body(Full::default()).map_err(|error| error.to_string())?;
    let (status, body) = ask(outlet, location, request).await?;
    if status != StatusCode::OK {
        return Err(format!("its description {location} is answered with {status}"));
    }
    let found = services(&body, location).map_err(|error| format!("its description {location}: {error}"))?;
    // One that is connected knows its address outside; of those that aren't, the first is as good as any.
    for service in &found {
        let found = Found(service.clone());
        if found.kind_is_connected(outlet).await {
            return Ok(found);
        }
    }
    found.into_iter().next().map(Found).ok_or_else(|| "it maps no ports".to_owned())
}

impl Found {
    async fn kind_is_connected(&self, outlet: &Outlet) -> bool {
        let told = call(outlet, self, &Call::ExternalAddress).await;
        matches!(told, Told::Done(Some(ip)) if !ip.is_unspecified())
    }
}

/// Calls a service.
pub(super) async fn call(outlet: &Outlet, found: &Found, call: &Call) -> Told {
    let Found(Service { kind, control }) = found;
    let request = Request::post(&control.path)
        .header(SOAP_ACTION, call.header(*kind))
        .header(header::CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
        .body(Full::from(call.body(*kind)));
    let request = match request {
        Ok(request) => request,
        Err(error) => return Told::Failed(error.to_string()),
    };
    let (status, body) = match ask(outlet, control, request).await {
        Ok(answer) => answer,
        Err(why) => return Told::Failed(why),
    };
    // Refusals come as errors of the server, with a reason in XML.
    if !status.is_success() && status != StatusCode::INTERNAL_SERVER_ERROR {
        return Told::Failed(format!("{} is answered with {status}", call.action()));
    }
    match read_reply(&body) {
        Ok(Reply::Done(address)) if status.is_success() => Told::Done(address),
        Ok(Reply::Done(_)) => Told::Failed(format!("{} is answered with {status}", call.action())),
        Ok(Reply::Failed(fault)) => Told::Refused(fault),
        Err(error) => Told::Failed(format!("{}: {error}", call.action())),
    }
}

/// One request on a connection of its own.
async fn ask(
    outlet: &Outlet,
    location: &Location,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let late = |_| format!("{} does not answer within {} s", location.addr, HTTP_TIME.as_secs());
    timeout(HTTP_TIME, converse(outlet, location, request)).await.map_err(late)?
}

async fn converse(
    outlet: &Outlet,
    location: &Location,
    mut request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let addr = SocketAddr::V4(location.addr);
    let unreachable = |error: io::Error| format!("{addr} cannot be reached: {error}");
    let stream = outlet.tcp(addr.ip()).map_err(unreachable)?.connect(addr).await.map_err(unreachable)?;
    let failed = |error: hyper::Error| format!("{addr}: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    if let Ok(host) = header::HeaderValue::from_str(&addr.to_string()) {
        headers.insert(header::HOST, host);
    }
    let answer = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_DOCUMENT).collect().await;
        let body = body.map_err(|error| format!("{addr}: {error}"))?;
        Ok((status, body.to_bytes()))
    };
    // The connection is driven here; it may end before the answer was taken out of it.
    let driven = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = driven => unreachable!("it never ends"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    /// A gateway that answers each connection with `answers` in turn, and what it was asked.
    async fn gateway(answers: Vec<String>) -> (Location, JoinSet<Vec<String>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let location = Location::parse(&format!("http://{}/d.xml", listener.local_addr().unwrap())).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let len = stream.read(&mut request).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..len]).into_owned());
                // It may not be read to its end.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            asked
        });
        (location, tasks)
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    const DESCRIPTION: &str = "<root><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1\
        </serviceType><controlURL>/ctl</controlURL></service></serviceList></device></root>";
    const ADDRESS: &str =
        "<Envelope><Body><r><NewExternalIPAddress>203.0.113.9</NewExternalIPAddress></r></Body></Envelope>";

    #[tokio::test]
    async fn a_description_leads_to_calls() {
        let fault = "<Envelope><Body><Fault><errorCode>718</errorCode></Fault></Body></Envelope>";
        let answers = vec![
            answer("200 OK", DESCRIPTION),
            answer("200 OK", ADDRESS),
            answer("200 OK", ADDRESS),
            answer("500 Internal Server Error", fault),
            answer("404 Not Found", ADDRESS),
            answer("200 OK", "<html>"),
        ];
        let (location, mut tasks) = gateway(answers).await;
        let outlet = Outlet::default();
        let found = describe(&outlet, &location).await.unwrap();
        let call = async || call(&outlet, &found, &Call::ExternalAddress).await;
        assert_eq!(call().await, Told::Done(Some(Ipv4Addr::new(203, 0, 113, 9))));
        assert!(matches!(call().await, Told::Refused(fault) if fault.code == 718));
        assert!(matches!(call().await, Told::Failed(why) if why.contains("404")));
        assert!(matches!(call().await, Told::Failed(_)));
        let asked = tasks.join_next().await.unwrap().unwrap();
        assert!(asked[0].starts_with("GET /d.xml HTTP/1.1\r\n"), "{}", asked[0]);
        assert!(asked[1].starts_with("POST /ctl HTTP/1.1\r\n"), "{}", asked[1]);
        assert!(asked[1].contains("host: 127.0.0.1:"), "{}", asked[1]);
        // And it listens no longer.
        assert!(matches!(call().await, Told::Failed(why) if why.contains("cannot be reached")));
    }

    #[tokio::test]
    async fn what_is_too_long_or_leads_elsewhere_is_not_read() {
        let bomb = answer("200 OK", &"x".repeat(MAX_DOCUMENT + 1));
        let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let (location, mut tasks) = gateway(vec![bomb, moved.to_owned()]).await;
        let outlet = Outlet::default();
        let why = describe(&outlet, &location).await.unwrap_err();
        assert!(why.contains("length limit"), "{why}");
        let why = describe(&outlet, &location).await.unwrap_err();
        assert!(why.contains("302"), "{why}");
        tasks.join_next().await.unwrap().unwrap();
    }
}
