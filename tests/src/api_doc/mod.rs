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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wgo_api::params::{Part, Source};
    use wgo_api::result::OpenRpc;
    use wgo_api::torrent::{Fields, Row};

    use super::*;

    #[test]
    fn serde_of_what_is_described_by_hand_is_as_described() {
        let document: Value = serde_json::from_str(wgo_api::OPENRPC).unwrap();
        let torrent = wgo_api::Torrent::default();
        let few = Fields::from_names(["name", "labels"]).unwrap();
        let written = [
            ("Part", json!(Part(b"some bytes".to_vec()))),
            ("Fields", json!(Fields::ALL)),
            ("Row", json!(Row { torrent: torrent.clone(), fields: Fields::ALL })),
            ("Row", json!(Row { torrent, fields: few })),
            ("Source", json!(Source::of_file(b"de"))),
            ("Source", json!(Source::Uri("magnet:?".to_owned()))),
            ("OpenRpc", json!(OpenRpc::document().unwrap())),
        ];
        for (name, value) in &written {
            let schema = &document["components"]["schemas"][*name];
            assert_eq!(check::faults(&document, schema, value), [""; 0], "{name}");
        }
        let by_hand = source::by_hand();
        assert!(by_hand.iter().all(|name| written.iter().any(|(known, _)| known == name)), "{by_hand:?}");
        let refused = [
            ("Part", json!("*")),
            ("Fields", json!(["nmae"])),
            ("Source", json!({"torrent": "", "uri": ""})),
            ("Source", json!({"url": ""})),
        ];
        for (name, value) in refused {
            let reads = match name {
                "Part" => serde_json::from_value::<Part>(value.clone()).is_ok(),
                "Fields" => serde_json::from_value::<Fields>(value.clone()).is_ok(),
                _ => serde_json::from_value::<Source>(value.clone()).is_ok(),
            };
            let schema = &document["components"]["schemas"][name];
            assert!(!reads && !check::faults(&document, schema, &value).is_empty(), "{name} {value}");
        }
    }
}
