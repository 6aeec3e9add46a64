//! A machine whose process 1 is systemd: this one's file systems below a layer of its own, in namespaces.
//!
//! Nothing of it outlives the test: its files lie in memory that goes with its mount namespace, and the
//! kernel kills its processes together with process 1.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::binaries;
use crate::ctl::Ran;
use crate::net::{self, skip};
use crate::process::Process;
use crate::wait::try_until;

/// Booting takes a few seconds where nothing else goes on; a machine that can't boot is given up after this long.
const BOOT: Duration = Duration::from_secs(180);

/// Where systemd is, on Debian and elsewhere.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Where the README and the units are.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Puts the file systems in place and becomes systemd. `$1` is an empty folder.
///
/// What this machine enables isn't started, and what it keeps of a wgod of its own isn't seen.
const BOOT_SCRIPT: &str = r#"
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay none -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount --rbind /dev dev
for folder in run tmp var/log var/lib; do mount -t tmpfs -o mode=755 none "$folder"; done
chmod 1777 tmp
rm -rf etc/systemd/system/*.wants etc/systemd/system/wgod* etc/wgod*
: > etc/machine-id
exec env -i container=wgo-tests PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . SYSTEMD \
    --unit=basic.target --show-status=0 --log-target=journal
"#;

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    // The process first: it dies before its folders go.
    _unshare: Process,
    init: u32,
    _folder: TempDir,
}

impl Machine {
    /// Boots one; `None`, said loudly, where that can't be.
    pub fn boot(test: &str) -> Option<Machine> {
        if !rustix::process::geteuid().is_root() || !Path::new(SYSTEMD).exists() {
            skip(test, "a machine of its own takes root and an installed systemd");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("wgod-machine-").tempdir().unwrap();
        let log = folder.path().join("log");
        let below = folder.path().join("machine");
        fs::create_dir(&below).unwrap();
        let script = BOOT_SCRIPT.replace("SYSTEMD", SYSTEMD);
        let mut unshare = Process::spawn("machine", Path::new("unshare"), &log, |command| {
            command.args("--fork --kill-child --pid --mount --uts --ipc --net --cgroup".split(' '));
            command.args(["sh", "-ec", &script, "sh"]).arg(&below);
        });
        let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", unshare.pid()));
        let mut booted = None;
        let up = try_until(BOOT, || {
            if unshare.ended().is_some() {
                return Some(false);
            }
            let init = fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()?;
            booted = Some(init);
            let state = enter(init, &["systemctl", "is-system-running"]).output().ok()?;
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            ["running", "degraded"].contains(&state.trim()).then_some(true)
        });
        match (up, booted) {
            (Some(true), Some(init)) => Some(Machine { _unshare: unshare, init, _folder: folder }),
            _ => {
                // Many containers forbid it, and the notify protocol has a test of its own: no failure anywhere.
                eprintln!("SKIPPED {test}: systemd does not boot in namespaces here: {}", unshare.log_tail());
                None
            }
        }
    }

    /// Installs the service in it as root, by the commands of the README. `alice` may drive it then and `bob`
    /// may look; `dave` may neither.
    pub fn install(&self) {
        let source = self.path("/tmp/source");
        fs::create_dir_all(source.join("target/release")).unwrap();
        for program in [binaries::wgod(), binaries::wgoctl()] {
            let name = program.file_name().unwrap();
            fs::copy(&program, source.join("target/release").join(name)).unwrap();
        }
        fs::create_dir(source.join("systemd")).unwrap();
        for entry in fs::read_dir(Path::new(REPOSITORY).join("systemd")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), source.join("systemd").join(entry.file_name())).unwrap();
        }
        for user in ["alice", "bob", "dave"] {
            self.run(&["useradd", user]).expect(0);
        }
        let script = format!("set -e; cd /tmp/source; export USER=alice LOOKER=bob\n{}", readme());
        self.run(&["sh", "-c", &script]).expect(0);
    }

    /// A property of one of its units.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", name, unit]).out.trim().to_owned()
    }

    /// Moves this thread, and what it starts from now on, into its network.
    pub fn enter_network(&self) {
        net::enter(self.init).unwrap();
    }

    /// One of its files, seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{}", self.init, path.trim_start_matches('/')))
    }

    /// Runs a program in it, as root.
    pub fn run(&self, words: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = enter(self.init, words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: status.code().unwrap_or(-1), out: text(&stdout), err: text(&stderr) }
    }

    /// Runs a program in it as one of its users, with the groups that the user has by now.
    pub fn run_as(&self, user: &str, words: &[&str]) -> Ran {
        let mut all = vec!["runuser", "-u", user, "--"];
        all.extend(words);
        self.run(&all)
    }
}

/// The commands of the README's chapter, but for the build.
fn readme() -> String {
    let text = fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap();
    let chapter = text.split("## As a service\n").nth(1).unwrap();
    let lines = chapter.lines().skip_while(|line| !line.starts_with("    "));
    let block: Vec<&str> = lines.take_while(|line| line.starts_with("    ")).collect();
    assert!(block[0].contains("cargo build"), "{block:?}");
    block[1..].join("\n")
}

fn enter(init: u32, words: &[&str]) -> Command {
    let root = format!("/proc/{init}/root");
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={init}")).args("--mount --pid --net --uts --ipc --cgroup".split(' '));
    command.arg(format!("--root={root}")).arg(format!("--wd={root}")).args(words);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
    command
}
