//! What the facts mean, and what to do about them: a pure function.
use wgo_api::doctor::{Finding, clock, kernel};
use wgo_api::result::{Confinement, Dht, DhtState, Hooks, MappedPort, MappingState, Network, PortTransport};
use wgo_api::units::{human_bytes, human_secs};

use super::facts::{Facts, Hung, Place, ProxyFacts, Systemd};
use crate::files::{DEFAULT_OPEN_FILES, Folder, FsKind};

/// Descriptors beside those of peers and payload files: connections that shake hands, trackers, control
/// connections, the database.
const OTHER_DESCRIPTORS: u64 = 512;
/// The state needs little; with less than this, a checkpoint may soon fail.
const LITTLE_STATE_SPACE: u64 = 64 << 20;

/// Everything that was looked at.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![configuration(facts), state(facts), downloads(facts)];
    findings.extend(facts.folders.iter().map(|place| torrents_folder(place, facts)));
    findings.push(torrents(facts));
    findings.extend(network(facts));
    findings.push(port(facts));
    findings.extend(facts.proxy.as_ref().map(proxy));
    findings.extend([descriptors(facts), memory(facts)]);
    findings.extend([clock(facts.now, facts.synchronized), kernel(&facts.release)]);
    findings.extend([confinement(&facts.confinement), systemd(facts.systemd)]);
    findings.extend(dht(&facts.dht));
    findings.extend(hooks(facts));
    findings
}

/// Nothing is said while it is off, or has only begun.
fn dht(dht: &Dht) -> Option<Finding> {
    const WHAT: &str = "DHT";
    match (dht.state, &dht.error) {
        (DhtState::Off | DhtState::Starting, _) => None,
        (DhtState::Ready, None) => {
            let (v4, v6) = (dht.nodes_v4, dht.nodes_v6);
            Some(Finding::ok(WHAT, format!("nodes answer; {v4} are known over IPv4, {v6} over IPv6")))
        }
        (DhtState::Ready | DhtState::Unreachable, error) => Some(Finding::warn(
            WHAT,
            error.clone().unwrap_or_else(|| "no node answers".to_owned()),
            "let UDP through to and from the port that peers connect to, or name nodes that answer in [dht] bootstrap;              if it isn't wanted, `dht = false` in [discovery]",
        )),
    }
}

/// Nothing is said where nothing is configured.
fn hooks(facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "hooks";
    match (facts.hooks, facts.hook_faults.as_slice()) {
        (Hooks::Off, _) => None,
        (Hooks::Ended, _) => Some(Finding::bad(
            WHAT,
            "the process that runs them has ended, so none is run",
            "restart wgod; the log says how it ended",
        )),
        (Hooks::On, []) => Some(Finding::ok(WHAT, "the programs of [hooks] are there")),
        (Hooks::On, faults) => {
            Some(Finding::warn(WHAT, faults.join("; "), "install them, or correct [hooks] and restart wgod"))
        }
    }
}

fn configuration(facts: &Facts) -> Finding {
    const WHAT: &str = "configuration";
    match (&facts.file, facts.problems.as_slice()) {
        (None, _) => Finding::ok(WHAT, "no file; the defaults hold"),
        (Some(file), []) => Finding::ok(WHAT, format!("{file} is in order")),
        (Some(_), problems) => Finding::bad(
            WHAT,
            format!("{}; the daemon would not start with it", problems.join("; ")),
            "correct the file, then `wgoctl reload`; until then the settings it began with hold",
        ),
    }
}

/// What is said of a folder that is fine.
fn described(place: &Place, folder: &Folder) -> String {
    let (free, total) = (human_bytes(folder.space.free), human_bytes(folder.space.total));
    let direct = match folder.direct {
        Some(false) => ", without direct writes",
        Some(true) | None => "",
    };
    format!("{}: {}, {free} free of {total}{direct}", place.path.display(), folder.kind.name())
}

/// What is wrong with any folder that can't be looked at.
fn out_of_reach(what: &str, place: &Place, why: &Hung) -> Finding {
    let path = place.path.display();
    match why {
        Hung::For(age) => Finding::bad(
            what,
            format!("{path}: its disk has not answered for {}", human_secs(age.as_secs())),
            "look at the disk and at `dmesg`; of a network mount, at its server",
        ),
        Hung::Failed(error) => {
            Finding::bad(what, error.clone(), format!("make {path} a folder that wgod's user may use"))
        }
    }
}

