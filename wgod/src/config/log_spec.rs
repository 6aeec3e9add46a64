//! What is logged: a level, and levels of single components, as in `info,peer=debug`.
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::setting::{Raw, Refused, Setting, quoted};
use super::suggest::nearest;

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

/// Every component. A module that isn't listed is logged at the general level.
pub static COMPONENTS: &[Component] = &[
    Component { name: "session", targets: &["wgod::session", "wgo_core::session"] },
    Component { name: "torrent", targets: &["wgod::torrent", "wgod::swarm", "wgo_core::swarm"] },
    Component { name: "peer", targets: &["wgod::peer", "wgo_core::peer", "wgo_core::peer_mgr"] },
    Component { name: "tracker", targets: &["wgod::tracker", "wgo_core::tracker"] },
    Component { name: "files", targets: &["wgod::files"] },
    Component { name: "store", targets: &["wgod::store"] },
    Component { name: "console", targets: &["wgod::console", "wgo_api", "jsonrpsee", "jsonrpsee-server"] },
    Component { name: "audit", targets: &["wgo_api::audit"] },
    Component { name: "listen", targets: &["wgod::listen", "wgod::dial", "wgod::transport"] },
    Component { name: "choke", targets: &["wgod::choke", "wgo_core::choke_mgr"] },
    Component { name: "config", targets: &["wgod::config", "wgod::cli"] },
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

impl LogSpec {
    /// The components whose level was set.
    pub fn components(&self) -> impl Iterator<Item = (&'static Component, LogLevel)> {
        COMPONENTS.iter().filter_map(|component| Some((component, *self.components.get(component.name)?)))
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
        f.write_str(level_name(self.level))?;
        self.components.iter().try_for_each(|(name, level)| write!(f, ",{name}={}", level_name(*level)))
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

fn level_name(level: LogLevel) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("off", |(name, _)| name)
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

    #[test]
    fn the_doc_comment_of_the_setting_lists_every_component() {
        let doc = super::super::KEYS.iter().find(|key| key.field == "log").unwrap().doc.concat();
        for component in COMPONENTS {
            assert!(doc.contains(component.name), "{}", component.name);
        }
    }
}
