//! Whether the client still runs: two programs that write to the same files ruin them, and what a client has not
//! saved yet can't be taken over.
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The process id of one of `programs` that may be using the session in `folder`.
pub(super) fn process(programs: &[&str], folder: &Path) -> Option<u32> {
    let folder = folder.canonicalize().ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.into_iter().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let args: Vec<OsString> =
            line.split(|byte| *byte == 0).map(|arg| OsStr::from_bytes(arg).to_owned()).collect();
        (is_one(&args, programs) && may_use(&args, &folder)).then_some(pid)
    })
}

fn is_one(args: &[OsString], programs: &[&str]) -> bool {
    // Some are scripts, so it's the interpreter's second word; some put a title in place of it all.
    let words = args.iter().take(2).filter_map(|arg| Path::new(arg).file_name());
    words.into_iter().any(|name| programs.iter().any(|program| name == OsStr::new(program)))
}

/// A client that is told of folders elsewhere uses those; one that is told of none may use this.
fn may_use(args: &[OsString], folder: &Path) -> bool {
    let mut elsewhere = false;
    for arg in args.iter().skip(1) {
        let bytes = arg.as_bytes();
        let from = bytes.iter().position(|byte| *byte == b'/').unwrap_or(bytes.len());
        // `--profile=/srv/q` and `/srv/q` alike; a program's own path names no session.
        let place = Path::new(OsStr::from_bytes(bytes.get(from..).unwrap_or_default()));
        let Ok(place) = place.canonicalize() else { continue };
        let place = if place.is_dir() { place.as_path() } else { place.parent().unwrap_or(&place) };
        if folder.starts_with(place) || place.starts_with(folder) {
            return true;
        }
        elsewhere |= !place.starts_with("/usr");
    }
    !elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_counts_unless_it_is_told_of_other_folders() {
        let home = tempfile::tempdir().expect("a folder");
        let (session, other) = (home.path().join("session"), home.path().join("other"));
        for folder in [&session, &other] {
            fs::create_dir(folder).expect("made");
        }
        fs::write(other.join("rc"), "").expect("written");
        let session = session.canonicalize().expect("it is there");
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let (ours, theirs) = (session.display().to_string(), other.display().to_string());
        for (words, counts) in [
            (vec!["/usr/bin/transmission-daemon", "-f"], true),
            (vec!["transmission-daemon", "-g", &ours], true),
            (vec!["transmission-daemon", "-g", &theirs], false),
            (vec!["rtorrent", "-o", &format!("import={theirs}/rc")], false),
            (vec!["qbittorrent-nox", &format!("--profile={}", home.path().display())], true),
            (vec!["/usr/bin/python3", "/usr/bin/deluged", "-c", &theirs], false),
            (vec!["/usr/bin/python3", "/usr/bin/deluged"], true),
        ] {
            assert_eq!(may_use(&args(&words), &session), counts, "{words:?}");
        }
        assert!(is_one(&args(&["/usr/bin/python3", "/usr/bin/deluged", "-d"]), &["deluged"]));
        assert!(is_one(&args(&["rtorrent main"]), &["rtorrent main"]));
        assert!(!is_one(&args(&["vi", "notes", "deluged"]), &["deluged"]));
    }
}
