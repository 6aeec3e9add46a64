//! A disk in memory that does what it is told, for the store.
use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use wgod::files::disk::{Completion, FileKind, OnDone, OpenMode, Output, Stat};
use wgod::files::{Disk, Handle, Mtime, Op};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files by name, in one folder.
#[derive(Debug, Default)]
pub(super) struct MemoryDisk(Mutex<BTreeMap<PathBuf, Content>>);

/// What a handle refers to; a directory has no content.
struct Open(Option<Content>);

impl MemoryDisk {
    pub(super) fn shared() -> Arc<MemoryDisk> {
        Arc::default()
    }

    fn perform(&self, op: Op) -> io::Result<(Output, Option<wgod::files::Bufs>)> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = |output| Ok((output, None));
        match op {
            Op::Open { how, .. } if how.mode == OpenMode::Dir => {
                done(Output::Opened(Handle::new(Open(None))))
            }
            Op::Open { at, how } => {
                let known = names.get(&at.path).cloned();
                let content = match (known, how.mode) {
                    (Some(content), _) => content,
                    (None, OpenMode::Create { .. }) => names.entry(at.path).or_default().clone(),
                    (None, _) => return Err(Errno::NOENT.into()),
                };
                done(Output::Opened(Handle::new(Open(Some(content)))))
            }
            Op::Read { file, offset, mut bufs } => {
                let content = content(&file)?.lock().unwrap_or_else(PoisonError::into_inner);
                let mut rest = content.get(offset as usize..).unwrap_or_default();
                let all = rest.len();
                for slice in &mut bufs.slices_mut() {
                    let (now, later) = rest.split_at(slice.len().min(rest.len()));
                    slice[..now.len()].copy_from_slice(now);
                    rest = later;
                }
                Ok((Output::Moved(all - rest.len()), Some(bufs)))
            }
            Op::Write { file, offset, bufs } => {
                let mut content = content(&file)?.lock().unwrap_or_else(PoisonError::into_inner);
                let bytes: Vec<u8> = bufs.slices().iter().flat_map(|slice| slice.iter().copied()).collect();
                let (start, end) = (offset as usize, offset as usize + bytes.len());
                let len = content.len().max(end);
                content.resize(len, 0);
                content[start..end].copy_from_slice(&bytes);
                Ok((Output::Moved(bytes.len()), Some(bufs)))
            }
            Op::SetLen { file, len } => {
                content(&file)?.lock().unwrap_or_else(PoisonError::into_inner).resize(len as usize, 0);
                done(Output::Nothing)
            }
            Op::StatHandle(file) => {
                let len = content(&file)?.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
                let (kind, mtime) = (FileKind::File, Mtime::default());
                done(Output::Stat(Stat { kind, len, mtime, device: 0, inode: 0 }))
            }
            Op::Rename { from, to } => {
                let content = names.remove(&from.path).ok_or(Errno::NOENT)?;
                names.insert(to.path, content);
                done(Output::Nothing)
            }
            Op::Unlink(at) => {
                names.remove(&at.path).map_or(Err(Errno::NOENT.into()), |_| done(Output::Nothing))
            }
            Op::SyncData(_) | Op::SyncAll(_) => done(Output::Nothing),
            _ => Err(Errno::OPNOTSUPP.into()),
        }
    }
}

fn content(file: &Handle) -> io::Result<&Content> {
    file.inner::<Open>()?.0.as_ref().ok_or(Errno::ISDIR.into())
}

impl Disk for MemoryDisk {
    fn submit(&self, op: Op, finish: OnDone) {
        finish(match self.perform(op) {
            Ok((output, bufs)) => Completion { result: Ok(output), bufs },
            Err(error) => Err(error).into(),
        });
    }

    fn read_nowait(&self, _: &Handle, _: u64, _: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn device_hint(&self, _: &Path) -> u64 {
        0
    }
}
