//! What `doctor` judges: figures of the daemon and of the machine.
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use wgo_api::result::{Confinement, Dht, Hooks, Network, PortMapping, Proxy};

use crate::clock::unix_now;
use crate::files::Folder;

/// A folder, as far as it could be looked at.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Whether it is outside of `[storage] allowed_folders`.
    pub(super) outside: bool,
    pub(super) found: Result<Folder, Hung>,
}

/// Why a folder could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hung {
    /// Its disk has not answered for so long.
    For(Duration),
    /// The system refused.
    Failed(String),
}

/// How the process was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Systemd {
    /// As a unit of systemd.
    pub(super) unit: bool,
    /// Which is told when it is ready.
    pub(super) notify: bool,
    /// And restarts it when it hangs.
    pub(super) watchdog: bool,
    /// And whose journal takes its log.
    pub(super) journal: bool,
}

/// The proxy as it is now.
#[derive(Clone, Debug)]
pub(super) struct ProxyFacts {
    pub(super) shown: Proxy,
    pub(super) tried: Result<(), String>,
    /// `None` where nothing of ours is UDP.
    pub(super) udp: Option<Result<(), String>>,
}

/// Everything that is judged.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The configuration file, and what is wrong with it now.
    pub(super) file: Option<String>,
    pub(super) problems: Vec<String>,
    /// The state directory.
    pub(super) state: Place,
    /// Where torrents go that are added without a folder.
    pub(super) downloads: Place,
    /// A folder of torrents on each device.
    pub(super) folders: Vec<Place>,
    pub(super) min_free_space: u64,
    /// Addresses that peers can come to.
    pub(super) listen: Vec<String>,
    /// What the network is bound to, and why no names can be looked up there.
    pub(super) network: Network,
    pub(super) no_names: Option<String>,
    /// The port that was asked for, and the one that is used.
    pub(super) port: (u16, u16),
    /// What a gateway lets in.
    pub(super) mapping: PortMapping,
    /// The proxy, and what came of trying it just now: of the proxy itself, and of UDP by it where trackers need that.
    pub(super) proxy: Option<ProxyFacts>,
    /// Descriptors that the process may have; `None` is no limit.
    pub(super) descriptors: Option<u64>,
    pub(super) max_peers: u32,
    /// `[storage] memory`.
    pub(super) memory: u64,
    /// What the process may have of memory: the machine's, or its control group's if that is less.
    pub(super) memory_limit: Option<u64>,
    /// Unix time.
    pub(super) now: i64,
    /// Whether systemd-timesyncd has set the clock; others can't be asked cheaply.
    pub(super) synchronized: bool,
    /// The kernel's release.
    pub(super) release: String,
    /// What the process may not do.
    pub(super) confinement: Confinement,
    pub(super) systemd: Systemd,
    /// Our node of the DHT.
    pub(super) dht: Dht,
    /// Whether programs run on events, and what keeps those from it that are configured.
    pub(super) hooks: Hooks,
    pub(super) hook_faults: Vec<String>,
    /// Torrents in state `error`, and some of them with their errors.
    pub(super) troubled: usize,
    pub(super) named: Vec<(String, Option<String>)>,
}

impl Facts {
    /// What needs no other part of the daemon. The files are the kernel's own, which answer at once.
    pub(super) fn of_the_machine() -> Facts {
        let has = |name: &str| std::env::var_os(name).is_some();
        let nowhere =
            || Place { path: PathBuf::new(), outside: false, found: Err(Hung::Failed(String::new())) };
        Facts {
            file: None,
            problems: Vec::new(),
            state: nowhere(),
            downloads: nowhere(),
            folders: Vec::new(),
            min_free_space: 0,
            listen: Vec::new(),
            network: Network::default(),
            no_names: None,
            port: (0, 0),
            mapping: PortMapping::default(),
            proxy: None,
            descriptors: getrlimit(Resource::Nofile).current,
            max_peers: 0,
            memory: 0,
            memory_limit: memory_limit(),
            now: unix_now(),
            synchronized: std::path::Path::new("/run/systemd/timesync/synchronized").exists(),
            release: rustix::system::uname().release().to_string_lossy().into_owned(),
            confinement: Confinement::default(),
            systemd: Systemd {
                unit: has("INVOCATION_ID"),
                notify: has("NOTIFY_SOCKET"),
                watchdog: has("WATCHDOG_USEC"),
                journal: has("JOURNAL_STREAM"),
            },
            dht: Dht::default(),
            hooks: Hooks::Off,
            hook_faults: Vec::new(),
            troubled: 0,
            named: Vec::new(),
        }
    }
}

/// Bytes that the process may have.
fn memory_limit() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        std::fs::read_to_string(format!("/sys/fs/cgroup/{path}/memory.max")).ok()?.trim().parse().ok()
    });
    machine.into_iter().chain(group).min()
}

/// `MemTotal` of proc_meminfo(5), which is in KiB.
fn total_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(total_memory("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        for text in ["", "MemTotal: x kB", "MemTotal: 12", "MemFree: 3 kB"] {
            assert_eq!(total_memory(text), None, "{text}");
        }
    }

    #[test]
    fn a_machine_has_a_kernel_memory_and_descriptors() {
        let facts = Facts::of_the_machine();
        assert!(facts.memory_limit.is_some_and(|bytes| bytes > 1 << 20), "{facts:?}");
        assert!(facts.release.starts_with(|c: char| c.is_ascii_digit()), "{facts:?}");
        assert!(facts.descriptors.is_none_or(|n| n > 0), "{facts:?}");
    }
}
