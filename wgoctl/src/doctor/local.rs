//! What can be seen without the daemon's help: its socket, and what keeps it from running.
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use wgo_api::doctor::{Finding, clock, kernel};
use wgo_api::result::Daemon;
use wgo_api::units::human_secs;
use wgo_api::{ApiError, Kind, group};

use crate::config::problems_of;

/// Where units of systemd are installed.
const UNITS: &[&str] = &["/etc/systemd/system/wgod.service", "/usr/lib/systemd/system/wgod.service"];
/// The configuration of the system's daemon.
const SYSTEM_CONFIG: &str = "/etc/wgod/wgod.toml";
/// The folder of the system's daemon's socket.
const SYSTEM_RUNTIME: &str = "/run/wgod";
/// The port unless another one is set.
const PORT: u16 = 6868;

/// The daemon's socket, and whether it let us in.
pub(super) fn socket(path: &Path, reached: Result<(), &ApiError>) -> Finding {
    let place = match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Place::Other,
        Ok(found) => Place::Socket { mode: found.mode() & 0o777, group: group::name(found.gid()) },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Place::Missing,
        // A folder on the way is closed to us; its group is the one to be in.
        Err(_) => {
            let folder = path.ancestors().skip(1).find_map(|folder| fs::metadata(folder).ok());
            Place::Hidden { group: folder.map(|folder| group::name(folder.gid())) }
        }
    };
    judge_socket(path, &place, reached)
}

/// What is at the socket's path.
#[derive(Clone, Debug)]
enum Place {
    Missing,
    Other,
    Hidden { group: Option<String> },
    Socket { mode: u32, group: String },
}

fn judge_socket(path: &Path, place: &Place, reached: Result<(), &ApiError>) -> Finding {
    const WHAT: &str = "socket";
    let shown = path.display();
    let join = |group: Option<&str>| match group {
        Some(group) if group != "root" => {
            format!("join the group {group}: `sudo usermod -aG {group} $USER`, then log in again")
        }
        _ => "run wgoctl as the user who runs wgod".to_owned(),
    };
    match (place, reached.map_err(ApiError::kind)) {
        (Place::Socket { mode, .. }, Ok(())) if mode & 0o002 != 0 => Finding::bad(
            WHAT,
            format!("{shown} has mode {mode:04o}: everybody on this machine may do everything with wgod"),
            "restart wgod, which makes it anew, and find out who changed it",
        ),
        (Place::Socket { mode, group }, Ok(())) => {
            Finding::ok(WHAT, format!("{shown}, for its user and the group {group} ({mode:04o})"))
        }
        (_, Ok(())) => Finding::ok(WHAT, shown.to_string()),
        (Place::Missing, Err(_)) => Finding::bad(
            WHAT,
            format!("{shown} does not exist: wgod is not running, or uses another one"),
            start(),
        ),
        (Place::Other, Err(_)) => {
            let why = format!("{shown} is no socket: wgod can't start there");
            Finding::bad(WHAT, why, "remove it, or set [daemon] socket to another path")
        }
        (Place::Hidden { group }, Err(_)) => Finding::bad(
            WHAT,
            format!("{shown} is in a folder that you may not enter"),
            join(group.as_deref()),
        ),
        (Place::Socket { group, .. }, Err(Kind::Permission)) => Finding::bad(
            WHAT,
            format!("you may not use {shown}, which is the group {group}'s"),
            join(Some(group)),
        ),
        (Place::Socket { .. }, Err(_)) => {
            let why = reached.err().map(ToString::to_string).unwrap_or_default();
            Finding::bad(WHAT, why, format!("if it doesn't come up by itself: {}", start()))
        }
    }
}

/// How wgod is started here.
fn start() -> String {
    match UNITS.iter().any(|unit| Path::new(unit).exists()) {
        true => "`systemctl start wgod`; if it ends at once, `journalctl -u wgod -e` says why".to_owned(),
        false => "start `wgod`; it says why if it can't".to_owned(),
    }
}

/// The daemon, which answered.
pub(super) fn daemon(daemon: &Daemon) -> Finding {
    const WHAT: &str = "daemon";
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &daemon.version);
    if ours != theirs {
        let why = format!("wgod {theirs} runs, and this is wgoctl {ours}");
        return Finding::warn(WHAT, why, "restart wgod after an update, and install both from one release");
    }
    Finding::ok(WHAT, format!("wgod {theirs}, process {}, up {}", daemon.pid, human_secs(daemon.uptime_secs)))
}

/// It answered, but not to this.
pub(super) fn no_answer(error: &ApiError) -> Finding {
    let why = format!("wgod runs and can't say how it is: {error}");
    Finding::bad("daemon", why, "restart it if it is older than this wgoctl; else see its log")
}

