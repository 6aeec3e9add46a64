//! The modes that new files and folders of torrents get (`[storage] file_mode`, `folder_mode`).
use std::sync::atomic::{AtomicU32, Ordering};

/// Permission bits; `None` leaves them to the umask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Of files. Those that are to be executable get those bits where they can be read.
    pub file: Option<u16>,
    /// Of folders; may have setgid.
    pub folder: Option<u16>,
}

impl Modes {
    /// Of one file.
    pub(super) fn of_file(self, executable: bool) -> Option<u32> {
        let mode = u32::from(self.file?);
        Some(if executable { mode | (mode & 0o444) >> 2 } else { mode })
    }
}

/// Modes that may change while they are used: both in one word, that of folders above, 0 for none (which no
/// mode in use is).
#[derive(Debug, Default)]
pub(super) struct SharedModes(AtomicU32);

impl SharedModes {
    pub(super) fn set(&self, modes: Modes) {
        let of = |mode: Option<u16>| u32::from(mode.unwrap_or(0));
        self.0.store(of(modes.file) | of(modes.folder) << 16, Ordering::Relaxed);
    }

    pub(super) fn load(&self) -> Modes {
        let both = self.0.load(Ordering::Relaxed);
        let of = |half: u32| Some(half as u16).filter(|mode| *mode != 0);
        Modes { file: of(both & 0xffff), folder: of(both >> 16) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_loaded_and_executables_may_be_executed_by_their_readers() {
        let shared = SharedModes::default();
        for modes in [
            Modes::default(),
            Modes { file: Some(0o640), folder: Some(0o2775) },
            Modes { file: None, folder: Some(0o700) },
            Modes { file: Some(0o777), folder: None },
        ] {
            shared.set(modes);
            assert_eq!(shared.load(), modes);
        }
        let modes = Modes { file: Some(0o640), folder: None };
        assert_eq!((modes.of_file(false), modes.of_file(true)), (Some(0o640), Some(0o750)));
        assert_eq!(Modes::default().of_file(true), None);
    }
}
