//! What is logged: a level, and levels of single components, as in `info,peer=debug`.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::setting::{Raw, Refused, Setting, quoted};
use wgo_api::suggest::nearest;

/// How much is logged; each level includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed and needs the operator.
    Error,
    /// What went wrong and was dealt with.
    Warn,
    /// Changes of state.
    Info,
    /// What led to them.
    Debug,
    /// Every message and block.
    Trace,
}

const LEVELS: &[(&str, LogLevel)] = &[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// A part of the daemon, as an operator knows it.
#[derive(Debug)]
pub struct Component {
    /// Its name in `[daemon] log` and in `wgoctl log`.
    pub name: &'static str,
    /// The modules that log for it.
    pub targets: &'static [&'static str],
}

/// Every component. A module that isn't listed is logged at the general level. The engine below the shell
/// logs nothing: it returns what happened.
pub static COMPONENTS: &[Component] = &[
    Component { name: "session", targets: &["wgod::session"] },
    Component { name: "torrent", targets: &["wgod::engine"] },
    Component { name: "peer", targets: &["wgod::peer"] },
    Component { name: "tracker", targets: &["wgod::tracker"] },
    Component { name: "dht", targets: &["wgod::dht"] },
    Component { name: "files", targets: &["wgod::files"] },
    Component { name: "store", targets: &["wgod::store"] },
    Component { name: "console", targets: &["wgo_api", "jsonrpsee"] },
    Component { name: "audit", targets: &["wgo_api::audit"] },
    Component { name: "listen", targets: &["wgod::listen", "wgod::dial", "wgod::outlet"] },
    Component { name: "lsd", targets: &["wgod::lsd"] },
    Component { name: "choke", targets: &["wgod::session::choke"] },
    Component { name: "portmap", targets: &["wgod::portmap"] },
    Component { name: "hooks", targets: &["wgod::hooks"] },
    Component { name: "watch", targets: &["wgod::watch"] },
    Component { name: "config", targets: &["wgod::control"] },
    Component {
        name: "daemon",
        targets: &[
            "wgod::daemon",
            "wgod::given",
            "wgod::confine",
            "wgod::serving",
            "wgod::metrics",
            "wgod::systemd",
            "wgod::ending",
        ],
    },
];

/// A general level and the components that differ from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpec {
    /// What a component logs that isn't named in `components`.
    pub level: LogLevel,
    /// Levels by a component's name, each one of [`COMPONENTS`].
    components: BTreeMap<&'static str, LogLevel>,
}

impl Default for LogSpec {
    fn default() -> LogSpec {
        LogSpec { level: LogLevel::Info, components: BTreeMap::new() }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(LEVELS.iter().find(|(_, known)| known == self).map_or("off", |(name, _)| name))
    }
}

impl LogSpec {
    /// The level that was set for the component alone.
    pub fn own(&self, component: &Component) -> Option<LogLevel> {
        self.components.get(component.name).copied()
    }

    /// The components whose level was set.
    pub fn components(&self) -> impl Iterator<Item = (&'static Component, LogLevel)> {
        COMPONENTS.iter().filter_map(|component| Some((component, self.own(component)?)))
    }

    /// This specification changed by another one, as `wgoctl log peer=debug` does: what `change` names
    /// is taken from it, the rest stays.
    pub fn with(&self, change: &str) -> Result<LogSpec, NotALogSpec> {
        let mut spec = self.clone();
        for part in change.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => spec.level = level(part)?,
                Some((name, word)) => {
                    _ = spec.components.insert(component(name.trim())?, level(word.trim())?)
                }
            }
        }
        Ok(spec)
    }
}

impl FromStr for LogSpec {
    type Err = NotALogSpec;

    fn from_str(text: &str) -> Result<LogSpec, NotALogSpec> {
        LogSpec::default().with(text)
    }
}

impl fmt::Display for LogSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.level)?;
        self.components.iter().try_for_each(|(name, level)| write!(f, ",{name}={level}"))
    }
}

