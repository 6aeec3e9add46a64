//! The IP filter of the daemon: reads the operator's lists, and says of every address whether we may have to do
//! with it. Who dials, accepts or hears of peers asks here.
//!
//! All lists are read or none: a filter with a hole is none. At the start the daemon does not run without one that it was
//! told to use; later the old one stays in force.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use flate2::bufread::MultiGzDecoder;
use wgo_core::ip_filter::{Builder, IpFilter};
use wgo_proto::ip_list::{BadLine, Line, line};

use crate::clock::unix_now;

/// Bytes of a list, unpacked: ten times the longest that are about. Also what keeps a packed one from unpacking
/// for ever.
const MAX_TEXT: u64 = 512 << 20;
/// Ranges of all lists together, 64 MiB of IPv4.
const MAX_RANGES: usize = 8_000_000;
/// Bytes of a line that are looked at; what is longer is none.
const MAX_LINE: usize = 4096;
/// Bad lines that are logged of each list.
const SHOWN_BAD: u64 = 5;
/// What packed files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the IP filter {} can't be used: {why}", path.display())]
pub struct Unusable {
    path: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{error}{}", hint(error))]
    Io {
        #[from]
        error: io::Error,
    },
    #[error("it unpacks to more than {} MiB; is it a list?", MAX_TEXT >> 20)]
    TooLong,
    #[error("there would be more than {MAX_RANGES} ranges")]
    TooMany,
    #[error(
        "none of its {bad} lines names addresses in a notation that is known (the first, line {line}: {why}); is it a list?"
    )]
    NoList { bad: u64, line: u64, why: BadLine },
}

/// What to do about a file that can't be read.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the user that runs wgod must be able to read it, and if `network.ip_filter` named another folder when wgod was started, a restart lets it in there"
        }
        io::ErrorKind::NotFound => "; put it there, or take it out of `network.ip_filter`",
        io::ErrorKind::UnexpectedEof => "; it is cut off, get it again",
        _ => "",
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    filter: Arc<IpFilter>,
    files: usize,
    bad_lines: u64,
    /// Unix seconds.
    loaded_at: u64,
}

impl Lists {
    /// Reads lists, and logs what is wrong in them. Takes about a second for a million ranges.
    ///
    /// # Errors
    /// One can't be read, or is none.
    pub fn read(paths: &[PathBuf]) -> Result<Lists, Unusable> {
        let mut builder = Builder::default();
        let mut bad_lines = 0;
        for path in paths {
            let opened = File::open(path).map_err(Why::from);
            let read = opened.and_then(|file| read(path, file, &mut builder));
            bad_lines += read.map_err(|why| Unusable { path: path.clone(), why })?;
        }
        let filter = Arc::new(builder.build());
        if !paths.is_empty() {
            tracing::info!(
                files = paths.len(),
                ranges = filter.ranges(),
                bad_lines,
                memory = filter.memory(),
                "IP filter loaded"
            );
        }
        Ok(Lists { filter, files: paths.len(), bad_lines, loaded_at: unix_now().unsigned_abs() })
    }

    /// Lines that were left out.
    pub fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Reads one list from wherever it is, packed or not; `name` is for messages.
    ///
    /// # Errors
    /// It can't be read, or is none.
    pub fn read_from(name: &Path, list: impl Read) -> Result<Lists, Unusable> {
        let mut builder = Builder::default();
        let bad_lines =
            read(name, list, &mut builder).map_err(|why| Unusable { path: name.to_owned(), why })?;
        Ok(Lists {
            filter: Arc::new(builder.build()),
            files: 1,
            bad_lines,
            loaded_at: unix_now().unsigned_abs(),
        })
    }

    /// What they block.
    pub fn filter(&self) -> &IpFilter {
        &self.filter
    }
}

/// Adds a list; returns how many of its lines are bad.
fn read(path: &Path, list: impl Read, builder: &mut Builder) -> Result<u64, Why> {
    let mut file = BufReader::with_capacity(64 * 1024, list);
    let packed = file.fill_buf()?.starts_with(&GZIP);
    let text: Box<dyn Read + '_> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    // One byte more than there may be, to tell.
    let mut text = BufReader::with_capacity(64 * 1024, text.take(MAX_TEXT + 1));
    let before = builder.len();
    let (mut number, mut bad, mut first_bad, mut len) = (0, 0, None, 0);
    let mut buf = Vec::new();
    loop {
        buf.clear();
        let read = text.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut buf)?;
        if read == 0 {
            break;
        }
        let mut whole = read as u64;
        if !buf.ends_with(b"\n") && read == MAX_LINE {
            whole += text.skip_until(b'\n')? as u64;
        }
        number += 1;
        len += whole;
        if len > MAX_TEXT {
            return Err(Why::TooLong);
        }
        // A line that is cut off may end in the middle of an address.
        let said = if whole > read as u64 { Err(BadLine::NoAddresses) } else { line(&buf) };
        match said {
            Ok(Line::Blocked(first, last)) => builder.block(first, last),
            Ok(Line::Nothing | Line::Allowed) => {}
            Err(why) => {
                first_bad.get_or_insert((number, why));
                bad += 1;
                if bad <= SHOWN_BAD {
                    tracing::warn!("IP filter, {}:{number}: {why}; the line is left out", path.display());
                }
            }
        }
        if builder.len() > MAX_RANGES {
            return Err(Why::TooMany);
        }
    }
    if bad > SHOWN_BAD {
        tracing::warn!("IP filter, {}: {bad} bad lines in all are left out", path.display());
    }
    match first_bad {
        Some((line, why)) if builder.len() == before => Err(Why::NoList { bad, line, why }),
        _ => Ok(bad),
    }
}

