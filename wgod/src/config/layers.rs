//! The sources of values laid over each other, and which of them each value in force came from.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::Config;
use super::key::KeyId;
use super::names;
use super::problem::{Fault, Problem, Problems};
use super::setting::{Raw, Setting};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// Set through the control socket in an earlier run and kept in the database.
    Stored,
    /// An environment variable.
    Environment(String),
    /// An argument of the command line.
    CommandLine(&'static str),
    /// Set through the control socket in this run.
    Socket,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Stored => f.write_str("set by wgoctl in an earlier run"),
            Origin::Environment(name) => write!(f, "${name}"),
            Origin::CommandLine(flag) => f.write_str(flag),
            Origin::Socket => f.write_str("set by wgoctl"),
        }
    }
}

/// A value that fits its key, and where it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// The values of one source. Each was checked against its key when it came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer(BTreeMap<KeyId, Given>);

impl Layer {
    /// Takes a value, replacing an earlier one of the key, unless it doesn't fit.
    pub fn insert(&mut self, id: KeyId, raw: Raw, origin: Origin) -> Result<(), Problem> {
        match id.check(&raw) {
            Ok(()) => {
                self.0.insert(id, Given { raw, origin });
                Ok(())
            }
            Err(fault) => Err(Problem { origin, key: id.name(), fault }),
        }
    }

    /// Drops the value of a key; whether there was one.
    pub fn remove(&mut self, id: &KeyId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Whether it gives a value of a key.
    pub fn gives(&self, id: &KeyId) -> bool {
        self.0.contains_key(id)
    }

    /// Keys and values, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &Given)> {
        self.0.iter()
    }

    /// The overrides kept in the database: names and values in TOML's notation, as [`Layer::store`]
    /// wrote them. A pair that this version doesn't take is dropped and returned as a problem: it
    /// must not keep the daemon from starting.
    pub fn from_store<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Layer, Vec<Problem>) {
        let (mut layer, mut problems) = (Layer::default(), Vec::new());
        for (name, text) in pairs {
            let taken = match (KeyId::find(name), super::file::value(text)) {
                // A backup that somebody restored over the socket may say anything.
                (Some(id), _) if let Some(why) = super::plan::fixed(&id) => {
                    let fault = Fault::Conflict(format!("not taken from the database: {why}"));
                    Err(Problem { origin: Origin::Stored, key: name.to_owned(), fault })
                }
                (Some(id), Some(raw)) => layer.insert(id, raw, Origin::Stored),
                (id, _) => {
                    let wrong = || Fault::Syntax(format!("{text} is not a value"));
                    let fault = id.map_or(Fault::Unknown { meant: None }, |_| wrong());
                    Err(Problem { origin: Origin::Stored, key: name.to_owned(), fault })
                }
            };
            problems.extend(taken.err());
        }
        (layer, problems)
    }

    /// Names and values in the notation that [`Layer::from_store`] reads.
    pub fn store(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(id, given)| (id.name(), given.raw.to_string()))
    }
}

/// All sources, the one that wins first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// Set through the control socket in this run; wins until the daemon restarts.
    pub socket: Layer,
    /// The command line.
    pub command_line: Layer,
    /// The environment.
    pub environment: Layer,
    /// Set through the control socket and kept for the next start; holds every value of `socket` but what
    /// is logged, which is never kept.
    pub stored: Layer,
    /// The configuration file.
    pub file: Layer,
}

impl Layers {
    /// Whether a value of a key was set through the control socket, in this run or before.
    pub fn is_overridden(&self, id: &KeyId) -> bool {
        self.socket.gives(id) || self.stored.gives(id)
    }

    fn by_rank(&self) -> [&Layer; 5] {
        [&self.socket, &self.command_line, &self.environment, &self.stored, &self.file]
    }

    /// The value that wins, if any source gives one.
    fn winner(&self, id: &KeyId) -> Option<&Given> {
        self.by_rank().into_iter().find_map(|layer| layer.0.get(id))
    }

