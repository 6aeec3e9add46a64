//! `wgoctl backup`: fetches a backup of the whole session and writes it where the caller says, as the caller.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use wgo_api::ApiClient;
use wgo_api::params::{BackupParams, ReadBackupParams};
use wgo_api::result::Backup;

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
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
    let target = Target::create(&args.file)?;
    let mut file = &target.file;
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

/// A file that takes its name when it is complete.
struct Target {
    file: File,
    /// Its name until then; removed if it never gets the other.
    unborn: PathBuf,
    path: PathBuf,
}

impl Target {
    fn create(path: &Path) -> Result<Target, Failure> {
        let failed = |source| Failure::Write { path: path.to_owned(), source };
        let path = match fs::canonicalize(path) {
            Ok(found) if fs::metadata(&found).map_err(failed)?.is_file() => found,
            Ok(_) => {
                let shown = path.display();
                return Err(Failure::Usage(format!(
                    "{shown} is not a regular file; - writes to standard output"
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        let Some(name) = path.file_name() else {
            return Err(Failure::Usage(format!("{} names no file", path.display())));
        };
        let mut unborn = std::ffi::OsString::from(".");
        unborn.push(name);
        unborn.push(format!(".{}.part", std::process::id()));
        let unborn = path.with_file_name(unborn);
        let how = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unborn);
        Ok(Target { file: how.map_err(failed)?, unborn, path })
    }

    /// Makes it durable, then gives it its name, then makes that durable.
    fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.unborn, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // After `publish` there is none.
        let _ = fs::remove_file(&self.unborn);
    }
}