/// What may keep it from running, or hide where it runs.
pub(super) fn without_daemon(socket: &Path) -> Vec<Finding> {
    let mut findings = vec![configuration(socket)];
    findings.extend(others(&running()));
    if TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).is_err() {
        findings.push(Finding::warn(
            "port",
            format!("{PORT} is taken by another program; wgod would use another one"),
            format!("`ss -ltnp 'sport = :{PORT}'` shows who; or set [network] port"),
        ));
    }
    let since = |now: SystemTime| now.duration_since(UNIX_EPOCH).map_or(-1, |since| since.as_secs() as i64);
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    findings.push(clock(since(SystemTime::now()), synchronized));
    // Of Linux; where it can't be read nothing is known of the kernel.
    findings.push(kernel(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim()));
    findings
}

/// The file that the daemon of this socket would read, as wgod itself judges it.
fn configuration(socket: &Path) -> Finding {
    const WHAT: &str = "configuration";
    let system = socket.starts_with(SYSTEM_RUNTIME) && Path::new(SYSTEM_CONFIG).exists();
    let file = system.then(|| PathBuf::from(SYSTEM_CONFIG));
    match problems_of(file.as_deref()) {
        Ok(problems) if problems.is_empty() => {
            let file = file.map(|file| format!("{}: ", file.display())).unwrap_or_default();
            Finding::ok(WHAT, format!("{file}wgod finds no mistake"))
        }
        Ok(problems) => {
            let why = format!("wgod will not start: {}", problems.join("; "));
            Finding::bad(WHAT, why, "correct it; `wgod --check-config` finds every mistake")
        }
        Err(error) => Finding::warn(WHAT, format!("not looked at: {error}"), "install wgod beside wgoctl"),
    }
}

/// The processes named wgod.
fn running() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let numbers = processes.flatten().filter_map(number);
    let is_wgod = |pid: &u32| {
        let of = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        // One that has ended and that nobody asked after yet has no command line any more.
        of("comm") == b"wgod\n" && !of("cmdline").is_empty()
    };
    let mut found: Vec<u32> = numbers.filter(is_wgod).collect();
    found.sort_unstable();
    found
}

fn others(pids: &[u32]) -> Option<Finding> {
    if pids.is_empty() {
        return None;
    }
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let why = format!("wgod runs with another socket: process {}", pids.join(", "));
    Some(Finding::warn(
        "another daemon",
        why,
        "name that socket with --socket or WGOD_SOCKET; its log has it",
    ))
}

#[cfg(test)]
mod tests {
    use wgo_api::doctor::Severity::{Bad, Ok as Fine, Warn};

    use super::*;

    #[test]
    fn a_socket_is_judged_by_what_is_there_and_who_may_use_it() {
        let socket = |mode| Place::Socket { mode, group: "wgod".into() };
        let hidden = |group: Option<&str>| Place::Hidden { group: group.map(str::to_owned) };
        let denied = ApiError::new(Kind::Permission, "no permission");
        let dead = ApiError::new(Kind::Unreachable, "no wgod answers on /s: it has died");
        let cases = [
            (socket(0o660), None, Fine, "for its user and the group wgod (0660)", ""),
            (socket(0o666), None, Bad, "everybody on this machine may do everything", "restart wgod"),
            (
                socket(0o660),
                Some(&denied),
                Bad,
                "you may not use /s, which is the group wgod's",
                "usermod -aG wgod",
            ),
            (socket(0o660), Some(&dead), Bad, "no wgod answers on /s", "start"),
            (Place::Missing, Some(&dead), Bad, "/s does not exist: wgod is not running", "start"),
            (Place::Other, Some(&dead), Bad, "/s is no socket", "remove it"),
            (hidden(Some("wgod")), Some(&denied), Bad, "that you may not enter", "join the group wgod"),
            (hidden(Some("root")), Some(&denied), Bad, "that you may not enter", "as the user who runs wgod"),
            (hidden(None), Some(&denied), Bad, "that you may not enter", "as the user who runs wgod"),
        ];
        for (place, error, severity, why, remedy) in cases {
            let found = judge_socket(Path::new("/s"), &place, error.map_or(Ok(()), Err));
            assert_eq!(found.severity, severity, "{place:?}: {found:?}");
            assert!(found.why.contains(why), "{place:?}: {found:?}");
            assert!(found.remedy.unwrap_or_default().contains(remedy), "{place:?}");
        }
    }

    #[test]
    fn other_versions_and_other_daemons_are_named() {
        let ours = Daemon { version: env!("CARGO_PKG_VERSION").into(), pid: 7, ..Daemon::default() };
        assert_eq!(daemon(&ours).severity, Fine);
        let old = Daemon { version: "0.0.9".into(), ..ours };
        assert!(daemon(&old).severity == Warn && daemon(&old).why.contains("wgod 0.0.9 runs"));
        assert_eq!(others(&[]), None);
        assert!(others(&[41, 42]).is_some_and(|found| found.why.ends_with("process 41, 42")));
        let gone = no_answer(&ApiError::new(Kind::Unsupported, "Method not found"));
        assert_eq!(gone.severity, Bad);
    }
}
