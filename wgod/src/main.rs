//! The `wgod` process: reads the command line and runs the daemon.
fn main() -> anyhow::Result<()> {
    Ok(())
}
