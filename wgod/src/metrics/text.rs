//! A snapshot in the text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
use std::fmt::Write;

use wgo_api::torrent::State as TorrentState;

use super::{Handshakes, Lag, LagSnapshot, Snapshot};
use crate::dht::State;
use crate::files::DeviceStatus;

/// What a series is, for who reads it.
#[derive(Clone, Copy)]
enum Kind {
    /// Only grows, until the daemon starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Text being written. Writing to a `String` can't fail, so results are dropped.
struct Page(String);

/// The text that a scrape gets.
pub fn render(snapshot: &Snapshot) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    daemon(&mut page, snapshot);
    transfer(&mut page, snapshot);
    dht(&mut page, snapshot);
    disks(&mut page, snapshot);
    memory(&mut page, snapshot);
    page.0
}

fn daemon(page: &mut Page, snapshot: &Snapshot) {
    let build = [("version", snapshot.version)];
    page.family("wgod_build_info", Kind::Gauge, "The release that runs; always 1.");
    page.sample("wgod_build_info", &build, 1.0);
    page.one(
        "wgod_uptime_seconds",
        Kind::Gauge,
        "Time since the daemon started.",
        snapshot.uptime.as_secs_f64(),
    );
    page.lag(&snapshot.lag);
    page.one(
        "wgod_session_answer_seconds",
        Kind::Gauge,
        "How long the session took to answer this scrape.",
        snapshot.answer.as_secs_f64(),
    );
    page.one("wgod_store_commits_total", Kind::Counter, "Commits of the database.", snapshot.commits);
}

fn transfer(page: &mut Page, snapshot: &Snapshot) {
    let glance = &snapshot.glance;
    page.family("wgod_torrents", Kind::Gauge, "Torrents by state.");
    // Also those that no torrent is in: a series that comes and goes can't be alarmed on.
    for state in TorrentState::ALL {
        let count = glance.states.get(&state).copied().unwrap_or_default();
        page.sample("wgod_torrents", &[("state", state.as_str())], count);
    }
    page.one(
        "wgod_downloaded_bytes_total",
        Kind::Counter,
        "Payload received, over all runs.",
        glance.totals.0,
    );
    page.one("wgod_uploaded_bytes_total", Kind::Counter, "Payload sent, over all runs.", glance.totals.1);
    page.one("wgod_download_bytes_per_second", Kind::Gauge, "Payload received now.", glance.rates.0);
    page.one("wgod_upload_bytes_per_second", Kind::Gauge, "Payload sent now.", glance.rates.1);
    let (taken, limit) = snapshot.connections;
    page.one("wgod_peer_connections", Kind::Gauge, "Connections to peers.", taken as u64);
    page.one("wgod_peer_connections_limit", Kind::Gauge, "The most there may be (max_peers).", limit as u64);
    let name = "wgod_peer_handshakes_total";
    page.family(name, Kind::Counter, "Handshakes that led to a connection, by its encryption.");
    for (encryption, count) in Handshakes::ENCRYPTIONS.into_iter().zip(snapshot.handshakes) {
        page.sample(name, &[("encryption", encryption)], count);
    }
    let name = "wgod_peer_handshake_errors_total";
    page.family(name, Kind::Counter, "Handshakes that failed, by the kind of trouble.");
    for (kind, count) in Handshakes::KINDS.into_iter().zip(snapshot.handshakes_failed) {
        page.sample(name, &[("kind", kind)], count);
    }
    let (ranges, blocked) = snapshot.ip_filter;
    page.one("wgod_ip_filter_ranges", Kind::Gauge, "Ranges of addresses in the lists of ip_filter.", ranges);
    let name = "wgod_ip_filter_blocked_total";
    page.one(
        name,
        Kind::Counter,
        "Addresses passed over, refused or closed since ip_filter has them.",
        blocked,
    );
    page.one("wgod_peer_bans", Kind::Gauge, "Addresses banned, counted in each torrent.", snapshot.bans);
    let name = "wgod_mapped_ports";
    page.family(name, Kind::Gauge, "Ports that the gateway maps to us, by the protocol that did it.");
    for (protocol, ports) in &snapshot.mapped_ports {
        page.sample(name, &[("protocol", protocol)], *ports);
    }
    neighbours(page, snapshot);
    page.one("wgod_choke_rounds_total", Kind::Counter, "Rankings of all peers.", snapshot.choke_rounds);
    let name = "wgod_tracker_announces_total";
    page.one(name, Kind::Counter, "Announces that a tracker answered.", snapshot.announces_answered);
    let name = "wgod_tracker_announce_errors_total";
    page.family(name, Kind::Counter, "Announces that failed, by the kind of trouble.");
    for (kind, count) in snapshot.announces_failed {
        page.sample(name, &[("kind", kind)], count);
    }
}

fn neighbours(page: &mut Page, snapshot: &Snapshot) {
    let name = "wgod_lsd_sent_total";
    page.one(name, Kind::Counter, "Announcements to the local network, of each link.", snapshot.lsd.0);
    let name = "wgod_lsd_heard_total";
    page.one(name, Kind::Counter, "Announcements of neighbours, of torrents active here.", snapshot.lsd.1);
    let name = "wgod_lsd_dropped_total";
    page.family(name, Kind::Counter, "Datagrams dropped: no announcements, or of no neighbour.");
    page.sample(name, &[("kind", "malformed")], snapshot.lsd_dropped.0);
    page.sample(name, &[("kind", "foreign")], snapshot.lsd_dropped.1);
}

