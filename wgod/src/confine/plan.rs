//! Which paths a confined daemon may use, and how.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::config::Places;

/// What may be done with a path and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rights {
    /// Files and folders: read, write, make, rename, remove.
    Own,
    /// Make and remove sockets. Their folder may hold what isn't ours: nothing in it can be read or written.
    Sockets,
    /// Read.
    Read,
}

/// A path and what may be done with it. What doesn't exist is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grant {
    pub(super) path: PathBuf,
    pub(super) rights: Rights,
}

/// What the system's libraries read: the resolver's configuration and modules, certificate authorities, and
/// what the kernel says of processors, mounts and devices. Of /run nothing but the resolver's: below it is what
/// other services keep.
const SYSTEM: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    // Authorities of openSUSE, and of routers' and NAS's package systems.
    "/var/lib/ca-certificates",
    "/opt/etc/ssl",
    // Where NixOS and Guix have their /usr.
    "/nix/store",
    "/gnu/store",
];

/// What of this system isn't where every system has it.
#[derive(Clone, Debug, Default)]
pub(super) struct System {
    /// What the configuration file leads to.
    pub(super) config: Option<PathBuf>,
    /// What `/etc/resolv.conf` leads to.
    pub(super) resolver: Option<PathBuf>,
    /// $SSL_CERT_FILE and the folders of $SSL_CERT_DIR.
    pub(super) certificates: Vec<PathBuf>,
    /// This program, of which a backtrace shows lines.
    pub(super) program: Option<PathBuf>,
}

impl System {
    /// That of this process.
    pub(super) fn observe(config: Option<&Path>) -> System {
        let file = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let dirs = std::env::var_os("SSL_CERT_DIR");
        let dirs = std::env::split_paths(dirs.as_deref().unwrap_or(OsStr::new("")));
        System {
            config: config.and_then(|path| path.canonicalize().ok()),
            resolver: Path::new("/etc/resolv.conf").canonicalize().ok(),
            certificates: file.into_iter().chain(dirs).filter(|path| path.is_absolute()).collect(),
            program: std::env::current_exe().ok(),
        }
    }
}

/// All that is granted besides the folders of torrents. `metrics` is the socket that figures are served on.
pub(super) fn plan(
    places: &Places,
    metrics: Option<&Path>,
    config_file: Option<&Path>,
    system: &System,
) -> Vec<Grant> {
    let grant = |rights| move |path: PathBuf| Grant { path, rights };
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let mut grants = vec![Grant { path: places.state_dir.clone(), rights: Rights::Own }];
    let sockets = [Some(places.socket.as_path()), places.socket_ro.as_deref(), metrics];
    grants.extend(sockets.into_iter().flatten().filter_map(folder).map(grant(Rights::Sockets)));
    // Whole folders, since what changes these files puts new ones in their place.
    let files = [config_file, system.config.as_deref(), system.resolver.as_deref()];
    let lists = places.ip_filter.iter().map(PathBuf::as_path);
    let files = files.into_iter().flatten().chain(lists);
    let read = files.filter_map(folder).chain(system.certificates.iter().cloned());
    let read = read.chain(system.program.clone()).chain(SYSTEM.iter().map(PathBuf::from));
    grants.extend(read.map(grant(Rights::Read)));
    grants.sort();
    grants.dedup();
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            state_dir: "/var/lib/w".into(),
            socket: "/run/w/s".into(),
            socket_ro: Some("/run/w-ro/s".into()),
            folder: "/srv/dl".into(),
            allowed: Some(vec!["/srv/dl".into()]),
            watched: Vec::new(),
            ip_filter: Vec::new(),
        }
    }

    fn rights_of<'a>(grants: &'a [Grant], path: &'a str) -> Vec<Rights> {
        grants.iter().filter(|grant| grant.path == Path::new(path)).map(|grant| grant.rights).collect()
    }

    #[test]
    fn only_what_is_ours_is_writable() {
        let grants = plan(
            &places(),
            Some(Path::new("/run/figures/s")),
            Some(Path::new("/etc/wgod/wgod.toml")),
            &System::default(),
        );
        let of = |rights| grants.iter().filter(move |grant| grant.rights == rights).collect::<Vec<_>>();
        let paths = |rights| of(rights).iter().map(|grant| grant.path.as_path()).collect::<Vec<_>>();
        assert_eq!(paths(Rights::Own), [Path::new("/var/lib/w")]);
        let sockets = ["/run/figures", "/run/w", "/run/w-ro"].map(Path::new);
        assert_eq!(paths(Rights::Sockets), sockets);
        assert_eq!(rights_of(&grants, "/etc/wgod"), [Rights::Read]);
        for never in ["/", "/home", "/root", "/run", "/tmp", "/var", "/dev", "/srv", "/mnt"] {
            assert_eq!(rights_of(&grants, never), [], "{never}");
        }
    }

    #[test]
    fn what_this_system_has_elsewhere_is_readable() {
        let system = System {
            config: Some("/opt/settings/wgod.toml".into()),
            resolver: Some("/mnt/wsl/resolv.conf".into()),
            certificates: vec!["/srv/ca.pem".into(), "/srv/authorities".into()],
            program: Some("/opt/wgod/bin/wgod".into()),
        };
        let grants = plan(&places(), None, None, &system);
        for path in ["/opt/settings", "/mnt/wsl", "/srv/ca.pem", "/srv/authorities", "/opt/wgod/bin/wgod"] {
            assert_eq!(rights_of(&grants, path), [Rights::Read], "{path}");
        }
    }

    #[test]
    fn a_path_that_is_granted_for_two_reasons_has_both_rights() {
        let places = Places { socket: "/var/lib/w/s".into(), ..places() };
        let grants = plan(&places, None, Some(Path::new("/var/lib/w/wgod.toml")), &System::default());
        assert_eq!(rights_of(&grants, "/var/lib/w"), [Rights::Own, Rights::Sockets, Rights::Read]);
    }
}
