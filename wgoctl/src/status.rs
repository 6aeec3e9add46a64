//! `wgoctl status`: the daemon and its torrents at a glance.
use wgo_api::ApiClient;
use wgo_api::params::{AltMode, StatusParams};
use wgo_api::result::{
    Confinement, Daemon, Dht, DhtState, Hooks, IpFilter, MappedPort, MappingState, Network, PortMapping,
    PortState, PortTransport, Proxy, ProxyState, StatusResult,
};
use wgo_api::torrent::{State, Torrent};

use crate::clean::clean;
use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::list::{EXPENDABLE, columns, rank, tabulate};
use crate::table::Tone;
use crate::units::{count, human_bytes, human_rate, human_secs, known, limit};
use crate::wrap::fact;

/// Which torrents.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wgoctl status
  wgoctl status 3fa9 77c2
  wgoctl --json status | jq .daemon.up_rate
  watch -n 2 wgoctl status")]
pub struct Args {
    /// Only these torrents: info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// Torrents on a page that one takes in at a glance; `list` shows all.
const GLANCE: usize = 40;

const COLUMNS: &str = "name,state,progress,down,up,eta,ratio,peers";

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let torrents = args.ids.is_empty();
    let result = context.client.status(StatusParams { ids: args.ids, torrents }).await?;
    context.answer(&result, |result, terminal| page(result, terminal, torrents))?;
    Ok(0)
}

fn page(result: &StatusResult, terminal: Terminal, shorten: bool) -> String {
    let mut text = daemon(&result.daemon, terminal);
    let mut torrents: Vec<&Torrent> = result.torrents.iter().flatten().collect();
    torrents.sort_by_key(|torrent| (rank(torrent.state), torrent.added_at));
    let hidden = if shorten { torrents.len().saturating_sub(GLANCE) } else { 0 };
    torrents.truncate(torrents.len() - hidden);
    if !torrents.is_empty() {
        text.push('\n');
        let shown = columns(COLUMNS).unwrap_or_default();
        let mut table = tabulate(&shown, &[]).expendable(EXPENDABLE);
        for torrent in &torrents {
            table.row(shown.iter().map(|column| (column.cell)(torrent)).collect());
            // Too long for a column, and what one looks for when something is wrong.
            torrent.error.iter().for_each(|error| table.under(error));
        }
        text.push_str(&table.render(terminal, true));
    }
    if hidden > 0 {
        text.push_str(&format!("and {}; `wgoctl list` shows all\n", count(hidden, "more torrent")));
    }
    text
}

fn daemon(daemon: &Daemon, terminal: Terminal) -> String {
    let title = format!("wgod {}", clean(&daemon.version));
    let mut text = format!(
        "{}  pid {}, up {}\n",
        Tone::Strong.paint(&title, terminal.color),
        daemon.pid,
        human_secs(daemon.uptime_secs)
    );
    let mut line = |name: &str, value: String| text.push_str(&fact(name, 9, &value, Tone::Plain, terminal));
    let rate = |rate, limited: u64| match limited {
        0 => human_rate(rate),
        limited => format!("{} (limit {})", human_rate(rate), limit(limited)),
    };
    let (down, up) = (daemon.down_rate, daemon.up_rate);
    line("Traffic", format!("down {}, up {}", rate(down, daemon.limits.down), rate(up, daemon.limits.up)));
    let alternative = &daemon.alternative;
    // Whoever never heard of them needs no line.
    if alternative.on || alternative.mode != AltMode::Auto || !alternative.schedule.is_empty() {
        line("Alt", crate::alt::state(alternative, crate::alt::unix_now()));
    }
    let total: u32 = daemon.torrents.values().sum();
    let states: Vec<String> = State::ALL
        .iter()
        .filter_map(|state| daemon.torrents.get(state).filter(|&&n| n > 0).map(|n| format!("{n} {state}")))
        .collect();
    let states = if states.is_empty() { String::new() } else { format!(": {}", states.join(", ")) };
    line("Torrents", format!("{total}{states}"));
    line("Peers", daemon.peers.to_string());
    network(daemon, terminal, &mut line);
    line("Confined", clean(&confined(&daemon.confinement)));
    match daemon.hooks {
        Hooks::Off => {}
        Hooks::On => line("Hooks", "on".to_owned()),
        Hooks::Ended => {
            let ended = "none is run any more: the process that ran them has ended; restart wgod";
            line("Hooks", Tone::Bad.paint(ended, terminal.color));
        }
    }
    for disk in &daemon.disks {
        let free = format!(
            "{} free of {}",
            known(disk.free_bytes, human_bytes),
            known(disk.size_bytes, human_bytes)
        );
        let trouble =
            disk.error.as_deref().map(|e| Tone::Bad.paint(&format!("  {}", clean(e)), terminal.color));
        line("Disk", format!("{}: {free}{}", clean(&disk.path), trouble.unwrap_or_default()));
    }
    text
}

