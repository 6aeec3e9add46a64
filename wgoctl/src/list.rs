//! `wgoctl list`: torrents by filter, order and columns.
use wgo_api::ApiClient;
use wgo_api::params::ListParams;
use wgo_api::suggest::nearest;
use wgo_api::torrent::{Fields, Filter, State, Torrent};

use crate::context::Context;
use crate::failure::Failure;
use crate::table::Table;

mod columns;
pub(crate) use columns::{Column, column, columns, rank};

/// Which torrents, and what of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Filters: state=downloading,seeding   label=tv   or text that occurs in the name; all must hold.
Columns: name state progress size done down up downloaded uploaded wasted eta ratio peers seeds
folder labels added completed priority queue goals reason sequential private error id hash hash_v2

Examples:
  wgoctl list
  wgoctl list --filter state=downloading --sort -down
  wgoctl list --columns name,ratio,folder --filter label=tv
  wgoctl list --ids --filter state=error | xargs -r wgoctl start")]
pub struct Args {
    /// state=…, label=… or text in the name; may be repeated
    #[arg(long, short, value_name = "FILTER")]
    filter: Vec<String>,
    /// Order by this column; with - before it from the largest down
    #[arg(long, short, value_name = "COLUMN", default_value = "name", allow_hyphen_values = true)]
    sort: String,
    /// Columns to show, with commas between
    #[arg(long, short, value_name = "COLUMNS")]
    columns: Option<String>,
    /// Print nothing but info-hashes, one a line
    #[arg(long, conflicts_with = "columns")]
    ids: bool,
    /// Leave out the line of titles
    #[arg(long)]
    no_header: bool,
}

/// Titles of the usual columns that a narrow terminal does without, the first first.
pub(crate) const EXPENDABLE: &[&str] = &["RATIO", "PEERS", "ID", "SIZE", "ETA", "UP", "DOWN", "STATE"];

const DEFAULT_COLUMNS: &str = "id,name,state,progress,size,down,up,eta,ratio,peers";

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let filter = filter(&args.filter)?;
    let shown = columns(args.columns.as_deref().unwrap_or(DEFAULT_COLUMNS))?;
    let (sort, descending) = match args.sort.strip_prefix('-') {
        Some(name) => (name, true),
        None => (args.sort.as_str(), false),
    };
    let sort = columns::column(sort)?;
    // The text shows the columns and the order needs its own; JSON has everything unless columns are named.
    let fields = |with_sort: Option<&Column>| {
        let all = shown.iter().copied().chain(with_sort);
        Fields::from_names(all.flat_map(|column| column.fields).copied()).unwrap_or_default()
    };
    let everything = context.json && args.columns.is_none();
    let asked = (!everything).then(|| {
        if args.ids {
            Fields::from_names(sort.fields.iter().copied()).unwrap_or_default()
        } else {
            fields(Some(sort))
        }
    });
    let mut result = context.client.list(ListParams { filter, fields: asked, since: None }).await?;
    result.torrents.sort_by(|a, b| {
        let order = (sort.compare)(&a.torrent, &b.torrent);
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| a.torrent.info_hash.cmp(&b.torrent.info_hash))
    });
    if !everything {
        result.torrents.iter_mut().for_each(|row| row.fields = fields(None));
    }
    context.answer(&result, |result, terminal| {
        let torrents: Vec<&Torrent> = result.torrents.iter().map(|row| &row.torrent).collect();
        if args.ids {
            return torrents.iter().map(|torrent| format!("{}\n", torrent.info_hash)).collect();
        }
        let table = tabulate(&shown, &torrents);
        // Columns that were asked for by name stay.
        let table = if args.columns.is_none() { table.expendable(EXPENDABLE) } else { table };
        table.render(terminal, !args.no_header)
    })?;
    Ok(0)
}

/// The table of these columns.
pub(crate) fn tabulate(columns: &[&Column], torrents: &[&Torrent]) -> Table {
    let mut table = Table::new();
    for column in columns {
        table = table.column(column.title, column.align, column.flexible);
    }
    for torrent in torrents {
        table.row(columns.iter().map(|column| (column.cell)(torrent)).collect());
    }
    table
}

/// What stands before the `=` of a filter.
const KEYS: [&str; 3] = ["state", "label", "name"];

/// The filter that the options describe.
pub(crate) fn filter(given: &[String]) -> Result<Filter, Failure> {
    let mut filter = Filter::default();
    for text in given {
        match text.split_once('=') {
            Some(("state", states)) => {
                for state in states.split(',') {
                    filter.states.push(state.trim().parse::<State>().map_err(Failure::Usage)?);
                }
            }
            Some(("label", label)) => filter.labels.push(label.to_owned()),
            Some(("name", name)) => text_filter(&mut filter, name)?,
            // A slip would look for a text that no name has, and find nothing.
            Some((slip, value)) if nearest(slip, KEYS).is_some() => {
                let meant = nearest(slip, KEYS).unwrap_or_default();
                return Err(Failure::Usage(format!(
                    "unknown filter {slip:?}, did you mean {meant}={value}? Filters are state=, label= and name=; \
                     name={text} looks for that text"
                )));
            }
            _ => text_filter(&mut filter, text)?,
        }
    }
    Ok(filter)
}

fn text_filter(filter: &mut Filter, text: &str) -> Result<(), Failure> {
    match filter.text.replace(text.to_owned()) {
        None => Ok(()),
        Some(first) => {
            Err(Failure::Usage(format!("two texts to look for, {first:?} and {text:?}: give one")))
        }
    }
}
