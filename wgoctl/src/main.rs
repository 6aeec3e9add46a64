//! The `wgoctl` command: one verb per file, each a call over the control socket.
#![forbid(unsafe_code)]
fn main() -> anyhow::Result<()> {
    Ok(())
}