    /// Every key that some source sets.
    fn keys(&self) -> BTreeSet<&KeyId> {
        self.by_rank().into_iter().flat_map(|layer| layer.0.keys()).collect()
    }
}

/// The values in force and where each came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    pub(super) origins: BTreeMap<KeyId, Origin>,
}

impl Resolved {
    /// Where the value of a key came from.
    pub fn origin(&self, id: &KeyId) -> &Origin {
        self.origins.get(id).unwrap_or(&Origin::Default)
    }

    /// The value of a key in TOML's notation.
    pub fn text(&self, id: &KeyId) -> String {
        id.text(&self.config)
    }

    /// Every key that there is once, and of the others those that some source sets; in the order of the file.
    pub fn keys(&self) -> BTreeSet<KeyId> {
        KeyId::all().chain(self.origins.keys().cloned()).collect()
    }
}

/// Lays the sources over each other. Fails when values that are each in order exclude one another.
pub fn resolve(layers: &Layers) -> Result<Resolved, Problems> {
    let (mut config, mut origins, mut problems) = (Config::default(), BTreeMap::new(), Vec::new());
    for id in layers.keys() {
        let Some(given) = layers.winner(id) else { continue };
        match id.assign(&mut config, &given.raw) {
            Ok(()) => _ = origins.insert(id.clone(), given.origin.clone()),
            Err(fault) => problems.push(Problem { origin: given.origin.clone(), key: id.name(), fault }),
        }
    }
    let resolved = Resolved { config, origins };
    problems.extend(conflicts(&resolved));
    Problems::none_or(problems, resolved)
}

/// Values that can't be used together.
fn conflicts(resolved: &Resolved) -> Vec<Problem> {
    let Config { network, storage, watch, labels, trackers, .. } = &resolved.config;
    let mut found = Vec::new();
    let mut conflict = |id: Option<KeyId>, why: String| {
        found.extend(id.map(|id| Problem {
            origin: resolved.origin(&id).clone(),
            key: id.name(),
            fault: Fault::Conflict(why),
        }));
    };
    if !network.tcp && !network.utp {
        let why = "with network.utp off too, no peer can be reached; one must be true";
        conflict(KeyId::find("network.tcp"), why.into());
    }
    for (key, why) in super::proxy::conflicts(network) {
        conflict(KeyId::find(key), why);
    }
    if let (Some(folder), Some(incomplete)) = (&storage.folder, &storage.incomplete_folder)
        && folder == incomplete
    {
        let why = format!(
            "{} is storage.folder, where complete torrents go; choose another one, such as {}",
            incomplete.display(),
            incomplete.join("incomplete").display()
        );
        conflict(KeyId::find("storage.incomplete_folder"), why);
    }
    let folders =
        [("storage.folder", &storage.folder), ("storage.incomplete_folder", &storage.incomplete_folder)];
    let folders = folders.into_iter().filter_map(|(name, folder)| Some((name, folder.as_deref()?)));
    let folders = folders.chain(watch.folders.targets().map(|folder| ("watch.folders", folder)));
    let folders = folders.map(|(name, folder)| (KeyId::find(name), folder));
    let of_labels = labels.iter().filter_map(|(name, label)| {
        Some((KeyId::of("labels", Some(name), "folder"), label.folder.as_deref()?))
    });
    for (key, folder) in folders.chain(of_labels) {
        if storage.allowed_folders.excludes(folder) {
            let (folder, allowed) = (folder.display(), storage.allowed_folders.to_toml());
            conflict(
                key,
                format!(
                    "{folder} is in none of storage.allowed_folders, {allowed}; add it there, or choose a folder that is in one"
                ),
            );
        }
    }
    for (section, count) in [("labels", labels.len()), ("trackers", trackers.len())] {
        if count > names::MOST {
            let last = resolved.origins.keys().rfind(|id| id.key().section == section).cloned();
            conflict(last, format!("there are {count} sections [{section}.…]; the most are {}", names::MOST));
        }
    }
    found
}
