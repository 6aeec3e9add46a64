//! `wgoctl label`: gives labels to torrents, or takes them away.
use wgo_api::ApiClient;
use wgo_api::labels;
use wgo_api::params::LabelParams;

use crate::act::report;
use crate::context::Context;
use crate::failure::Failure;

/// Torrents, and which labels.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("labels").args(["add", "remove", "set"]).required(true).multiple(true))]
#[command(after_help = "\
A label is a word or some words of yours, without commas; `wgoctl list --filter label=tv` finds
what has it. Limits and seeding goals that the daemon's configuration says of a label count at once;
the folder, the priority and whether it starts are for what is added with it.

Examples:
  wgoctl label 3fa9 --add tv --add hd
  wgoctl label 3fa9 77c2 --remove hd
  wgoctl label 3fa9 --set tv,archive    # these and no others
  wgoctl label 3fa9 --set ''            # none
  wgoctl label --all --add old")]
pub struct Args {
    /// Info-hashes, unique prefixes of them, or exact names
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All torrents
    #[arg(long)]
    all: bool,
    /// Give this label; may be repeated
    #[arg(long, value_name = "LABEL", value_parser = label)]
    add: Vec<String>,
    /// Take this label away; may be repeated
    #[arg(long, value_name = "LABEL")]
    remove: Vec<String>,
    /// Exactly these labels; '' for none
    #[arg(long, value_name = "LABEL,…", conflicts_with_all = ["add", "remove"])]
    set: Option<String>,
}

/// One label.
pub(crate) fn label(text: &str) -> Result<String, String> {
    labels::check(text).map_err(|error| error.message)?;
    Ok(text.to_owned())
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Args { ids, all, add, remove, set } = args;
    let set = set.map(|list| match list.trim() {
        "" => Vec::new(),
        list => list.split(',').map(|label| label.trim().to_owned()).collect(),
    });
    let params = LabelParams { ids, all, add, remove, set };
    params.check().map_err(|error| Failure::Usage(error.message))?;
    let result = context.client.label(params).await?;
    report(context, &result, "Labelled")
}