fn state(facts: &Facts) -> Finding {
    const WHAT: &str = "state";
    let (place, path) = (&facts.state, facts.state.path.display());
    let folder = match &place.found {
        Ok(folder) => folder,
        Err(why) => return out_of_reach(WHAT, place, why),
    };
    if let Some(error) = &folder.refused {
        let why = format!("{path}: nothing can be written: {error}");
        return Finding::bad(
            WHAT,
            why,
            "free it, or give it back to wgod's user; nothing is saved meanwhile",
        );
    }
    if folder.space.free < LITTLE_STATE_SPACE {
        let why = format!(
            "{path}: only {} free; when it is full, nothing is saved",
            human_bytes(folder.space.free)
        );
        return Finding::bad(WHAT, why, "make room there, or move it: [daemon] state_dir");
    }
    let elsewhere = "put it on a disk of this machine: [daemon] state_dir";
    match folder.kind {
        FsKind::Memory(name) => Finding::bad(
            WHAT,
            format!("{path} is in memory ({name}): the next boot forgets every torrent"),
            elsewhere,
        ),
        FsKind::Network(name) => Finding::warn(
            WHAT,
            format!("{path} is on another machine ({name}): a database there can be damaged"),
            elsewhere,
        ),
        FsKind::Fuse | FsKind::Simple(_) => {
            let why = format!("{path} is on {}, which may not keep what was synced", folder.kind.name());
            Finding::warn(WHAT, why, elsewhere)
        }
        FsKind::Local(_) | FsKind::Other(_) => Finding::ok(WHAT, described(place, folder)),
    }
}

fn downloads(facts: &Facts) -> Finding {
    const WHAT: &str = "downloads";
    let (place, path) = (&facts.downloads, facts.downloads.path.display());
    let folder = match &place.found {
        Ok(folder) => folder,
        Err(why) => return out_of_reach(WHAT, place, why),
    };
    if let Some(found) = no_writing(WHAT, place, folder).or_else(|| no_room(WHAT, place, folder, facts)) {
        return found;
    }
    match folder.kind {
        FsKind::Memory(name) => Finding::warn(
            WHAT,
            format!("{path} is in memory ({name}): downloads are gone with the next boot"),
            "choose another [storage] folder",
        ),
        FsKind::Simple(name) => Finding::warn(
            WHAT,
            format!("{path} is on {name}, which has no large files, no permissions, or neither"),
            "choose another [storage] folder",
        ),
        _ if folder.existing != place.path => {
            Finding::ok(WHAT, format!("{}; made when it is first needed", described(place, folder)))
        }
        _ => Finding::ok(WHAT, described(place, folder)),
    }
}

fn no_writing(what: &str, place: &Place, folder: &Folder) -> Option<Finding> {
    if place.outside {
        let path = place.path.display();
        let why = format!("{path}: outside of storage.allowed_folders, so torrents there are refused");
        let remedy = "add it to storage.allowed_folders and restart wgod, or choose a folder inside";
        return Some(Finding::bad(what, why, remedy));
    }
    let error = folder.refused.as_ref()?;
    let why = format!("{}: wgod can't write there: {error}", folder.existing.display());
    let path = place.path.display();
    Some(Finding::bad(
        what,
        why,
        format!(
            "give wgod's user the right to write to {path}; under systemd also ReadWritePaths={path} in a drop-in"
        ),
    ))
}

fn no_room(what: &str, place: &Place, folder: &Folder, facts: &Facts) -> Option<Finding> {
    let (free, least) = (folder.space.free, facts.min_free_space);
    (free < least).then(|| {
        let why = format!(
            "{}: {} free, less than min_free_space, {}: downloads pause",
            place.path.display(),
            human_bytes(free),
            human_bytes(least)
        );
        Finding::bad(what, why, "make room there; they go on by themselves")
    })
}

/// A folder that torrents are in. Complete ones are only read, so that it can't be written may be meant.
fn torrents_folder(place: &Place, facts: &Facts) -> Finding {
    const WHAT: &str = "torrents' folder";
    let folder = match &place.found {
        Ok(folder) => folder,
        Err(why) => return out_of_reach(WHAT, place, why),
    };
    if folder.existing != place.path {
        let path = place.path.display();
        let why = format!("{path} is not there: its torrents wait for it");
        return Finding::bad(WHAT, why, "mount its disk, or `wgoctl remove` what was in it");
    }
    if place.outside
        && let Some(found) = no_writing(WHAT, place, folder)
    {
        return found;
    }
    if let Some(error) = &folder.refused {
        return Finding::warn(
            WHAT,
            format!("{}: only read: {error}; complete torrents seed, others wait", place.path.display()),
            "nothing, if that is meant; else give wgod's user the right to write there",
        );
    }
    no_room(WHAT, place, folder, facts).unwrap_or_else(|| Finding::ok(WHAT, described(place, folder)))
}

