//! `wgoctl create`: makes a torrent file of a file or a folder, here, without the daemon.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use wgo_api::ApiClient;
use wgo_api::params::{AddParams, Check, Source, StatusParams};
use wgo_api::result::{AddStatus, Added};
use wgo_api::units::Size;
use wgo_proto::metainfo::Metainfo;
use wgo_proto::metainfo::draft::{
    Draft, DraftError, InfoKeys, MAX_NEW_PIECE_LEN, OuterKeys, Shape, Version, automatic_piece_len, torrent,
};
use wgo_proto::path::safe_component;
use wgo_proto::{BLOCK_LEN, urls};

use crate::add::absolute;
use crate::clean::clean;
use crate::context::Context;
use crate::failure::Failure;
use crate::new_file::NewFile;
use crate::progress::{PERIOD, USUAL_COLUMNS, bar, redraw};
use crate::show::Facts;
use crate::table::cut;
use crate::torrent_file::{FileDocument, document};
use crate::units::{human_bytes, human_rate, human_secs, percent};

mod exclude;
mod hash;
mod read;
#[cfg(test)]
mod tests;
mod walk;

use exclude::{Exclude, Excludes};
use walk::{Listing, Stamp, Walk};

/// What to make a torrent of, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// The file, or the folder with all that is in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The torrent file to write; - for standard output [default: NAME.torrent in this folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For every client: a v1 torrent, which is the default
    #[arg(long, group = "version")]
    v1: bool,
    /// For clients of BitTorrent v2 only: a Merkle tree for each file, no pad files
    #[arg(long, group = "version")]
    v2: bool,
    /// Both in one torrent
    #[arg(long, group = "version")]
    hybrid: bool,
    /// Announce to this tracker; several in one, with commas, are a tier, each --tracker is the next tier
    #[arg(long, short, value_name = "URL[,URL…]")]
    tracker: Vec<String>,
    /// Where else the content is: http or https, may be repeated
    #[arg(long, value_name = "URL")]
    web_seed: Vec<String>,
    /// Peers come from the trackers alone: no DHT, no peer exchange
    #[arg(long, short)]
    private: bool,
    /// Name the site it is for, which gives it an info-hash of its own
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// A remark for whoever reads the torrent file
    #[arg(long, short, value_name = "TEXT")]
    comment: Option<String>,
    /// Don't say when it was made
    #[arg(long)]
    no_date: bool,
    /// Don't say what made it
    #[arg(long)]
    no_creator: bool,
    /// Bytes of a piece, a power of two from 16 KiB to 128 MiB, like "1 MiB" [default: by the size, see below]
    #[arg(long, value_name = "SIZE")]
    piece_length: Option<Size>,
    /// The torrent's name [default: that of the file or folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Leave out files and folders of such names, or of such paths if there is a / in it; may be repeated
    #[arg(long, value_name = "GLOB", value_parser = exclude::parse)]
    exclude: Vec<Exclude>,
    /// Let each file of a v1 torrent begin a piece, by pad files, as in a hybrid
    #[arg(long, conflicts_with = "v2")]
    align: bool,
    /// Don't record which files are executable
    #[arg(long)]
    no_attributes: bool,
    /// Replace the torrent file if there is one
    #[arg(long)]
    force: bool,
    /// Add it to the daemon too, which seeds at once
    #[arg(long)]
    add: bool,
}

const AFTER: &str = "\
Every file counts, hidden ones too, and links are followed; what is no regular file is left out,
and told of. Files keep their order on every machine, so the same content and options give the
same info-hash: that of libtorrent, if it takes them in the order of their names, too.

Without --v2 and --hybrid it is a v1 torrent, which every client and tracker takes. A hybrid has
a tree of hashes for each file beside it, by which v2 clients find files again that other torrents
have; but some clients (Transmission 3.00) cannot read it, others (aria2) download its pad files,
and many private trackers refuse it.

A piece has 16 KiB in torrents of up to 2.6 MB, and twice as much with each fourfold size:
256 KiB up to 687 MB, 1 MiB up to 11 GB, 4 MiB up to 176 GB, 16 MiB from 704 GB on.