/// How peers are reached, and by what: each thing that there is in a line.
fn network(daemon: &Daemon, terminal: Terminal, line: &mut dyn FnMut(&str, String)) {
    let port = match daemon.port_state {
        PortState::Open => "reachable",
        PortState::Closed => "not reachable from outside",
        PortState::Unknown => "reachability unknown",
    };
    let listen = if daemon.listen.is_empty() { "nowhere".to_owned() } else { daemon.listen.join(", ") };
    line("Listening", format!("{}, {port}", clean(&listen)));
    match &daemon.network {
        Network { missing: Some(missing), .. } => {
            let waits = format!("{}: peers, trackers and names wait for it", clean(missing));
            line("Network", Tone::Bad.paint(&waits, terminal.color));
        }
        Network { interface: Some(interface), .. } => line("Network", format!("{} alone", clean(interface))),
        Network { interface: None, missing: None } => {}
    }
    for (name, text) in mapping(&daemon.port_mapping) {
        line(name, clean(&text));
    }
    if !daemon.external.is_empty() {
        line("Seen at", clean(&daemon.external.join(", ")));
    }
    line("DHT", clean(&dht(&daemon.dht)));
    let local = &daemon.local_discovery;
    if local.on {
        let on = match local.interfaces.is_empty() {
            true => "on, but no network interface has neighbours".to_owned(),
            false => format!("on {}", local.interfaces.join(", ")),
        };
        line("LSD", clean(&on));
    }
    if let Some(filter) = &daemon.ip_filter {
        line("IP filter", ip_filter(filter));
    }
    if let Some(proxy) = &daemon.proxy {
        let tone = if proxy.state == ProxyState::Down { Tone::Bad } else { Tone::Plain };
        line("Proxy", tone.paint(&clean(&by_proxy(proxy)), terminal.color));
    }
}

/// Our node of the DHT, in a line.
fn dht(dht: &Dht) -> String {
    let Dht { state, nodes_v4, nodes_v6, torrents, .. } = dht;
    let nodes = match (nodes_v4, nodes_v6) {
        (v4, 0) => count(*v4 as usize, "node"),
        (0, v6) => format!("{} (IPv6)", count(*v6 as usize, "node")),
        (v4, v6) => format!("{} (IPv4), {v6} (IPv6)", count(*v4 as usize, "node")),
    };
    let state = match state {
        DhtState::Off => return "off".to_owned(),
        DhtState::Starting => "starting".to_owned(),
        DhtState::Ready => format!("{nodes}, for {}", count(*torrents as usize, "torrent")),
        DhtState::Unreachable => "no answer".to_owned(),
    };
    match &dht.error {
        Some(error) => format!("{state}: {error}"),
        None => state,
    }
}

