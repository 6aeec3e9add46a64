//! What `add` was given on the command line, turned into sources: files, folders, standard input, URIs.
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wgo_api::Kind;
use wgo_api::params::Source;

use crate::console::Console;
use crate::failure::Failure;

/// Bytes of a `.torrent`: in base64 it still fits a request.
pub(crate) const MAX_TORRENT: u64 = 45 * 1024 * 1024;

/// One source, or why there is none.
pub(crate) struct Given {
    /// How the user called it.
    pub(crate) label: String,
    /// What to send.
    pub(crate) source: Result<Source, Failure>,
}

/// Is this a link rather than a path?
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("magnet" | "http" | "https"))
}

/// Reads everything that the arguments name, in their order.
pub(crate) fn gather(arguments: &[PathBuf], console: &mut Console<'_>) -> Vec<Given> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument.to_str() {
            Some("-") => from_input(console, &mut all),
            Some(text) if is_uri(text) => {
                all.push(Given { label: text.to_owned(), source: Ok(Source::Uri(text.to_owned())) });
            }
            _ if argument.is_dir() => from_folder(argument, &mut all),
            _ => all.push(from_file(argument)),
        }
    }
    all
}

fn from_file(path: &Path) -> Given {
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let read = || {
        let file = fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_TORRENT + 1).read_to_end(&mut bytes).map_err(failed)?;
        check(path, &bytes)?;
        Ok(Source::of_file(&bytes))
    };
    Given { label: path.display().to_string(), source: read() }
}

/// Refuses what cannot be a torrent before it is sent.
fn check(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let why = match bytes {
        [] => "is empty".to_owned(),
        _ if bytes.len() as u64 > MAX_TORRENT => {
            format!("has more than {MAX_TORRENT} bytes, too many for a torrent")
        }
        _ => return Ok(()),
    };
    Err(Failure::BadTorrent { path: path.to_owned(), why })
}

/// Every `.torrent` in the folder, by name; folders below are left alone.
fn from_folder(folder: &Path, all: &mut Vec<Given>) {
    let failed = |source| Given {
        label: folder.display().to_string(),
        source: Err(Failure::File { path: folder.to_owned(), source }),
    };
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, io::Error>>());
    let mut paths: Vec<PathBuf> = match entries {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
        Err(error) => return all.push(failed(error)),
    };
    paths.retain(|path| {
        path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("torrent")) && path.is_file()
    });
    if paths.is_empty() {
        return all.push(failed(io::Error::new(io::ErrorKind::NotFound, "no .torrent files in this folder")));
    }
    paths.sort();
    all.extend(paths.iter().map(|path| from_file(path)));
}

/// Standard input is one `.torrent`, or one link, file or folder a line.
fn from_input(console: &mut Console<'_>, all: &mut Vec<Given>) {
    let path = Path::new("standard input");
    let mut bytes = Vec::new();
    if let Err(source) = console.input.take(MAX_TORRENT + 1).read_to_end(&mut bytes) {
        let source = Err(Failure::File { path: path.to_owned(), source });
        return all.push(Given { label: path.display().to_string(), source });
    }
    // A torrent is a dictionary whose first key has a length: `d8:announce…`.
    let is_torrent = bytes.first() == Some(&b'd') && bytes.get(1).is_some_and(u8::is_ascii_digit);
    let text = std::str::from_utf8(&bytes).ok().filter(|text| !is_torrent && !text.trim().is_empty());
    match text {
        None => {
            let source = check(path, &bytes).map(|()| Source::of_file(&bytes));
            all.push(Given { label: path.display().to_string(), source });
        }
        Some(text) => {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                if is_uri(line) {
                    all.push(Given { label: line.to_owned(), source: Ok(Source::Uri(line.to_owned())) });
                } else if Path::new(line).is_dir() {
                    from_folder(Path::new(line), all);
                } else {
                    all.push(from_file(Path::new(line)));
                }
            }
        }
    }
}

/// Kind of a failure to read a source: what does not exist was likely mistyped.
pub(crate) fn kind_of(failure: &Failure) -> Kind {
    match failure {
        Failure::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::BadRequest,
        other => other.kind(),
    }
}
