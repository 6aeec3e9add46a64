//! A SOCKS5 proxy (RFC 1928) that is slow, says too much, or nothing.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::attack::{Attack, Bound, Field};
use super::held::Held;
use super::web::{Caller, Web};
use crate::wait::pause;

/// Between two looks whether to end.
const TICK: Duration = Duration::from_millis(20);
/// Peers that the daemon is told to connect to.
const PEERS: u16 = 300;

/// What proxies do.
pub fn attacks() -> Vec<Attack> {
    let attack = |name, unit, bound, run| Attack { name, unit, bound, run };
    // 200 dials are under way at a time, each with a socket.
    let dials = Bound::new(16, 220, 2500);
    vec![
        attack("proxy: says nothing", "connections", dials, |field| with(field, Way::Silent)),
        attack("proxy: one byte at a time", "connections", dials, |field| with(field, Way::Slow)),
        attack("proxy: answers without end", "connections", dials, |field| with(field, Way::Endless)),
        attack("proxy: lets through, and is the peer itself", "connections", dials, |field| {
            with(field, Way::Peer)
        }),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Silent,
    Slow,
    Endless,
    Peer,
}

/// The proxy; ends when dropped.
pub struct Liar {
    web: Web,
    way: Arc<AtomicU8>,
}

impl std::fmt::Debug for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Liar({})", self.addr())
    }
}

impl Liar {
    /// Starts one at `ip`.
    pub fn start(ip: IpAddr) -> Liar {
        let way = Arc::new(AtomicU8::new(Way::Silent as u8));
        let inside = way.clone();
        let web = Web::start(ip, move |caller| {
            caller.count(1);
            serve(caller, inside.load(Ordering::Relaxed))
        });
        Liar { web, way }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.web.addr()
    }
}

fn serve(caller: &mut Caller, way: u8) -> io::Result<()> {
    const SILENT: u8 = Way::Silent as u8;
    const SLOW: u8 = Way::Slow as u8;
    const ENDLESS: u8 = Way::Endless as u8;
    match way {
        SILENT => caller.hang(),
        SLOW => caller.dribble([5, 0, 5, 0, 0, 3, 255].into_iter().chain(std::iter::repeat(b'a'))),
        ENDLESS => {
            caller.write(&[5, 0])?;
            caller.endless(&[5, 0, 0, 3, 255])
        }
        _ => {
            caller.write(&[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
            caller.endless(&[0x13; 4096])
        }
    }
}

fn with(field: &Field<'_>, way: Way) -> u64 {
    let Some(liar) = field.proxy else { return 0 };
    liar.way.store(way as u8, Ordering::Relaxed);
    let before = liar.web.served();
    let held = Held::new(&format!("dialled-{}.bin", field.run), 4, 16_384, &[]);
    let peers: Vec<SocketAddr> =
        (0..PEERS).map(|n| SocketAddr::from(([11, 0, 1, n as u8], 1024 + n))).collect();
    field.daemon.add(&held.torrent, &field.daemon.downloads(), &peers);
    while !field.over() {
        pause(TICK);
    }
    field.daemon.remove(&held.torrent.id(), true);
    liar.web.served() - before
}