/// The IP filter, in a line.
pub(crate) fn ip_filter(filter: &IpFilter) -> String {
    let IpFilter { files, ranges, bad_lines, blocked, .. } = *filter;
    let bad = match bad_lines {
        0 => String::new(),
        bad => format!(" ({} left out)", count(bad as usize, "bad line")),
    };
    let of = count(files as usize, "list");
    format!("{}, of {of}{bad}; blocked {blocked}", count(ranges as usize, "range"))
}

/// What a gateway lets in, a line for each port, and why it lets in no more. Where there is none, or none is needed,
/// nothing is said.
fn mapping(mapping: &PortMapping) -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = mapping.ports.iter().map(|port| ("Mapped", mapped(port))).collect();
    if mapping.state == MappingState::Trying {
        lines.push(("Gateway", "is being asked to let peers in".to_owned()));
    }
    if matches!(mapping.state, MappingState::Mapped | MappingState::Failed) {
        lines.extend(mapping.reason.clone().map(|reason| ("Gateway", reason)));
    }
    lines
}

fn mapped(port: &MappedPort) -> String {
    let transport = match port.transport {
        PortTransport::Tcp => "TCP",
        PortTransport::Udp => "UDP",
    };
    let outside = match &port.external_ip {
        Some(ip) => format!("{ip}:{}", port.external_port),
        None => format!("port {}", port.external_port),
    };
    let left = port.expires_at.map_or(String::new(), |at| {
        let left = at.saturating_sub(crate::alt::unix_now());
        format!(", renewed within {}", human_secs(left))
    });
    let within = if port.reachable { "" } else { ", which is not a public address" };
    format!("{transport} {} at {outside}{within}, by {}{left}", port.port, port.protocol.name())
}

/// The proxy in a line.
fn by_proxy(proxy: &Proxy) -> String {
    let what = match (proxy.only, proxy.peers, proxy.trackers) {
        (true, ..) => "nothing goes round it",
        (false, true, true) => "for peers and trackers",
        (false, true, false) => "for peers",
        (false, false, _) => "for trackers",
    };
    let state = match proxy.state {
        ProxyState::Unknown => "not used yet".to_owned(),
        ProxyState::Up => "up".to_owned(),
        ProxyState::Down => {
            let again = proxy.retry_secs.map(|secs| format!("; tried again in {}", human_secs(secs + 1)));
            format!("down: {}{}", proxy.error.as_deref().unwrap_or("unknown"), again.unwrap_or_default())
        }
    };
    format!("{}, {what}, {state}", proxy.url)
}

