//! Writes the documentation of the control API: `wgod/api/README.md` and `wgod/api/openrpc.json`.
#![allow(clippy::print_stdout, reason = "it says what it wrote")]

fn main() -> std::io::Result<()> {
    for (path, text) in wgo_tests::api_doc::documents() {
        std::fs::write(&path, text)?;
        println!("wrote {}", path.canonicalize()?.display());
    }
    Ok(())
}
