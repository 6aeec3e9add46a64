//! What is said to a proxy and heard of it before a connection is ours: bytes by `wgo_proto::proxy`. Nothing is read
//! beyond the proxy's own answers, since what follows is the other end's. The caller bounds the time.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wgo_proto::proxy::connect::{self as http, END, MAX_HEAD};
use wgo_proto::proxy::socks5::{self, Command, Method};
use wgo_proto::proxy::{Login, Target};

use super::Why;

/// Agrees with a SOCKS5 proxy on who we are.
pub(super) async fn greet_socks5(
    proxy: &mut (impl AsyncRead + AsyncWrite + Unpin),
    login: Option<&Login>,
) -> Result<(), Why> {
    let hung_up = |error: io::Error| Why::HungUp(Arc::new(error));
    let mut out = Vec::new();
    socks5::greeting(login.is_some(), &mut out);
    proxy.write_all(&out).await.map_err(hung_up)?;
    let mut answer = [0; 2];
    proxy.read_exact(&mut answer).await.map_err(hung_up)?;
    let method = socks5::method(answer, login.is_some()).map_err(Why::Socks5)?;
    if let (Method::Login, Some(login)) = (method, login) {
        out.clear();
        socks5::login(login, &mut out);
        proxy.write_all(&out).await.map_err(hung_up)?;
        proxy.read_exact(&mut answer).await.map_err(hung_up)?;
        socks5::verdict(answer).map_err(Why::Socks5)?;
    }
    Ok(())
}

/// Has a SOCKS5 proxy that knows us connect to `target`; `what` says that in messages.
pub(super) async fn connect_by_socks5(
    proxy: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target,
    what: &str,
) -> Result<(), Why> {
    request(proxy, Command::Connect, target, what).await.map(drop)
}

/// Has a SOCKS5 proxy at `ip` relay datagrams; the port at which it takes them.
pub(super) async fn associate(
    proxy: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ip: IpAddr,
) -> Result<u16, Why> {
    // Which port they will come from we could say, but not what a translator between makes of it.
    let unsaid = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let from = Target::Addr(SocketAddr::new(unsaid, 0));
    let rest = request(proxy, Command::UdpAssociate, &from, "relay UDP").await?;
    socks5::relay_port(&rest).map_err(Why::Socks5)
}

/// Asks for something and gives the address in the answer, as bytes.
async fn request(
    proxy: &mut (impl AsyncRead + AsyncWrite + Unpin),
    command: Command,
    target: &Target,
    what: &str,
) -> Result<Vec<u8>, Why> {
    let unanswered = |error: io::Error| Why::Unanswered { what: what.to_owned(), error: Arc::new(error) };
    let refused = |fault| match fault {
        socks5::Fault::Refused(refusal) => Why::Refused { what: what.to_owned(), why: refusal.to_string() },
        fault => Why::Socks5(fault),
    };
    let mut out = Vec::new();
    socks5::request(command, target, &mut out);
    proxy.write_all(&out).await.map_err(unanswered)?;
    let mut head = [0; 4];
    proxy.read_exact(&mut head).await.map_err(unanswered)?;
    // One that refuses may leave the address out.
    let kind = socks5::granted(head).map_err(refused)?;
    let first = proxy.read_u8().await.map_err(unanswered)?;
    let mut rest = vec![0; socks5::rest_len(kind, first).map_err(refused)?];
    proxy.read_exact(&mut rest).await.map_err(unanswered)?;
    Ok(rest)
}

/// Has an HTTP proxy make a tunnel to `target`.
pub(super) async fn connect_by_http(
    proxy: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Target,
    login: Option<&Login>,
    what: &str,
) -> Result<(), Why> {
    let unanswered = |error: io::Error| Why::Unanswered { what: what.to_owned(), error: Arc::new(error) };
    let basic = login.map(|login| STANDARD.encode(format!("{}:{}", login.user(), login.password())));
    let mut out = Vec::new();
    http::request(target, basic.as_deref(), &mut out);
    proxy.write_all(&out).await.map_err(unanswered)?;
    let mut head = Vec::new();
    while !head.ends_with(END) {
        if head.len() >= MAX_HEAD {
            return Err(Why::Http(http::Fault::TooLong));
        }
        // Byte by byte, as nobody says how long it is: some hundred calls for a connection.
        head.push(proxy.read_u8().await.map_err(unanswered)?);
        // What isn't HTTP may never end a line.
        if head.len() == http::BEGIN.len() && head != http::BEGIN {
            return Err(Why::Http(http::Fault::NotHttp));
        }
    }
    http::answer(&head, login.is_some()).map_err(|fault| match fault {
        http::Fault::Refused(_) => Why::Refused { what: what.to_owned(), why: fault.to_string() },
        fault => Why::Http(fault),
    })
}
