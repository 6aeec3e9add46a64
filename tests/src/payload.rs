//! Files that torrents are made of: the same bytes for the same seed, and the comparison with what
//! was downloaded.
use std::fs;
use std::path::{Path, PathBuf};

/// Name and files of a torrent, held in memory.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The torrent's name.
    pub name: String,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Paths relative to the folder that holds the torrent, and their content. A torrent of a single
    /// file has one, called `name`; else each path begins with `name`.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

impl Payload {
    /// A single file of `len` random bytes.
    pub fn single(name: &str, len: usize, piece_len: u32) -> Payload {
        let files = vec![(name.into(), random(name, len))];
        Payload { name: name.to_owned(), piece_len, files }
    }

    /// A folder of files.
    pub fn multi(name: &str, piece_len: u32, files: &[(&str, usize)]) -> Payload {
        let file = |(path, len): &(&str, usize)| {
            (Path::new(name).join(path), random(&format!("{name}/{path}"), *len))
        };
        Payload { name: name.to_owned(), piece_len, files: files.iter().map(file).collect() }
    }

    /// "lots": 200 small files in 5 folders.
    pub fn lots() -> Payload {
        let files: Vec<(String, usize)> = (0..200).map(|n| (format!("d{}/f{n}", n % 5), 10_000)).collect();
        let files: Vec<(&str, usize)> = files.iter().map(|(path, len)| (&**path, *len)).collect();
        Payload::multi("lots", 1 << 16, &files)
    }

    /// The shapes that every exchange must survive: a short last piece and an exact one, empty files
    /// at the ends and in the middle, nested folders, names in several scripts, one piece that spans
    /// many files, one file that spans many pieces.
    pub fn shapes() -> Vec<Payload> {
        const PIECE: u32 = 64 * 1024;
        let piece = PIECE as usize;
        let mut files = vec![("0-empty.bin", 0), ("nested/deeper/still/größe.bin", 3 * piece + 17)];
        files.extend([
            ("nested/файл.txt", 5),
            ("nested/日本語.txt", 1),
            ("nested/empty", 0),
            ("nested/a", 900),
        ]);
        files.extend([("nested/b", 1200), ("nested/c", 16_384), ("nested/d", 16_383), ("nested/e", 16_385)]);
        files.extend([("z/long.bin", 9 * piece), ("z/tail.bin", 4321), ("z/~empty", 0)]);
        vec![
            Payload::single("short last piece – ünïcode.bin", 13 * piece + 12_345, PIECE),
            Payload::single("exact.bin", 16 * piece, PIECE),
            Payload::multi("Bäume und 木", PIECE, &files),
        ]
    }

    /// Whether it is one file without a folder.
    pub fn is_single(&self) -> bool {
        self.files.len() == 1 && self.files[0].0 == Path::new(&self.name)
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.files.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All files as one stream, as pieces see them.
    pub fn stream(&self) -> Vec<u8> {
        self.files.iter().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// Writes the files below `folder`.
    pub fn write(&self, folder: &Path) {
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// What is different below `folder`, if anything: a missing file, an additional one that isn't
    /// empty, a wrong byte.
    pub fn difference(&self, folder: &Path) -> Option<String> {
        for (path, expected) in &self.files {
            let shown = path.display();
            let found = match fs::read(folder.join(path)) {
                Ok(found) => found,
                Err(error) => return Some(format!("{shown}: {error}")),
            };
            if found.len() != expected.len() {
                return Some(format!("{shown}: {} bytes, expected {}", found.len(), expected.len()));
            }
            if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
                return Some(format!("{shown}: differs at byte {at}"));
            }
        }
        let known = |path: &PathBuf| self.files.iter().any(|(known, _)| folder.join(known) == *path);
        let is_empty = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
        let found = files_below(&folder.join(&self.name));
        let extra = found.iter().find(|path| !known(path) && !is_empty(path));
        extra.map(|path| format!("{} does not belong here", path.display()))
    }

    /// The same without the empty files, which some peers don't create.
    pub fn without_empty(mut self) -> Payload {
        self.files.retain(|(_, bytes)| !bytes.is_empty());
        self
    }

    /// # Panics
    /// When the files below `folder` are not these, byte for byte.
    #[track_caller]
    pub fn assert_equals(&self, folder: &Path) {
        if let Some(difference) = self.difference(folder) {
            panic!("{}: {difference}", self.name);
        }
    }

    /// For each piece, whether the files below `folder` hold it; missing files hold nothing.
    pub fn pieces_on_disk(&self, folder: &Path) -> Vec<bool> {
        let mut same = Vec::new();
        for (path, expected) in &self.files {
            let found = fs::read(folder.join(path)).unwrap_or_default();
            same.extend(expected.iter().enumerate().map(|(at, byte)| found.get(at) == Some(byte)));
        }
        same.chunks(self.piece_len as usize).map(|piece| piece.iter().all(|same| *same)).collect()
    }
}

/// Every file below `folder`, which may not exist.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    if folder.is_file() {
        return vec![folder.to_owned()];
    }
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flat_map(|entry| files_below(&entry.unwrap().path())).collect()
}

/// Random bytes, the same for the same `seed`.
pub fn random(seed: &str, len: usize) -> Vec<u8> {
    let seed = seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}
