//! A name server of our own (RFC 1035): every name that it knows is at the same addresses.
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the thread looks whether to end.
const TICK: Duration = Duration::from_millis(20);
/// Bytes of a message before the question.
const HEADER: usize = 12;
/// Kinds of records: addresses of IPv4 and of IPv6.
const A: u16 = 1;
const AAAA: u16 = 28;
/// An answer to a standard query that went well; the same where there is no such name.
const FOUND: [u8; 2] = [0x81, 0x80];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];

/// A running name server; ends when dropped.
#[derive(Debug)]
pub struct NameServer {
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// One at the usual port of `ip`, by which names below `test` are at `ips`.
    pub fn start(ip: IpAddr, ips: &[IpAddr]) -> NameServer {
        let socket = UdpSocket::bind((ip, 53)).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, until, ips) = (asked.clone(), stop.clone(), ips.to_vec());
        let serving = move || {
            let mut query = [0; 512];
            while !until.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut query) else { continue };
                let Some((name, answer)) = answer(&query[..len], &ips) else { continue };
                heard.lock().unwrap().push(name);
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer, from);
            }
        };
        NameServer { asked, stop, thread: Some(std::thread::spawn(serving)) }
    }

    /// The names that it was asked for, once for each question.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The name in a question and what is answered to it.
fn answer(query: &[u8], ips: &[IpAddr]) -> Option<(String, Vec<u8>)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let question = query.get(HEADER..at + 4)?;
    let known = labels.last().is_some_and(|last| last == "test");
    let mut records: Vec<u8> = Vec::new();
    let mut count: u16 = 0;
    for ip in ips.iter().filter(|ip| known && kind == if ip.is_ipv4() { A } else { AAAA }) {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        // The name of the question, its kind, the internet, a lifetime of a minute.
        records.extend([0xc0, HEADER as u8]);
        records.extend(kind.to_be_bytes());
        records.extend([0, 1, 0, 0, 0, 60, 0, octets.len() as u8]);
        records.extend(octets);
        count += 1;
    }
    let mut out = query.get(..2)?.to_vec();
    out.extend(if known { FOUND } else { NO_SUCH_NAME });
    out.extend([0, 1]);
    out.extend(count.to_be_bytes());
    out.extend([0; 4]);
    out.extend(question);
    out.extend(records);
    Some((labels.join("."), out))
}
