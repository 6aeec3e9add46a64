//! Starting the helper, while the daemon still can; and what is known to be wrong with the programs.
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Access, access};

use super::Event;
use super::program::PATH;
use super::wire::{self, Order};
use crate::config::{Config, Surroundings};

/// The argument that makes wgod its own helper.
const MODE: &str = "--hook-helper";

/// A helper that runs.
#[derive(Debug)]
pub struct Helper {
    /// The way to it.
    pub(super) stream: UnixStream,
    /// The process.
    pub(super) child: Child,
    /// The program of each event that has one.
    pub(super) programs: Vec<(Event, String)>,
    /// Seconds that each may run.
    pub(super) time_limit: u64,
}

/// Starts the helper if the operator named a program to run. To be called before the daemon confines itself.
///
/// # Errors
/// It can't be started.
pub fn launch(config: &Config, around: &Surroundings) -> io::Result<Option<Helper>> {
    let commands = commands(config, around);
    if commands.is_empty() {
        return Ok(None);
    }
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new(std::env::current_exe()?)
        .arg0("wgod")
        .arg(MODE)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A terminal's Ctrl-C is for the daemon.
        .process_group(0)
        .current_dir("/")
        .spawn()?;
    let program = |(event, words): &(Event, Vec<String>)| Some((*event, words.first()?.clone()));
    let programs = commands.iter().filter_map(program).collect();
    let time_limit = config.hooks.time_limit.0;
    let setup = wire::framed(&Order::Setup { time_limit, commands }.encode())?;
    io::Write::write_all(&mut &ours, &setup)?;
    ours.set_nonblocking(true)?;
    Ok(Some(Helper { stream: ours, child, programs, time_limit }))
}

/// The programs with their arguments, `~/` replaced.
fn commands(config: &Config, around: &Surroundings) -> Vec<(Event, Vec<String>)> {
    let command = |event: Event| {
        let mut words = event.command(&config.hooks).words().to_vec();
        let program = words.first_mut()?;
        // Without a home it is left as it is, and not found.
        if let Ok(path) = around.expand(Path::new(program.as_str())) {
            *program = path.to_string_lossy().into_owned();
        }
        Some((event, words))
    };
    Event::ALL.into_iter().filter_map(command).collect()
}

/// What keeps configured programs from being run, one line each: the setting, the program, why, what to do.
pub fn faults(config: &Config, around: &Surroundings) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    let fault = |(event, words): (Event, Vec<String>)| {
        let program = words.first()?;
        let why = fault(program, &path)?;
        Some(format!("{}: {program} can't be run: {why}", event.key()))
    };
    commands(config, around).into_iter().filter_map(fault).collect()
}

/// Why a program can't be run; `None` if it can, as far as is to be seen without doing it.
fn fault(program: &str, search: &OsStr) -> Option<String> {
    if !program.contains('/') {
        let found = std::env::split_paths(search).any(|dir| runs(&dir.join(program)).is_ok());
        return (!found).then(|| "there is no such program in $PATH; write its whole path".to_owned());
    }
    runs(Path::new(program)).err()
}

fn runs(program: &Path) -> Result<(), String> {
    let found = program.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    if !found.is_file() {
        return Err("it is not a file".to_owned());
    }
    let allowed = access(PathBuf::from(program), Access::EXEC_OK);
    allowed.map_err(|_| "wgod's user may not execute it; see `chmod +x` and the folders above it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, file, resolve};

    fn config(hooks: &str) -> Config {
        let file = file::parse(Path::new("/c"), &format!("[hooks]\n{hooks}")).unwrap();
        resolve(&Layers { file, ..Layers::default() }).unwrap().config
    }

    #[test]
    fn a_program_that_is_missing_or_not_executable_is_named_with_its_setting() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let around = Surroundings { home: Some(dir.path().to_owned()), ..Surroundings::default() };
        let faults = |hooks: &str| faults(&config(hooks), &around).join("\n");
        assert_eq!(faults("on_added = [\"/bin/sh\", \"-c\", \"true\"]\non_error = [\"sh\"]"), "");
        for (hooks, want) in [
            ("on_added = [\"/nowhere\"]", "hooks.on_added: /nowhere can't be run: there is no such file"),
            ("on_removed = [\"/usr\"]", "hooks.on_removed: /usr can't be run: it is not a file"),
            (
                "on_error = [\"no-such-x\"]",
                "hooks.on_error: no-such-x can't be run: there is no such program in",
            ),
            ("on_completed = [\"~/plain\"]", "/plain can't be run: wgod's user may not execute it"),
        ] {
            let said = faults(hooks);
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn without_programs_there_is_no_helper() {
        assert!(launch(&Config::default(), &Surroundings::default()).unwrap().is_none());
    }
}
