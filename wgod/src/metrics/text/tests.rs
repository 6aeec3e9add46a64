//! The text of a whole snapshot, and the corners of the format.
use std::time::Duration;

use wgo_core::dht::Counted;

use super::*;
use crate::dht;
use crate::session::Glance;

fn snapshot() -> Snapshot {
    let device = |device, waiting, oldest| DeviceStatus { device, waiting, checks: 1, running: 2, oldest };
    Snapshot {
        version: "1.2.3",
        uptime: Duration::from_millis(3_600_500),
        glance: Glance {
            states: [(TorrentState::Downloading, 2), (TorrentState::Seeding, 4998)].into(),
            rates: (3_000_000, 125),
            totals: (1 << 43, 77),
            ..Glance::default()
        },
        answer: Duration::from_micros(250),
        connections: (24, 1000),
        devices: vec![device(0x801, 5, Some(Duration::from_millis(1500))), device(0x10302, 0, None)],
        hashed: 1 << 40,
        pieces_stored: 900,
        hash_failures: 3,
        disk_errors: 1,
        ip_filter: (250_000, 17),
        bans: 3,
        lsd: (50, 40),
        lsd_dropped: (9, 8),
        choke_rounds: 360,
        announces_answered: 12,
        announces_failed: [
            ("refused", 1),
            ("bad_answer", 2),
            ("timeout", 3),
            ("unreachable", 4),
            ("resolve", 5),
            ("tls", 6),
            ("busy", 7),
            ("other", 8),
        ],
        handshakes: [30, 5, 20],
        handshakes_failed: [1, 2, 3, 4, 5, 6, 7],
        dht: dht::Status {
            state: dht::State::Ready,
            nodes: [150, 70],
            lookups: 3,
            counted: Counted {
                packets_in: 1000,
                bytes_in: 100_000,
                packets_out: 900,
                bytes_out: 90_000,
                answered: 400,
                replies: 300,
                timeouts: 50,
                malformed: 1,
                unexpected: 2,
                limited: 3,
                bad_tokens: 4,
            },
            ..dht::Status::default()
        },
        dht_torrents: 20,
        mapped_ports: vec![("pcp", 0), ("nat-pmp", 2), ("upnp", 0)],
        lag: LagSnapshot {
            within: [3590, 3595, 3599, 3600, 3600, 3600, 3600],
            samples: 3600,
            sum: Duration::from_millis(4250),
        },
        cached: 12 << 20,
        buffers: (3 << 20, 1 << 20),
        open_files: 64,
        commits: 128,
    }
}

#[test]
fn a_snapshot_becomes_this_text() {
    let text = render(&snapshot());
    let golden = include_str!("golden.txt");
    for (line, want) in text.lines().zip(golden.lines()) {
        assert_eq!(line, want);
    }
    assert_eq!(text, golden);
}

#[test]
fn a_daemon_without_anything_shows_every_state_and_kind() {
    let text = render(&Snapshot::default());
    assert_eq!(text.matches("wgod_torrents{state=").count(), TorrentState::ALL.len());
    assert!(text.contains("wgod_torrents{state=\"error\"} 0\n"), "{text}");
}

#[test]
fn labels_are_escaped() {
    let mut page = Page(String::new());
    page.sample("x", &[("a", "b\"c\\d\ne"), ("f", "")], 1_u64);
    assert_eq!(page.0, "x{a=\"b\\\"c\\\\d\\ne\",f=\"\"} 1\n");
}
