//! Names that must not appear where they would break a seam.
use crate::source::{Source, words};
use crate::{assert_none, sources};

/// What the lower floors take as arguments or leave to the shell: their result must depend on their
/// inputs alone.
const AMBIENT: &[(&str, &str)] = &[
    ("Instant", "a clock: take `now`"),
    ("SystemTime", "a clock: take `now`"),
    ("UNIX_EPOCH", "a clock: take `now`"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UdpSocket", "a socket"),
    ("UnixStream", "a socket"),
    ("UnixListener", "a socket"),
    ("UnixDatagram", "a socket"),
    ("std::fs", "files"),
    ("OpenOptions", "files"),
    ("std::io", "files and sockets"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("thread_local", "threads"),
    ("Mutex", "a lock"),
    ("RwLock", "a lock"),
    ("Condvar", "a lock"),
    ("rand", "randomness: take a seed"),
    ("getrandom", "randomness: take a seed"),
    ("RandomState", "randomness: take a seed"),
    ("tokio", "the runtime belongs to the shell"),
    ("async", "the runtime belongs to the shell"),
    ("tracing", "the shell logs what is returned"),
];

/// The order of these differs from run to run, which a state machine would pass on. Floor 0 keeps no
/// state and may look things up in them: their seed is what withstands keys that a stranger chose.
const UNORDERED: &[(&str, &str)] = &[
    ("HashMap", "its order is random: BTreeMap"),
    ("HashSet", "its order is random: BTreeSet"),
    ("std::collections::hash_map", "its order is random"),
];

fn found(source: &Source, code: &str, names: &[(&str, &str)]) -> Vec<String> {
    let mut out = Vec::new();
    for (name, why) in names {
        for at in words(code, name) {
            out.push(format!("{}:{}: {name} ({why})", source.path, source.line(at)));
        }
    }
    out
}

/// Everything in the shipped code of files below `folder` that is in `names`.
fn breaches(folder: &str, names: &[(&str, &str)]) -> Vec<String> {
    let sources = sources();
    let inside = sources.iter().filter(|source| source.path.starts_with(folder));
    inside.flat_map(|source| found(source, &source.shipped(), names)).collect()
}

#[test]
fn the_lower_floors_touch_nothing_outside_of_themselves() {
    let mut all = breaches("wgod/proto/src/", AMBIENT);
    all.extend(breaches("wgod/hash/src/", AMBIENT));
    all.extend(breaches("wgod/core/src/", AMBIENT));
    assert_none("floors 0 and 1 have no clock, file, socket, thread, lock or chance of their own", &all);
}

#[test]
fn the_engine_does_the_same_in_every_run() {
    assert_none("floor 1 has no map whose order is random", &breaches("wgod/core/src/", UNORDERED));
}

#[test]
fn only_the_transport_knows_tcp() {
    let all = breaches("wgod/src/", &[("TcpStream", "use Transport")]);
    let outside: Vec<_> = all.into_iter().filter(|at| !at.starts_with("wgod/src/transport/")).collect();
    assert_none("no file outside transport/ names TcpStream", &outside);
}

/// What makes sockets of IP, and what asks the system's resolver, which makes some.
const OUTWARD: &[(&str, &str)] = &[
    ("TcpSocket", "ask the Outlet"),
    ("TcpListener", "ask the Outlet"),
    ("UdpSocket::bind", "ask the Outlet"),
    ("TcpStream::connect", "ask the Outlet"),
    ("Socket::new", "ask the Outlet"),
    ("socket_with", "ask the Outlet"),
    ("reqwest::get", "it has a client of its own, bound to nothing"),
    ("Client::builder", "reqwest makes sockets: its clients are bound in tracker/http.rs"),
    ("Client::new", "reqwest makes sockets: its clients are bound in tracker/http.rs"),
    ("lookup_host", "ask the Resolver"),
    ("ToSocketAddrs", "ask the Resolver"),
    ("to_socket_addrs", "ask the Resolver"),
];

/// Who may all the same: the Outlet; what keeps its sockets; the HTTP client, bound as the Outlet says, and the one whose
/// connections the proxy makes; the resolver, which knows when the system's may be asked; figures, which are served to
/// this machine alone; and systemd's sockets.
const OUTWARD_HOMES: &[&str] = &[
    "wgod/src/outlet.rs",
    "wgod/src/outlet/group.rs",
    "wgod/src/outlet/watch.rs",
    "wgod/src/transport/tcp.rs",
    "wgod/src/tracker/http.rs",
    "wgod/src/tracker/proxied.rs",
    "wgod/src/tracker/resolve.rs",
    "wgod/src/metrics/serve.rs",
    "wgod/src/systemd/activation.rs",
];

#[test]
fn sockets_to_strangers_are_made_by_the_outlet_alone() {
    let outside = |at: &String| !OUTWARD_HOMES.iter().any(|home| at.starts_with(&format!("{home}:")));
    let all: Vec<_> = breaches("wgod/src/", OUTWARD).into_iter().filter(outside).collect();
    assert_none("what isn't made by the Outlet leaves by any interface (ARCHITECTURE, The way out)", &all);
}

/// Where `unsafe` may stand: one module for each need.
const UNSAFE_HOMES: &[&str] = &[
    "wgod/hash/src/ni.rs",
    "wgod/hash/src/wide/avx2.rs",
    "wgod/hash/src/wide/avx512.rs",
    "wgod/hash/src/wide/mod.rs",
    "wgod/src/files/real_disk/cachestat.rs",
    "wgod/src/files/slab.rs",
    "wgod/src/systemd/activation.rs",
    "wgod/src/transport/low_water.rs",
];

#[test]
fn unsafe_code_lives_in_its_modules_only_and_says_why_it_is_sound() {
    let mut breaches = Vec::new();
    for source in sources() {
        let blocks = words(&source.code, "unsafe").len();
        if blocks > 0 && !UNSAFE_HOMES.contains(&&source.path[..]) {
            breaches.push(format!("{}: unsafe code outside of {UNSAFE_HOMES:?}", source.path));
        }
        if blocks > source.text.matches("// SAFETY:").count() {
            breaches.push(format!("{}: unsafe code without `// SAFETY:`", source.path));
        }
    }
    assert_none("unsafe code has a home and a reason", &breaches);
}

#[test]
fn a_forbidden_name_is_found_in_code_and_not_in_tests_or_words() {
    let text = "use std::time::Instant;\n// Instant\nfn f() { operand(\"rand\") }\n#[cfg(test)]\nmod tests { use std::fs; }";
    let source = Source::new("wgod/core/src/x.rs", text.to_owned());
    let found = found(&source, &source.shipped(), AMBIENT);
    assert_eq!(found, ["wgod/core/src/x.rs:1: Instant (a clock: take `now`)"]);
}
