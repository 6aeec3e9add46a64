//! The reference configuration in the repository is the one that the program prints.
use std::path::Path;

#[test]
fn config_wgod_toml_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/wgod.toml");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == wgod::config::document(),
        "config/wgod.toml is stale; renew it: cargo run --bin wgod -- --print-config > config/wgod.toml"
    );
}