/// What the daemon took from itself, in a line.
fn confined(confinement: &Confinement) -> String {
    let Confinement { landlock, seccomp, no_new_privs, allowed_folders } = confinement;
    let landlock = match landlock {
        Some(abi) => Some(format!("Landlock {abi}")),
        None => allowed_folders.is_some().then(|| "wgod alone (no Landlock)".to_owned()),
    };
    let seccomp = seccomp.then(|| "seccomp".to_owned());
    let privileges = no_new_privs.then(|| "no new privileges".to_owned());
    let means: Vec<String> = [landlock, seccomp, privileges].into_iter().flatten().collect();
    let means = if means.is_empty() { "nothing".to_owned() } else { means.join(", ") };
    match allowed_folders {
        Some(folders) => format!("to {}, by {means}", folders.join(", ")),
        None => format!("by {means}; torrents may go to any folder"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_how_the_dht_stands() {
        let ready = Dht { state: DhtState::Ready, nodes_v4: 1, torrents: 2, ..Dht::default() };
        let error = Some("no UDP socket at 192.0.2.1: gone".to_owned());
        for (node, want) in [
            (Dht::default(), "off"),
            (Dht { state: DhtState::Starting, ..Dht::default() }, "starting"),
            (ready.clone(), "1 node, for 2 torrents"),
            (Dht { nodes_v4: 0, nodes_v6: 7, ..ready.clone() }, "7 nodes (IPv6), for 2 torrents"),
            (
                Dht { nodes_v4: 150, nodes_v6: 70, ..ready.clone() },
                "150 nodes (IPv4), 70 (IPv6), for 2 torrents",
            ),
            (
                Dht { state: DhtState::Unreachable, error, ..ready },
                "no answer: no UDP socket at 192.0.2.1: gone",
            ),
        ] {
            assert_eq!(dht(&node), want);
        }
    }

    #[test]
    fn mapped_ports_have_a_line_each_and_where_none_is_needed_there_is_none() {
        let port = |transport, external_ip: Option<&str>, reachable| MappedPort {
            transport,
            port: 6868,
            external_port: 7000,
            external_ip: external_ip.map(str::to_owned),
            reachable,
            protocol: wgo_api::result::MappingProtocol::NatPmp,
            expires_at: None,
        };
        let shown = |state, ports, reason: Option<&str>| {
            mapping(&PortMapping {
                state,
                ports,
                reason: reason.map(str::to_owned),
                ..PortMapping::default()
            })
        };
        let tcp = port(PortTransport::Tcp, Some("203.0.113.9"), true);
        let lines = shown(MappingState::Mapped, vec![tcp], Some("UDP is refused"));
        let is = |name, text: &str| (name, text.to_owned());
        assert_eq!(
            lines,
            [is("Mapped", "TCP 6868 at 203.0.113.9:7000, by NAT-PMP"), is("Gateway", "UDP is refused")]
        );
        let ports =
            vec![port(PortTransport::Udp, Some("10.0.0.9"), false), port(PortTransport::Tcp, None, true)];
        assert_eq!(
            shown(MappingState::Mapped, ports, None),
            [
                is("Mapped", "UDP 6868 at 10.0.0.9:7000, which is not a public address, by NAT-PMP"),
                is("Mapped", "TCP 6868 at port 7000, by NAT-PMP")
            ]
        );
        let ending = MappedPort {
            expires_at: Some(crate::alt::unix_now() + 7200),
            ..port(PortTransport::Tcp, Some("203.0.113.9"), true)
        };
        assert!(mapped(&ending).contains(", renewed within "), "{}", mapped(&ending));
        assert_eq!(shown(MappingState::Failed, vec![], Some("no")), [is("Gateway", "no")]);
        assert_eq!(
            shown(MappingState::Trying, vec![], None),
            [is("Gateway", "is being asked to let peers in")]
        );
        for quiet in [MappingState::Off, MappingState::Public, MappingState::NoGateway] {
            assert!(shown(quiet, vec![], Some("x")).is_empty());
        }
    }

    #[test]
    fn a_proxy_is_a_line_that_says_how_it_does() {
        let up = Proxy {
            url: "socks5://p:1".to_owned(),
            peers: true,
            trackers: true,
            state: ProxyState::Up,
            ..Proxy::default()
        };
        assert_eq!(by_proxy(&up), "socks5://p:1, for peers and trackers, up");
        let down = Proxy {
            only: true,
            state: ProxyState::Down,
            error: Some("it can't be reached: connection refused".to_owned()),
            retry_secs: Some(7),
            ..up
        };
        assert_eq!(
            by_proxy(&down),
            "socks5://p:1, nothing goes round it, down: it can't be reached: connection refused; tried again in 8s"
        );
    }

    #[test]
    fn one_line_says_what_is_on() {
        let folders = || Some(vec!["/srv/a".to_owned(), "/srv/b".to_owned()]);
        for (landlock, on, allowed_folders, want) in [
            (None, false, None, "by nothing; torrents may go to any folder"),
            (None, true, None, "by seccomp, no new privileges; torrents may go to any folder"),
            (Some(7), true, folders(), "to /srv/a, /srv/b, by Landlock 7, seccomp, no new privileges"),
            (
                None,
                true,
                folders(),
                "to /srv/a, /srv/b, by wgod alone (no Landlock), seccomp, no new privileges",
            ),
        ] {
            let confinement = Confinement { landlock, seccomp: on, no_new_privs: on, allowed_folders };
            assert_eq!(confined(&confinement), want);
        }
    }
}
