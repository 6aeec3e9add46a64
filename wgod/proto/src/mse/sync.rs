//! Finding the end of a padding whose length isn't told: by the mark that follows it.
use super::{MAX_PAD, MseError};

/// Bytes that came after a public key, until the mark was found among them. At most [`MAX_PAD`], a mark, and what
/// is certain to follow it.
pub(super) struct Sync {
    mark: Vec<u8>,
    name: &'static str,
    came: Vec<u8>,
    /// No mark begins before this.
    searched: usize,
}

impl Sync {
    pub(super) fn new(mark: &[u8], name: &'static str) -> Sync {
        Sync { mark: mark.to_vec(), name, came: Vec::new(), searched: 0 }
    }

    /// Bytes of the mark that the end of what came may be the beginning of.
    fn begun(&self) -> usize {
        let most = self.came.len().min(self.mark.len() - 1);
        (0..=most).rev().find(|n| self.came.ends_with(&self.mark[..*n])).unwrap_or(0)
    }

    /// Bytes of the mark that are certain to be missing.
    pub(super) fn wants(&self) -> usize {
        self.mark.len() - self.begun()
    }

    /// Looks for the mark; gives what came behind it once it has.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, MseError> {
        self.came.extend_from_slice(bytes);
        let found = self.came[self.searched..].windows(self.mark.len()).position(|part| part == self.mark);
        if let Some(at) = found.map(|at| at + self.searched).filter(|at| *at <= MAX_PAD) {
            return Ok(Some(self.came.split_off(at + self.mark.len())));
        }
        if self.came.len() - self.begun() > MAX_PAD {
            return Err(MseError::NoSync { mark: self.name });
        }
        self.searched = (self.came.len() + 1).saturating_sub(self.mark.len());
        Ok(None)
    }
}