Examples:
  wgoctl create 'Album (2026)' --tracker https://tracker.example/announce
  wgoctl create talk.mkv --private --source SITE -t https://site.example/KEY/announce
  wgoctl create debian --hybrid --exclude '*.tmp' --exclude .git -o debian.torrent --add
  wgoctl create data --piece-length '4 MiB' -o - | ssh nas 'wgoctl add -'";

/// What `create` prints as JSON.
#[derive(Debug, Serialize)]
struct Created {
    /// The torrent file.
    file: PathBuf,
    #[serde(flatten)]
    document: FileDocument,
    /// What was left out without being asked to.
    skipped: Vec<Skipped>,
    /// With `--add`: what the daemon made of it.
    added: Option<Added>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    path: PathBuf,
    why: &'static str,
}

/// Where the torrent goes.
enum Output {
    Stdout,
    File(PathBuf),
}

pub(crate) async fn run(args: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let outer = outer_keys(&args)?;
    let root = args.path.as_path();
    let is_folder =
        std::fs::metadata(root).map_err(|source| Failure::File { path: root.to_owned(), source })?.is_dir();
    let name = name(&args)?;
    let output = output(&args, &name, context)?;
    if args.add {
        if args.v2 {
            // To go when the daemon transfers them; a folder of one file is then added as that file.
            let why = "--add: wgod does not transfer v2-only torrents yet; --hybrid has both";
            return Err(Failure::Usage(why.to_owned()));
        }
        // What would fail then should fail before an hour of hashing.
        absolute(root)?;
        context.client.status(StatusParams { ids: Vec::new(), torrents: false }).await?;
    }
    let previous = match &output {
        Output::File(path) => std::fs::metadata(path).ok().map(|meta| Stamp::of(&meta)),
        Output::Stdout => None,
    };
    let excludes = Excludes::new(&args.exclude);
    let walk = Walk { exclude: &excludes, attributes: !args.no_attributes, output: previous };
    let listing = walk.list(root, &name)?;
    for text in excludes.idle() {
        context.console.note(&format!("note: --exclude {} matches nothing here", clean(text)));
    }
    for (path, what) in &listing.skipped {
        context.console.note(&format!("note: left out {}: {what}", clean(&path.display().to_string())));
    }
    let (bytes, meta) = make(&args, name, is_folder, &listing, &outer, context)?;
    let skipped = listing.skipped.into_iter().map(|(path, why)| Skipped { path, why }).collect();
    if args.v2
        && is_folder
        && meta.info.files.len() == 1
        && !meta.info.files.iter().any(|file| file.path.as_str().contains('/'))
    {
        let file = meta.info.files.first().map(|file| clean(file.path.as_str())).unwrap_or_default();
        context
            .console
            .note(&format!("note: a v2 torrent of one file has no folder: clients look for {file} itself"));
    }
    let document = document(meta);
    let file = match output {
        Output::Stdout => {
            context.console.out.write_all(&bytes).map_err(Failure::Output)?;
            context.console.out.flush().map_err(Failure::Output)?;
            let facts = Facts::of_file(&document).render(Default::default());
            context.console.note(facts.trim_end());
            PathBuf::from("-")
        }
        Output::File(path) => write(&path, &bytes, args.force).map(|()| path)?,
    };
    let mut created = Created { file, document, skipped, added: None };
    let mut failure = None;
    if args.add {
        match add(&bytes, &save_folder(root), context).await {
            Ok(added) => created.added = Some(added),
            Err(error) => failure = Some(error),
        }
    }
    if created.file.as_os_str() != "-" {
        report(&created, context)?;
    }
    match failure {
        // The torrent is there: that the daemon has it not is told beside it.
        Some(failure) => {
            context.console.complain(&failure, false);
            Ok(failure.exit_code())
        }
        None => Ok(0),
    }
}