fn torrents(facts: &Facts) -> Finding {
    const WHAT: &str = "torrents";
    if facts.troubled == 0 {
        return Finding::ok(WHAT, "none is in trouble");
    }
    let name = |(name, error): &(String, Option<String>)| {
        format!("{name}: {}", error.as_deref().unwrap_or("no reason is known"))
    };
    let named: Vec<String> = facts.named.iter().map(name).collect();
    let more = match facts.troubled.saturating_sub(named.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let why = format!("{} in trouble. {}{more}", facts.troubled, named.join("; "));
    Finding::bad(
        WHAT,
        why,
        "see `wgoctl list --filter state=error`; when the cause is gone they go on by themselves",
    )
}

/// Nothing is said where it is bound to nothing.
fn network(facts: &Facts) -> Option<Finding> {
    const WHAT: &str = "network";
    match (&facts.network, &facts.no_names) {
        (Network { missing: Some(missing), .. }, _) => Some(Finding::bad(
            WHAT,
            format!("{missing}, and nothing goes another way"),
            "bring it up, or correct [network] and restart wgod; when it is back, all goes on by itself",
        )),
        (_, Some(why)) => {
            let why = format!("trackers' names can't be looked up: {why}");
            Some(Finding::bad(WHAT, why, "see [network] dns in wgod.toml; a change takes a restart"))
        }
        (Network { interface: Some(interface), .. }, None) => {
            Some(Finding::ok(WHAT, format!("interface {interface} is there, and no other is used")))
        }
        (Network { interface: None, missing: None }, None) => None,
    }
}

fn port(facts: &Facts) -> Finding {
    const WHAT: &str = "port";
    let (wanted, used) = facts.port;
    if facts.proxy.as_ref().is_some_and(|proxy| proxy.shown.only) {
        return Finding::ok(
            WHAT,
            "none: with network.proxy_only no peer comes in, and wgod goes out to them",
        );
    }
    if facts.listen.is_empty() && facts.network.missing.is_some() {
        return Finding::ok(WHAT, format!("{used} will be listened on when the network is back"));
    }
    if facts.listen.is_empty() {
        let why = "peers can't connect to this machine: it listens nowhere";
        return Finding::warn(WHAT, why, "set [network] tcp = true, unless that is meant");
    }
    let listen = facts.listen.join(", ");
    if wanted != 0 && wanted != used {
        let why = format!("{wanted} was taken when wgod started, so it listens on {listen}");
        let remedy = format!("stop what uses {wanted} and restart wgod, or set [network] port");
        return Finding::warn(WHAT, why, remedy);
    }
    let mapping = &facts.mapping;
    let mapped = mapping.ports.iter().find(|port| port.transport == PortTransport::Tcp);
    match (mapping.state, mapped) {
        (MappingState::Mapped, Some(port)) => mapped_port(WHAT, port, &listen),
        (MappingState::Mapped | MappingState::Failed, _) => Finding::warn(
            WHAT,
            format!(
                "listens on {listen}; {}",
                mapping.reason.as_deref().unwrap_or("the gateway maps no port")
            ),
            format!(
                "turn on PCP, NAT-PMP or UPnP there, or have it forward port {used} and set [network] port_mapping = \
                false"
            ),
        ),
        (MappingState::Public, _) => Finding::ok(WHAT, format!("listens on {listen}, with a public address")),
        (MappingState::Trying, _) => {
            Finding::ok(WHAT, format!("listens on {listen}; the gateway is being asked to let others in"))
        }
        (MappingState::Off | MappingState::NoGateway, _) => {
            Finding::ok(WHAT, format!("listens on {listen}; whether a router lets others in is not known"))
        }
    }
}

fn mapped_port(what: &str, port: &MappedPort, listen: &str) -> Finding {
    let outside = match &port.external_ip {
        Some(ip) => format!("{ip}:{}", port.external_port),
        None => format!("port {}", port.external_port),
    };
    let found =
        format!("listens on {listen}; the gateway lets others in at {outside}, by {}", port.protocol.name());
    if port.reachable {
        return Finding::ok(what, found);
    }
    let why = format!("{found}; that is no public address, so another router is before it");
    let remedy = "have that one forward the port, too, or make the gateway a bridge; a provider that shares addresses \
        (CGNAT) may give one of your own, or use IPv6";
    Finding::warn(what, why, remedy)
}

fn proxy(facts: &ProxyFacts) -> Finding {
    const WHAT: &str = "proxy";
    let (proxy, url) = (&facts.shown, &facts.shown.url);
    if let Err(why) = &facts.tried {
        let why = format!("{url}: {why}; nothing that it is for goes round it");
        return Finding::bad(
            WHAT,
            why,
            "start the proxy, or correct [network] proxy and its login and restart wgod",
        );
    }
    if let Some(Err(why)) = &facts.udp {
        let why = format!("{url} answers, but trackers over UDP fail: {why}");
        return Finding::warn(
            WHAT,
            why,
            "use a SOCKS5 proxy with UDP, unless the torrents have other trackers",
        );
    }
    match (proxy.only, proxy.peers) {
        (false, true) => Finding::ok(
            WHAT,
            format!("{url} answers; peers that come in show who wgod is, unless network.proxy_only is set"),
        ),
        _ => Finding::ok(WHAT, format!("{url} answers")),
    }
}

fn descriptors(facts: &Facts) -> Finding {
    const WHAT: &str = "descriptors";
    let Some(limit) = facts.descriptors else { return Finding::ok(WHAT, "as many as it likes") };
    // What storage takes of them (`StorageLimits::open_files`).
    let files = (DEFAULT_OPEN_FILES as u64).min(limit / 4);
    let need = u64::from(facts.max_peers) + files + OTHER_DESCRIPTORS;
    if limit >= need {
        return Finding::ok(WHAT, format!("{limit}, of which {need} are needed at most"));
    }
    let why = format!(
        "{limit}, too few for max_peers = {}, {files} open files and the rest: {need} in all",
        facts.max_peers
    );
    let remedy =
        format!("LimitNOFILE={} in the unit, or `ulimit -n` before the start", need.next_power_of_two());
    match limit < u64::from(facts.max_peers) {
        true => Finding::bad(WHAT, why, remedy),
        false => Finding::warn(WHAT, why, remedy),
    }
}

fn memory(facts: &Facts) -> Finding {
    const WHAT: &str = "memory";
    let payload = human_bytes(facts.memory);
    match facts.memory_limit {
        Some(limit) if facts.memory > limit / 2 => Finding::warn(
            WHAT,
            format!("[storage] memory is {payload}, more than half of the {} there are", human_bytes(limit)),
            "lower it: what the system can't cache itself, it reads again and again",
        ),
        Some(limit) => Finding::ok(WHAT, format!("{payload} for payload, of {}", human_bytes(limit))),
        None => Finding::ok(WHAT, format!("{payload} for payload")),
    }
}

fn confinement(confinement: &Confinement) -> Finding {
    const WHAT: &str = "confinement";
    let all = [
        (confinement.landlock.is_some(), "Landlock"),
        (confinement.seccomp, "seccomp"),
        (confinement.no_new_privs, "no new privileges"),
    ];
    let on: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    let on = if on.is_empty() { "none of its own".to_owned() } else { on.join(", ") };
    match (&confinement.allowed_folders, confinement.landlock) {
        (Some(_), None) => Finding::warn(
            WHAT,
            "only wgod itself keeps to storage.allowed_folders: Linux does not enforce it",
            "run Linux 5.13 or newer, with `landlock` among the `lsm=` of its command line",
        ),
        (Some(_), Some(_)) => Finding::ok(WHAT, on),
        (None, _) => Finding::ok(WHAT, format!("{on}; torrents may go to any folder")),
    }
}

fn systemd(systemd: Systemd) -> Finding {
    const WHAT: &str = "systemd";
    if !systemd.unit {
        return Finding::ok(WHAT, "not started by it: nobody restarts wgod if it ends");
    }
    let unit = "use the unit that comes with wgod, and `systemctl daemon-reload`";
    if !systemd.notify {
        return Finding::warn(WHAT, "the unit isn't Type=notify: others start before wgod is ready", unit);
    }
    if !systemd.watchdog {
        return Finding::warn(WHAT, "the unit has no WatchdogSec=: nobody notices if wgod hangs", unit);
    }
    let log = if systemd.journal { "journal" } else { "its log elsewhere" };
    Finding::ok(WHAT, format!("a unit with notification, watchdog and {log}"))
}

#[cfg(test)]
mod tests;