/// The filter in force. Asking takes a lock that nobody holds for longer than it takes to ask.
#[derive(Debug, Default)]
pub struct IpFilters {
    lists: RwLock<Lists>,
    blocked: AtomicU64,
}

impl IpFilters {
    /// With these lists.
    pub fn new(lists: Lists) -> IpFilters {
        IpFilters { lists: RwLock::new(lists), blocked: AtomicU64::new(0) }
    }

    /// Whether we may have to do with an address. One that we may not is counted.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let blocks = self.lists.read().unwrap_or_else(PoisonError::into_inner).filter.blocks(ip);
        if blocks {
            self.count(1);
        }
        !blocks
    }

    /// Others asked the filter by themselves: so many addresses are blocked.
    pub fn count(&self, blocked: u64) {
        self.blocked.fetch_add(blocked, Ordering::Relaxed);
    }

    /// The filter itself, for those who ask it often.
    pub fn filter(&self) -> Arc<IpFilter> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).filter.clone()
    }

    /// Other lists from now on.
    pub fn replace(&self, lists: Lists) {
        *self.lists.write().unwrap_or_else(PoisonError::into_inner) = lists;
    }

    /// Ranges, and how many addresses were blocked.
    pub fn counted(&self) -> (u64, u64) {
        let ranges = self.lists.read().unwrap_or_else(PoisonError::into_inner).filter.ranges();
        (ranges as u64, self.blocked.load(Ordering::Relaxed))
    }

    /// As `status` shows it; none without lists.
    pub fn shown(&self) -> Option<wgo_api::result::IpFilter> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        (lists.files > 0).then(|| wgo_api::result::IpFilter {
            files: lists.files as u32,
            ranges: lists.filter.ranges() as u64,
            bad_lines: lists.bad_lines,
            loaded_at: lists.loaded_at,
            blocked: self.blocked.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn blocks(filters: &IpFilters, ip: &str) -> bool {
        !filters.allows(ip.parse().unwrap())
    }

    #[test]
    fn lists_of_all_kinds_are_read_together_packed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        // Two members, as of files that were joined.
        let p2p = [gzip(b"# list\r\nSome\xe4:1.2.3.0-1.2.3.9\r\n"), gzip(b"x:5.0.0.0-5.0.0.1")].concat();
        let paths = [
            put("a.p2p.gz", &p2p),
            put(
                "ipfilter.dat",
                b"001.002.004.000 - 001.002.004.255 , 100 , x\n9.9.9.9 - 9.9.9.9 , 200 , y\n",
            ),
            put("c.txt", b"10.0.0.0/8\nnonsense\n2001:db8::/32\n"),
        ];
        let filters = IpFilters::new(Lists::read(&paths).unwrap());
        for ip in ["1.2.3.5", "5.0.0.1", "1.2.4.255", "10.9.8.7", "2001:db8::7", "::ffff:10.0.0.1"] {
            assert!(blocks(&filters, ip), "{ip}");
        }
        for ip in ["1.2.3.10", "9.9.9.9", "11.0.0.0", "2001:db9::"] {
            assert!(!blocks(&filters, ip), "{ip}");
        }
        let shown = filters.shown().unwrap();
        assert_eq!((shown.files, shown.ranges, shown.bad_lines, shown.blocked), (3, 5, 1, 6));
        assert!(shown.loaded_at > 0);
        filters.replace(Lists::read(&[]).unwrap());
        assert!(!blocks(&filters, "1.2.3.5") && filters.shown().is_none());
    }

    #[test]
    fn what_is_no_list_or_cut_off_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let said = |bytes: &[u8]| {
            let path = dir.path().join("list");
            std::fs::write(&path, bytes).unwrap();
            Lists::read(&[path]).map(|lists| lists.bad_lines).map_err(|error| error.to_string())
        };
        assert_eq!(said(b""), Ok(0));
        assert_eq!(said(b"# nothing today\n"), Ok(0));
        assert_eq!(said(b"what is this?\n1.2.3.4\n"), Ok(1));
        let page = said(b"\n<html>\n<h1>404</h1>\n").unwrap_err();
        assert!(page.contains("none of its 2 lines") && page.contains("line 2"), "{page}");
        let mut packed = gzip(&b"x:1.2.3.4-1.2.3.5\n".repeat(1000));
        packed.truncate(packed.len() - 9);
        assert!(said(&packed).unwrap_err().contains("it is cut off"));
        let missing = Lists::read(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(missing.contains("none can't be used") && missing.contains("put it there"), "{missing}");
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_is_one_bad_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.gz");
        let mut long = b"1.2.3.4\n".to_vec();
        long.extend(vec![b'a'; 3 << 20]);
        long.extend(b":9.9.9.9-9.9.9.9\n5.5.5.5\n");
        std::fs::write(&path, gzip(&long)).unwrap();
        let lists = Lists::read(&[path]).unwrap();
        assert_eq!((lists.filter.ranges(), lists.bad_lines), (2, 1));
    }
}
