//! `wgoctl backup`: fetches a backup of the whole session and writes it where the caller says, as the caller.
use std::io::Write;
use std::path::PathBuf;

use wgo_api::ApiClient;
use wgo_api::params::{BackupParams, ReadBackupParams};
use wgo_api::result::Backup;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::new_file::NewFile;
use crate::units::{count, human_bytes};

/// Where to write it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The backup holds every torrent with its settings, progress and metadata, and what was set over
the socket; not the files that were downloaded, and not wgod.toml. It names your trackers and
their keys, so that only you can read it. wgod works on meanwhile.

Examples:
  wgoctl backup wgod.backup
  wgoctl backup - | ssh nas 'cat > wgod.backup'
  wgoctl restore wgod.backup       # the way back")]
pub struct Args {
    /// The file to write, which appears when it is complete; - for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Bytes at the end of a backup that tell it apart from every other.
const SUM: usize = 32;
/// It names trackers and their keys.
const OWNER_ONLY: u32 = 0o600;

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    if args.file.as_os_str() == "-" {
        if context.json {
            return Err(Failure::Usage("with --json the backup needs a file of its own, not -".into()));
        }
        fetch(context, &mut |part, context| context.console.out.write_all(part).map_err(Failure::Output))
            .await?;
        return Ok(0);
    }
    // Before anything is asked of the daemon: most mistakes are in the name.
    let target = NewFile::create(&args.file, OWNER_ONLY)?;
    let mut file = target.file();
    let failed = |source| Failure::Write { path: args.file.clone(), source };
    let backup = fetch(context, &mut |part, _| file.write_all(part).map_err(failed)).await?;
    target.publish().map_err(failed)?;
    context.answer(&backup, |backup, _| {
        let (torrents, size) = (count(backup.torrents as usize, "torrent"), human_bytes(backup.size_bytes));
        format!("Backed up {torrents} to {} ({size})\n", clean(&args.file.display().to_string()))
    })?;
    Ok(0)
}

type Put<'p> = dyn FnMut(&[u8], &mut Context<'_, '_>) -> Result<(), Failure> + 'p;

async fn fetch(context: &mut Context<'_, '_>, put: &mut Put<'_>) -> Result<Backup, Failure> {
    let client = context.waiting_client(context.patience());
    let made = client.backup(BackupParams {}).await?;
    let (mut offset, mut end) = (0, Vec::new());
    loop {
        let params = ReadBackupParams { id: made.id.clone(), offset };
        let part = client.read_backup(params).await?.data.0;
        if part.is_empty() {
            break;
        }
        offset += part.len() as u64;
        end.extend_from_slice(&part[part.len().saturating_sub(SUM)..]);
        end.drain(..end.len().saturating_sub(SUM));
        put(&part, context)?;
    }
    made.backup.check_end(offset, &end)?;
    Ok(made.backup)
}