/// The torrent file, and what it says.
fn make(
    args: &Args,
    name: String,
    is_folder: bool,
    listing: &Listing,
    outer: &OuterKeys,
    context: &mut Context<'_, '_>,
) -> Result<(Vec<u8>, Metainfo), Failure> {
    let total: u64 = listing.files.iter().map(|file| file.len).sum();
    if total == 0 {
        let why = match listing.files.len() {
            0 => "there is no file in it to make a torrent of",
            _ => "all its files are empty: there is nothing to share",
        };
        return Err(Failure::Unfit { path: args.path.clone(), why: why.to_owned() });
    }
    let shown = name.clone();
    let shape = Shape {
        version: match (args.v1, args.v2, args.hybrid) {
            (_, true, _) => Version::V2,
            (_, _, true) => Version::Hybrid,
            _ => Version::V1,
        },
        name,
        folder: is_folder,
        piece_len: piece_len(args.piece_length, total)?,
        aligned: args.align,
    };
    let unfit = |why: String| Failure::Unfit { path: args.path.clone(), why };
    let draft = Draft::new(shape, listing.files.clone()).map_err(|error| unfit(advice(&error)))?;
    let begun = Instant::now();
    let hashed = hash::pieces(&draft, &listing.found, PERIOD, |done| {
        if context.terminal().can_redraw {
            let columns = context.terminal().columns.unwrap_or(USUAL_COLUMNS);
            let line = line(done, total, begun.elapsed().as_secs_f64(), &shown);
            redraw(context, &cut(&line, columns.saturating_sub(1)));
        }
    });
    if context.terminal().can_redraw {
        redraw(context, "");
    }
    let hashes = hashed?;
    unchanged(listing)?;
    let info = draft.info(&hashes, &InfoKeys { private: args.private, source: args.source.clone() });
    let bytes = torrent(&info, draft.layers(&hashes).as_deref(), outer);
    // What this program can't read it must not hand out.
    let meta =
        Metainfo::parse(&bytes).map_err(|error| unfit(format!("made an unusable torrent: {error}")))?;
    Ok((bytes, meta))
}

/// Every file is what it was when it was found.
fn unchanged(listing: &Listing) -> Result<(), Failure> {
    for found in &listing.found {
        match std::fs::metadata(&found.path) {
            Ok(meta) if Stamp::of(&meta) == found.stamp => {}
            _ => return Err(read::changed(&found.path)),
        }
    }
    Ok(())
}

fn advice(error: &DraftError) -> String {
    match error {
        DraftError::Layout(wgo_proto::layout::LayoutError::TooManyPieces { .. }) => {
            format!("{error}; ask for longer pieces with --piece-length, or leave small files out")
        }
        _ => error.to_string(),
    }
}

/// `[=====>   ] 42.0%  1.2 GB of 2.9 GB  1.4 GB/s  2 s left  name`
fn line(done: u64, total: u64, secs: f64, name: &str) -> String {
    let share = done as f64 / total as f64;
    let rate = if secs > 0.0 { done as f64 / secs } else { 0.0 };
    let left =
        if rate > 0.0 { human_secs((total.saturating_sub(done) as f64 / rate) as u64) } else { "-".into() };
    format!(
        "[{}] {}  {} of {}  {}  {left} left  {}",
        bar(share),
        percent(share),
        human_bytes(done),
        human_bytes(total),
        human_rate(rate as u64),
        clean(name),
    )
}

fn piece_len(wanted: Option<Size>, total: u64) -> Result<u32, Failure> {
    let Some(Size(len)) = wanted else { return Ok(automatic_piece_len(total)) };
    let len = u32::try_from(len).ok().filter(|len| len.is_power_of_two());
    len.filter(|len| (BLOCK_LEN..=MAX_NEW_PIECE_LEN).contains(len)).ok_or_else(|| {
        let given = wanted.unwrap_or_default();
        Failure::Usage(format!(
            "--piece-length {given}: a piece has a power of two of bytes, from \"16 KiB\" to \"128 MiB\""
        ))
    })
}

/// The torrent's name: one under which clients store it as it is.
fn name(args: &Args) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: args.path.clone(), source };
    let given = match &args.name {
        Some(name) => name.clone().into(),
        None => match args.path.file_name() {
            Some(name) if !args.path.ends_with("..") => name.to_owned(),
            // `.`, `..` and `/` have their names elsewhere.
            _ => args.path.canonicalize().map_err(failed)?.file_name().unwrap_or_default().to_owned(),
        },
    };
    match given.to_str().filter(|name| safe_component(name.as_bytes()) == *name) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Failure::Usage(format!(
            "{given:?} cannot be the name of a torrent: it must be a file name in UTF-8 without control characters \
             and \\; give another one with --name"
        ))),
    }
}

