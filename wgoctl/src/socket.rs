//! Where the daemon's socket is when nobody says: the user's own daemon first, then the system's.
use std::path::{Path, PathBuf};

/// The socket of the system's daemon.
const SYSTEM: &str = "/run/wgod/wgod.sock";

/// Below a folder for run-time or state files.
const BELOW: &str = "wgod/wgod.sock";

/// What decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `XDG_RUNTIME_DIR`.
    runtime: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or its default: where wgod puts the socket when there is no run-time folder.
    state: Option<PathBuf>,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        Self { runtime: folder("XDG_RUNTIME_DIR"), state }
    }
}

/// The first of the usual places where a socket is; the likeliest when there is none.
pub(crate) fn find(around: &Surroundings) -> PathBuf {
    let own = [&around.runtime, &around.state];
    let own = own.into_iter().flatten().map(|folder| folder.join(BELOW));
    let places: Vec<PathBuf> = own.chain([Path::new(SYSTEM).to_owned()]).collect();
    let there = places.iter().find(|path| path.exists());
    there.cloned().unwrap_or_else(|| match &around.runtime {
        Some(folder) => folder.join(BELOW),
        None => SYSTEM.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_daemon_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, state) = (dir.path().join("run"), dir.path().join("state"));
        let around = Surroundings { runtime: Some(runtime.clone()), state: Some(state.clone()) };
        assert_eq!(find(&around), runtime.join(BELOW));
        std::fs::create_dir_all(state.join("wgod")).unwrap();
        std::fs::write(state.join(BELOW), "").unwrap();
        assert_eq!(find(&around), state.join(BELOW));
        std::fs::create_dir_all(runtime.join("wgod")).unwrap();
        std::fs::write(runtime.join(BELOW), "").unwrap();
        assert_eq!(find(&around), runtime.join(BELOW));
        assert_eq!(find(&Surroundings::default()), Path::new(SYSTEM));
    }
}
