//! Reads all sources at the start, and the file again for a reload: the only part that does I/O.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::layers::{Layer, Layers, Resolved, resolve};
use super::places::{NoPlace, Places, Surroundings};
use super::problem::{Problem, Problems};
use super::proxy::proxy_login;
use super::{environment, file};
use wgo_proto::proxy::Login;

/// The daemon's configuration at its start.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All sources.
    pub layers: Layers,
    /// The values in force.
    pub resolved: Resolved,
    /// Where things are.
    pub places: Places,
    /// The file that a reload reads. It need not exist.
    pub file: Option<PathBuf>,
    /// What the operator should know, one line each.
    pub warnings: Vec<String>,
    /// Who we are to `[network] proxy`.
    pub proxy_login: Option<Login>,
    /// Overrides in the database that don't count, since this version doesn't take them: names and values.
    pub untaken: BTreeMap<String, String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("can't read the configuration {}: {error}{}", path.display(), hint(error))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The proxy's password is nowhere, or none.
    #[error("can't use the password of `[network] proxy` in {}: {error}{}", path.display(), hint_for_password(error))]
    ProxyPassword {
        /// The file with it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Values are wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// A place is missing.
    #[error(transparent)]
    Places(#[from] NoPlace),
}

impl Loaded {
    /// Reads the file and the environment, below the command line. `named` is the file that the
    /// command line names; the usual one is read when it exists.
    pub fn read(
        command_line: Layer,
        named: Option<&Path>,
        around: &Surroundings,
    ) -> Result<Loaded, LoadError> {
        let named_path = named.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let path = named_path.or_else(|| around.config_file());
        let file = path.as_deref().map_or(Ok(Layer::default()), |path| read_file(path, named.is_some()))?;
        // A variable that isn't UTF-8 can't be one of ours: our names and values are.
        let variables =
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        let (environment, mut warnings) = environment::parse(variables)?;
        let layers = Layers { command_line, environment, file, ..Layers::default() };
        let resolved = resolve(&layers)?;
        let places = Places::decide(&resolved.config, around)?;
        // No override can change these.
        let (proxy_login, warning) = proxy_login(&resolved.config.network, path.as_deref(), around)?;
        warnings.extend(warning);
        Ok(Loaded { layers, resolved, places, file: path, warnings, proxy_login, untaken: BTreeMap::new() })
    }

    /// Adds the overrides of the database, which can only be opened once the state directory is
    /// known. One that this version doesn't take becomes a warning.
    pub fn with_stored<'a>(
        mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        around: &Surroundings,
    ) -> Result<Loaded, LoadError> {
        let pairs: BTreeMap<&str, &str> = pairs.into_iter().collect();
        let (stored, problems) = Layer::from_store(pairs.iter().map(|(name, text)| (*name, *text)));
        self.warnings.extend(problems.iter().map(Problem::to_string));
        let untaken = problems.iter().filter_map(|problem| pairs.get_key_value(problem.key.as_str()));
        self.untaken = untaken.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        self.layers.stored = stored;
        self.resolved = resolve(&self.layers)?;
        self.places = Places::decide(&self.resolved.config, around)?;
        Ok(self)
    }
}

/// What to do about a file that can't be read.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; the user that runs wgod needs to be able to read it",
        io::ErrorKind::NotFound => "; `wgod --print-config` prints one to begin with",
        _ => "",
    }
}

/// What to do about a password that can't be read.
fn hint_for_password(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; the user that runs wgod needs to be able to read it",
        io::ErrorKind::NotFound => "; write the password into it, or correct `proxy_password_file`",
        _ => "",
    }
}

/// The values of a file; one that nobody named may be missing.
pub fn read_file(path: &Path, named: bool) -> Result<Layer, LoadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(file::parse(path, &text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(Layer::default()),
        Err(error) => Err(LoadError::Read { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_must_exist_and_the_usual_one_need_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wgod.toml");
        assert!(matches!(read_file(&path, true), Err(LoadError::Read { .. })));
        assert_eq!(read_file(&path, false).unwrap(), Layer::default());
        std::fs::write(&path, "[network]\nport = 1\n").unwrap();
        assert_eq!(read_file(&path, false).unwrap().iter().count(), 1);
    }

    #[test]
    fn a_file_is_known_by_its_absolute_path() {
        let around = Surroundings { user_state: Some("/s".into()), ..Surroundings::default() };
        let here = std::env::current_dir().unwrap();
        let loaded = Loaded::read(Layer::default(), Some(Path::new("Cargo.toml")), &around);
        let said = loaded.unwrap_err().to_string();
        assert!(said.starts_with(&here.join("Cargo.toml").display().to_string()), "{said}");
    }

    #[test]
    fn overrides_of_the_database_come_in_once_it_is_open() {
        let around = Surroundings { user_state: Some("/s".into()), ..Surroundings::default() };
        let loaded = Loaded::read(Layer::default(), None, &around).unwrap();
        let pairs = [("storage.folder", "\"/dl\""), ("storage.colour", "1")];
        let loaded = loaded.with_stored(pairs, &around).unwrap();
        assert_eq!(loaded.places.folder, Path::new("/dl"));
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert_eq!(loaded.untaken, [("storage.colour".to_owned(), "1".to_owned())].into());
    }
}