fn dht(page: &mut Page, snapshot: &Snapshot) {
    let (status, counted) = (&snapshot.dht, &snapshot.dht.counted);
    let name = "wgod_dht_up";
    page.one(
        name,
        Kind::Gauge,
        "Whether nodes of the DHT answer ours.",
        u64::from(status.state == State::Ready),
    );
    let name = "wgod_dht_nodes";
    page.family(name, Kind::Gauge, "Nodes of the DHT that ours knows.");
    for (family, nodes) in ["ipv4", "ipv6"].into_iter().zip(status.nodes) {
        page.sample(name, &[("family", family)], nodes as u64);
    }
    page.one(
        "wgod_dht_torrents",
        Kind::Gauge,
        "Torrents looked up in the DHT.",
        snapshot.dht_torrents as u64,
    );
    page.one("wgod_dht_lookups", Kind::Gauge, "Lookups in the DHT under way.", status.lookups as u64);
    let name = "wgod_dht_datagrams_total";
    page.family(name, Kind::Counter, "Datagrams of the DHT.");
    page.sample(name, &[("direction", "in")], counted.packets_in);
    page.sample(name, &[("direction", "out")], counted.packets_out);
    let name = "wgod_dht_bytes_total";
    page.family(name, Kind::Counter, "Bytes of these, without the headers of UDP.");
    page.sample(name, &[("direction", "in")], counted.bytes_in);
    page.sample(name, &[("direction", "out")], counted.bytes_out);
    let name = "wgod_dht_queries_total";
    page.family(name, Kind::Counter, "Our queries, by what came of them.");
    page.sample(name, &[("outcome", "answered")], counted.replies);
    page.sample(name, &[("outcome", "lost")], counted.timeouts);
    page.one(
        "wgod_dht_answers_total",
        Kind::Counter,
        "Queries of others that were answered.",
        counted.answered,
    );
    let name = "wgod_dht_dropped_total";
    page.family(name, Kind::Counter, "Datagrams that were not heeded, by the reason.");
    page.sample(name, &[("reason", "malformed")], counted.malformed);
    page.sample(name, &[("reason", "unexpected")], counted.unexpected);
    page.sample(name, &[("reason", "limited")], counted.limited);
    page.sample(name, &[("reason", "token")], counted.bad_tokens);
}

fn disks(page: &mut Page, snapshot: &Snapshot) {
    type Figure = fn(&DeviceStatus) -> f64;
    let of_each: [(&str, &str, Figure); 4] = [
        ("wgod_disk_queue_jobs", "Jobs that wait for a device (major:minor, as lsblk shows).", |d| {
            d.waiting as f64
        }),
        ("wgod_disk_running_jobs", "Jobs that a device is at.", |d| d.running as f64),
        ("wgod_disk_checks", "Checks of a device under way.", |d| d.checks as f64),
        (
            "wgod_disk_oldest_job_seconds",
            "How long the oldest of its jobs runs; more than a few seconds: it hangs.",
            |d| d.oldest.unwrap_or_default().as_secs_f64(),
        ),
    ];
    for (name, help, figure) in of_each {
        page.family(name, Kind::Gauge, help);
        for device in &snapshot.devices {
            let (major, minor) = (rustix::fs::major(device.device), rustix::fs::minor(device.device));
            page.sample(name, &[("device", &format!("{major}:{minor}"))], figure(device));
        }
    }
    page.one(
        "wgod_hashed_bytes_total",
        Kind::Counter,
        "Payload hashed, received or checked.",
        snapshot.hashed,
    );
    let name = "wgod_pieces_stored_total";
    page.one(name, Kind::Counter, "Received pieces that were right and written.", snapshot.pieces_stored);
    let name = "wgod_hash_failures_total";
    page.one(name, Kind::Counter, "Received pieces that did not match their hash.", snapshot.hash_failures);
    let name = "wgod_disk_errors_total";
    page.one(name, Kind::Counter, "Times that a file could not be read or written.", snapshot.disk_errors);
    page.one("wgod_open_files", Kind::Gauge, "Payload files that are open.", snapshot.open_files as u64);
}

fn memory(page: &mut Page, snapshot: &Snapshot) {
    page.one("wgod_piece_cache_bytes", Kind::Gauge, "Pieces kept in memory to be sent.", snapshot.cached);
    let name = "wgod_block_buffer_bytes";
    page.family(name, Kind::Gauge, "Memory of block buffers, by whether they are in use.");
    page.sample(name, &[("use", "leased")], snapshot.buffers.0);
    page.sample(name, &[("use", "idle")], snapshot.buffers.1);
}

/// A figure of a sample.
enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(n: u64) -> Value {
        Value::Whole(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Value {
        Value::Whole(n.into())
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Value {
        Value::Real(x)
    }
}

impl Page {
    /// The lines before the samples of a family.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head(name, kind, help);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Into<Value>) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.0.push_str(name);
        for (nth, (label, text)) in labels.iter().enumerate() {
            let open = if nth == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = match value.into() {
            Value::Whole(n) => writeln!(self.0, " {n}"),
            Value::Real(x) => writeln!(self.0, " {x}"),
        };
    }

    fn lag(&mut self, lag: &LagSnapshot) {
        let name = "wgod_event_loop_lag_seconds";
        self.head(name, "histogram", "How late the event loop ran what was due, sampled each second.");
        let bucket = format!("{name}_bucket");
        for (bound, within) in Lag::BOUNDS.iter().zip(lag.within) {
            self.sample(&bucket, &[("le", &bound.to_string())], within);
        }
        self.sample(&bucket, &[("le", "+Inf")], lag.samples);
        self.sample(&format!("{name}_sum"), &[], lag.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &[], lag.samples);
    }
}

/// A label's value as it stands between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
