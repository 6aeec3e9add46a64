//! libtorrent as a maker of torrents, to compare ours with.
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::libtorrent::python;
use crate::net::skip;

const DRIVER: &str = include_str!("libtorrent_creates.py");

/// How to make a torrent.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// `v1`, `aligned` (v1 with pad files), `v2` or `hybrid`.
    pub version: &'static str,
    /// Bytes of a piece; 0 to have one chosen.
    pub piece_length: u32,
    /// Private (BEP 27).
    pub private: bool,
    /// Don't record executable files.
    pub no_attributes: bool,
}

/// The info-hashes, v1 and v2, that libtorrent's torrents of `path` have; a torrent of one kind has the other
/// too, of the same dictionary. `None`, said loudly, where libtorrent isn't installed.
pub fn hashes(test: &str, wanted: &[(&Path, Wanted)]) -> Option<Vec<(String, String)>> {
    let Some(python) = python() else {
        skip(test, "libtorrent not found: install it and set WGOD_LT_PYTHON");
        return None;
    };
    let request = |(path, wanted): &(&Path, Wanted)| {
        let Wanted { version, piece_length, private, no_attributes } = wanted;
        json!({
            "path": path, "version": version, "piece_length": piece_length, "private": private,
            "no_attributes": no_attributes,
        })
    };
    let requests: String = wanted.iter().map(|wanted| format!("{}\n", request(wanted))).collect();
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), requests).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", DRIVER]).stdin(std::fs::File::open(input.path()).unwrap()).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    assert!(output.status.success(), "libtorrent makes no torrents: {}", output.status);
    let answers = String::from_utf8(output.stdout).unwrap();
    let hash = |line| -> (String, String) {
        let answer: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        (text("v1"), text("v2"))
    };
    let hashes: Vec<_> = answers.lines().map(hash).collect();
    assert_eq!(hashes.len(), wanted.len(), "{answers}");
    Some(hashes)
}
