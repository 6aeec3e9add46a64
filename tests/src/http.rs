//! The least of an HTTP client: one request on one connection, over TCP or a Unix socket. The bodies
//! may be what a proper client refuses to send. And the least of a server.
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer takes this long at most.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, status line included.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Serves `body` to one request, whatever it asks for, and says where.
pub fn serve_once(ip: IpAddr, body: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A request without a body is one packet.
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
    });
    addr
}

/// POSTs `body` over TCP.
pub fn post(to: SocketAddr, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    exchange(stream, &request(path, headers, body))
}

/// GETs over TCP.
pub fn get(from: SocketAddr, path: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&from, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    exchange(stream, request.as_bytes())
}

/// POSTs `body` to a Unix socket.
pub fn post_unix(socket: &Path, body: &[u8]) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    exchange(stream, &request("/", "Content-Type: application/json\r\n", body))
}

fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Sends a request as it is, and reads the answer.
pub fn ask(stream: impl Read + Write, request: &[u8]) -> io::Result<Answer> {
    exchange(stream, request)
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Answer> {
    // A server may answer and close before it has read everything.
    let sent = stream.write_all(request);
    let mut all = Vec::new();
    let mut buf = [0; 65536];
    while !is_whole(&all) {
        match stream.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(_) if !all.is_empty() => break,
            Err(error) => return Err(sent.err().unwrap_or(error)),
        }
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(&all).into_owned());
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(invalid)?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(invalid)?;
    let mut body = all[end + 4..].to_vec();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    Ok(Answer { status, head, body })
}

/// Whether an answer that gives its length is all there.
fn is_whole(all: &[u8]) -> bool {
    let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
    let len =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    len.is_some_and(|len| all.len() >= end + 4 + len)
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let text = String::from_utf8_lossy(&rest[..line]).into_owned();
        let len = usize::from_str_radix(text.split(';').next().unwrap_or("0").trim(), 16).unwrap_or(0);
        let (start, end) = (line + 2, line + 2 + len);
        if len == 0 || rest.len() < end + 2 {
            break;
        }
        out.extend_from_slice(&rest[start..end]);
        rest = &rest[end + 2..];
    }
    out
}
