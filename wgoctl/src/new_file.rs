//! A file that appears under its name when it is complete: what `backup` and `create` write.
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::failure::Failure;

/// A file that takes its name when it is complete, in place of what has it then.
pub(crate) struct NewFile {
    file: File,
    /// Its name until then; removed if it never gets the other.
    unborn: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins the file that will be `path`, which is no file yet or a regular one. `mode` is cut by the umask.
    pub(crate) fn create(path: &Path, mode: u32) -> Result<NewFile, Failure> {
        let failed = |source| Failure::Write { path: path.to_owned(), source };
        let path = match fs::canonicalize(path) {
            Ok(found) if fs::metadata(&found).map_err(failed)?.is_file() => found,
            Ok(_) => {
                let shown = path.display();
                return Err(Failure::Usage(format!(
                    "{shown} is not a regular file; - writes to standard output"
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        let Some(name) = path.file_name() else {
            return Err(Failure::Usage(format!("{} names no file", path.display())));
        };
        let mut unborn = std::ffi::OsString::from(".");
        unborn.push(name);
        unborn.push(format!(".{}.part", std::process::id()));
        let unborn = path.with_file_name(unborn);
        let how = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unborn);
        Ok(NewFile { file: how.map_err(failed)?, unborn, path })
    }

    /// What to write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, then gives it its name, then makes that durable.
    pub(crate) fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.unborn, &self.path)?;
        self.sync_folder()
    }

    /// The same, unless something has the name by now.
    pub(crate) fn publish_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        match renameat_with(CWD, &self.unborn, CWD, &self.path, RenameFlags::NOREPLACE) {
            // Not every file system can tell by itself.
            Err(Errno::INVAL) if !self.path.exists() => fs::rename(&self.unborn, &self.path)?,
            Err(Errno::INVAL) => return Err(Errno::EXIST.into()),
            renamed => renamed?,
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After `publish` there is none.
        let _ = fs::remove_file(&self.unborn);
    }
}