fn output(args: &Args, name: &str, context: &Context<'_, '_>) -> Result<Output, Failure> {
    let path = match &args.output {
        Some(path) if path.as_os_str() == "-" && context.json => {
            return Err(Failure::Usage("with --json the torrent needs a file of its own, not -".into()));
        }
        Some(path) if path.as_os_str() == "-" => return Ok(Output::Stdout),
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{name}.torrent")),
    };
    match path.symlink_metadata() {
        Ok(_) if !args.force => Err(Failure::Usage(format!(
            "{} is there already; --force replaces it, -o writes to another file",
            path.display()
        ))),
        // Begun and given up: that it can't be written is told before anything is hashed.
        _ => NewFile::create(&path, READABLE).map(|_| Output::File(path)),
    }
}

/// As programs make files that hold no secrets: the umask decides.
const READABLE: u32 = 0o666;

fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let failed = |source| Failure::Write { path: path.to_owned(), source };
    let target = NewFile::create(path, READABLE)?;
    target.file().write_all(bytes).map_err(failed)?;
    match force {
        true => target.publish(),
        false => target.publish_new(),
    }
    .map_err(failed)
}

fn outer_keys(args: &Args) -> Result<OuterKeys, Failure> {
    let mut tiers = Vec::new();
    for tier in &args.tracker {
        let urls: Vec<&str> = tier.split(',').map(str::trim).collect();
        if let Some(url) = urls.iter().find(|url| urls::tracker(url).is_none()) {
            let url = clean(url);
            return Err(Failure::Usage(format!(
                "--tracker {url:?} is no tracker's URL: http://, https:// or udp://, and a host"
            )));
        }
        tiers.push(urls);
    }
    if let Some(url) = args.web_seed.iter().find(|url| urls::web_seed(url).is_none()) {
        let url = clean(url);
        return Err(Failure::Usage(format!(
            "--web-seed {url:?} is no URL of a web seed: http:// or https://, and a host"
        )));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    Ok(OuterKeys {
        tiers: urls::tiers(tiers),
        web_seeds: urls::web_seeds(&args.web_seed),
        comment: args.comment.clone(),
        created_by: (!args.no_creator).then(|| format!("wgoctl/{}", env!("CARGO_PKG_VERSION"))),
        creation_date: now.filter(|_| !args.no_date).and_then(|now| i64::try_from(now.as_secs()).ok()),
    })
}

/// The folder in which a client finds the content: that which holds `root`.
fn save_folder(root: &Path) -> PathBuf {
    match root.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) if !root.ends_with("..") => parent.to_owned(),
        _ => root.join(".."),
    }
}

async fn add(bytes: &[u8], folder: &Path, context: &Context<'_, '_>) -> Result<Added, Failure> {
    let params = AddParams {
        sources: vec![Source::of_file(bytes)],
        folder: Some(absolute(folder)?),
        check: Check::Quick,
        ..AddParams::default()
    };
    let result = context.client.add(params).await?;
    let added = result.torrents.into_iter().next();
    match added {
        Some(Added { status: AddStatus::Failed, error, kind, .. }) => {
            let kind = kind.unwrap_or(wgo_api::Kind::Other);
            let why = error.unwrap_or_else(|| "failed for no given reason".into());
            Err(wgo_api::ApiError::new(kind, format!("made, but not added: {why}")).into())
        }
        Some(added) => Ok(added),
        None => Err(wgo_api::ApiError::new(wgo_api::Kind::Internal, "wgod gave no answer").into()),
    }
}

fn report(created: &Created, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    context.answer(created, |created, terminal| {
        let file = created.file.display().to_string();
        let mut facts = Facts::of_file(&created.document).after("Torrent file", file);
        match created.added.as_ref().map(|added| added.status) {
            Some(AddStatus::Added) => facts.add("Added", "to the daemon"),
            Some(AddStatus::Present) => facts.add("Present", "in the daemon already"),
            _ => {}
        }
        facts.render(terminal)
    })
}