/// Why a text doesn't say what to log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALogSpec {
    /// No such level.
    #[error("{0:?} is no level; levels are off, error, warn, info, debug, trace")]
    Level(String),
    /// No such component.
    #[error("{name:?} is no component{}; components are {all}", meant.map(|m| format!(", did you mean {m}?")).unwrap_or_default())]
    Component {
        /// What was written.
        name: String,
        /// The nearest name that there is.
        meant: Option<&'static str>,
        /// All components.
        all: String,
    },
}

fn level(word: &str) -> Result<LogLevel, NotALogSpec> {
    let found = LEVELS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level);
    found.ok_or_else(|| NotALogSpec::Level(word.to_owned()))
}

fn component(word: &str) -> Result<&'static str, NotALogSpec> {
    let names = || COMPONENTS.iter().map(|component| component.name);
    names().find(|name| *name == word).ok_or_else(|| NotALogSpec::Component {
        name: word.to_owned(),
        meant: nearest(word, names()),
        all: names().collect::<Vec<_>>().join(", "),
    })
}

impl Setting for LogSpec {
    fn allowed() -> String {
        "a level and levels of components, such as \"info,peer=debug\"".into()
    }

    fn parse(raw: &Raw) -> Result<LogSpec, Refused> {
        let text = if *raw == Raw::Bool(false) { "off" } else { raw.text().ok_or_else(Refused::default)? };
        text.parse().map_err(|err: NotALogSpec| Refused::because(err.to_string()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_specification_reads_back_as_written() {
        for text in ["info", "off", "warn,choke=trace,peer=debug"] {
            assert_eq!(text.parse::<LogSpec>().map(|spec| spec.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let spec: LogSpec = "warn,peer=debug".parse().unwrap();
        assert_eq!(spec.with("tracker=trace").unwrap().to_string(), "warn,peer=debug,tracker=trace");
        assert_eq!(spec.with("info").unwrap().to_string(), "info,peer=debug");
    }

    #[test]
    fn a_misspelt_component_is_told_its_name() {
        let err = "info,traker=debug".parse::<LogSpec>().unwrap_err().to_string();
        assert!(err.contains("did you mean tracker?"), "{err}");
        assert!("loud".parse::<LogSpec>().is_err());
    }

    /// The files of a module and of those below it.
    fn files_of(module: &str) -> Vec<PathBuf> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut parts = module.split("::");
        let src = match parts.next() {
            Some("wgod") => manifest.join("src"),
            Some("wgo_api") => manifest.join("api/src"),
            other => panic!("{other:?} is none of the crates that log"),
        };
        let place = parts.fold(src, |place, part| place.join(part));
        let mut files: Vec<PathBuf> = [place.with_extension("rs")].into();
        let mut folders = vec![place];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.retain(|file| file.is_file());
        files
    }

    #[test]
    fn every_target_is_a_module_that_logs_or_a_library_that_is_used() {
        let lock =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
        let mut seen = BTreeMap::new();
        for (component, target) in COMPONENTS.iter().flat_map(|c| c.targets.iter().map(move |t| (c.name, *t)))
        {
            assert_eq!(seen.insert(target, component), None, "{target} is of one component");
            if lock.contains(&format!("name = \"{target}\"")) {
                continue;
            }
            // A target of its own, which a constant names.
            let constant = format!(": &str = \"{target}\";");
            let named = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains(&constant);
            if files_of("wgo_api").iter().any(named) {
                continue;
            }
            let files = files_of(target);
            let logs = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains("tracing::");
            assert!(!files.is_empty(), "{component}: there is no module {target}");
            assert!(files.iter().any(logs), "{component}: {target} logs nothing");
        }
    }

    #[test]
    fn the_doc_comment_of_the_setting_lists_every_component() {
        let doc = super::super::KEYS.iter().find(|key| key.field == "log").unwrap().doc.concat();
        for component in COMPONENTS {
            assert!(doc.contains(component.name), "{}", component.name);
        }
    }
}
