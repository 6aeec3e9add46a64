//! Where the daemon's socket is when nobody says: the user's own daemon first, then the system's; and
//! its read-only one where only that may be used.
use std::path::{Path, PathBuf};

use wgo_api::socket::{Reach, looking_twin, reach};

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

/// The socket to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// It is a read-only one, used because this one is for others.
    pub(crate) instead_of: Option<PathBuf>,
}

impl Found {
    /// A socket that is what was looked for.
    pub(crate) fn wanted(path: PathBuf) -> Found {
        Found { path, instead_of: None }
    }
}

/// The first of the usual places where a socket is that may be used; else a read-only one beside
/// one that may not; else the likeliest, for its error to be told.
pub(crate) fn find(around: &Surroundings) -> Found {
    choose(around, reach)
}

fn choose(around: &Surroundings, reach: impl Fn(&Path) -> Reach) -> Found {
    let own = [&around.runtime, &around.state];
    let own = own.into_iter().flatten().map(|folder| folder.join(BELOW));
    let places: Vec<(PathBuf, Reach)> = own
        .chain([Path::new(SYSTEM).to_owned()])
        .map(|path| {
            let reach = reach(&path);
            (path, reach)
        })
        .collect();
    if let Some((path, _)) = places.iter().find(|(_, reach)| *reach == Reach::Usable) {
        return Found::wanted(path.clone());
    }
    let forbidden = || places.iter().filter(|(_, reach)| *reach == Reach::Forbidden).map(|(path, _)| path);
    let mut twins = forbidden().filter_map(|path| Some((looking_twin(path)?, path)));
    if let Some((twin, path)) = twins.find(|(twin, _)| reach(twin) == Reach::Usable) {
        return Found { path: twin, instead_of: Some(path.clone()) };
    }
    Found::wanted(match (forbidden().next(), &around.runtime) {
        (Some(path), _) => path.clone(),
        (None, Some(folder)) => folder.join(BELOW),
        (None, None) => SYSTEM.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_daemon_comes_first_and_what_may_be_used_before_what_may_not() {
        let around = Surroundings { runtime: Some("/run/user/7".into()), state: Some("/home/u/s".into()) };
        let (runtime, state) = ("/run/user/7/wgod/wgod.sock", "/home/u/s/wgod/wgod.sock");
        let twin = "/run/wgod-ro/wgod-ro.sock";
        for (usable, forbidden, path, instead_of) in [
            (vec![], vec![], runtime, None),
            (vec![SYSTEM], vec![], SYSTEM, None),
            (vec![SYSTEM, state], vec![], state, None),
            (vec![SYSTEM, state, runtime], vec![], runtime, None),
            (vec![SYSTEM], vec![runtime], SYSTEM, None),
            (vec![], vec![SYSTEM], SYSTEM, None),
            (vec![], vec![SYSTEM, twin], SYSTEM, None),
            (vec![twin], vec![SYSTEM], twin, Some(SYSTEM)),
            (vec![twin, SYSTEM], vec![], SYSTEM, None),
            // Without the full one beside it, it is nobody's stand-in.
            (vec![twin], vec![], runtime, None),
        ] {
            let reach = |path: &Path| match path.to_str().unwrap() {
                path if usable.contains(&path) => Reach::Usable,
                path if forbidden.contains(&path) => Reach::Forbidden,
                _ => Reach::Absent,
            };
            let expected = Found { path: path.into(), instead_of: instead_of.map(PathBuf::from) };
            assert_eq!(choose(&around, reach), expected, "{usable:?} {forbidden:?}");
        }
        assert_eq!(choose(&Surroundings::default(), |_| Reach::Absent).path, Path::new(SYSTEM));
    }
}
