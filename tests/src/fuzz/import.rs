//! Sessions of other clients that `wgoctl import` reads.
use wgo_proto::path::SafePath;
use wgoctl::taken::taken;

use super::Reader;
use super::places::assert_stays_below;

/// A session tells of no more pieces and files than its torrent has, and of no file outside of its folder.
pub(super) fn import(data: &[u8]) {
    let mut reader = Reader::new(data);
    let torrent = reader.sized();
    let taken = taken(torrent, reader.rest());
    for one in taken {
        let info = &one.metainfo.info;
        let (pieces, files) = (info.layout.piece_count(), info.files.len());
        if let Some(have) = &one.have {
            have.check_invariants();
            assert_eq!(have.len(), pieces);
        }
        assert!(one.folder.as_os_str().is_empty() || one.folder.is_absolute(), "{:?}", one.folder);
        for list in [one.known.modified.len(), one.known.priorities.len(), one.known.paths.len()] {
            assert!(list == 0 || list == files, "{list} for {files} files");
        }
        info.files.iter().for_each(|file| assert_stays_below(file.path.as_str()));
        for path in one.known.paths.iter().flatten() {
            assert_stays_below(path);
            assert!(SafePath::exact(path).is_ok());
        }
        assert!(one.known.final_folder.is_none_or(|folder| folder.is_absolute()));
        one.known.name.iter().for_each(|name| assert_stays_below(name));
    }
}
