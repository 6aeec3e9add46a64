//! The documentation of the control API, made from its source: `wgod/api/README.md` for people and
//! `wgod/api/openrpc.json` for programs. `cargo run -p wgo-tests --bin api-doc` writes both; tests fail while they
//! are stale, and hold the daemon's answers against them.
use std::path::{Path, PathBuf};

mod attributes;
pub mod check;
mod openrpc;
mod readme;
mod schema;
mod source;

pub use openrpc::request_schema;

/// What renews the documents.
pub const COMMAND: &str = "cargo run -p wgo-tests --bin api-doc";

/// The crate that has the API.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wgod/api")
}

/// The documents as they have to be: each with its path.
pub fn documents() -> [(PathBuf, String); 2] {
    let folder = folder();
    let api = source::Api::read(&folder.join("src"));
    let document = openrpc::document(&api);
    let json = serde_json::to_string_pretty(&document).expect("a value can be written");
    [(folder.join("openrpc.json"), json + "\n"), (folder.join("README.md"), readme::document(&api, &folder))]
}
