//! `wgoctl files`: shows or chooses which files of a torrent are wanted.
use wgo_api::ApiClient;
use wgo_api::params::{Choice, FilesParams};

use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::files_table;
use crate::units::{count, human_bytes};

/// Patterns of files, as `add` and `files` know them.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Chosen {
    /// Fetch these files only; may be repeated
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Don't fetch these files; may be repeated
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    /// Fetch these files before the others; may be repeated
    #[arg(long, value_name = "PATTERN")]
    high: Vec<String>,
    /// Fetch these files after the others; may be repeated
    #[arg(long, value_name = "PATTERN")]
    low: Vec<String>,
}

impl From<Chosen> for Choice {
    fn from(chosen: Chosen) -> Choice {
        let Chosen { only, skip, high, low } = chosen;
        Choice { only, skip, high, low, normal: Vec::new() }
    }
}

/// Which torrent, and what of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A PATTERN is a path of a file or folder of the torrent, in which * and ? stand for any characters; without a
/ in it also the name of a file or folder anywhere; or the number of a file, or FIRST-LAST.
Where several match a file, the order is only, normal, low, high, skip: the last one counts.
Bytes of unwanted files that come with their neighbours are kept in a hidden file beside them.

Examples:
  wgoctl files 3fa9                               # list them with their numbers
  wgoctl files 3fa9 --only '*.mkv' --high 'S01E01*'
  wgoctl files 3fa9 --skip Extras --skip 7-9
  wgoctl files 3fa9 --normal '*'                  # all of them again")]
pub struct Args {
    /// Info-hash, unique prefix of it, or exact name
    id: String,
    #[command(flatten)]
    chosen: Chosen,
    /// Fetch these files as usual; may be repeated
    #[arg(long, value_name = "PATTERN")]
    normal: Vec<String>,
    /// Fetch the first and last pieces of each file before its others
    #[arg(long, value_name = "ON|OFF", value_parser = on_or_off)]
    first_last: Option<bool>,
}

/// `on` or `off`.
pub(crate) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("either on or off".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { id, chosen, normal, first_last } = args;
    let choose = Choice { normal, ..chosen.into() };
    let changes = !choose.is_empty() || first_last.is_some();
    let result = context.client.files(FilesParams { id, choose, first_last }).await?;
    context.answer(&result, |result, terminal| {
        if !changes {
            return files_table(&result.files).render(terminal, true);
        }
        let wanted = result.files.iter().filter(|file| !file.pad);
        let wanted = wanted.filter(|file| file.priority != Some(wgo_api::torrent::FilePriority::Skip));
        let (number, bytes) = wanted.fold((0, 0), |(n, bytes), file| (n + 1, bytes + file.size_bytes));
        let all = result.files.iter().filter(|file| !file.pad).count();
        format!(
            "{}: {number} of {} wanted, {}\n",
            clean(&result.name),
            count(all, "file"),
            human_bytes(bytes)
        )
    })?;
    Ok(0)
}
