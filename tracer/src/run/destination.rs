//! A file of the user's that an output goes to: opened before CMD begins, with the rights of the user who named it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::exit::file_error;

pub(super) struct Destination {
    file: File,
    path: PathBuf,
    doing: &'static str,
}

impl Destination {
    /// `doing` as in [`file_error`].
    pub(super) fn create(doing: &'static str, path: &Path) -> anyhow::Result<Self> {
        Self::open(doing, path, File::options().write(true).create(true))
    }

    /// For its owner alone.
    pub(super) fn private(doing: &'static str, path: &Path) -> anyhow::Result<Self> {
        let mut how = File::options();
        Self::open(doing, path, how.write(true).create(true).mode(0o600))
    }

    fn open(doing: &'static str, path: &Path, how: &mut OpenOptions) -> anyhow::Result<Self> {
        let file = match own_stream(path) {
            Some(stream) => Ok(stream),
            None => how.truncate(true).open(path),
        };
        Ok(Self {
            file: file.map_err(|error| file_error(doing, path, error))?,
            path: path.to_owned(),
            doing,
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = BufWriter::new(&self.file);
        write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| file_error(self.doing, &self.path, error))
    }

    /// Nothing is to be said in it: an empty file would be taken for an answer.
    pub(super) fn forsake(&self) {
        let is_there = |found: fs::Metadata| found.is_file() && found.len() == 0;
        let is_empty = fs::symlink_metadata(&self.path).is_ok_and(is_there);
        if is_empty && own_stream(&self.path).is_none() {
            // It says nothing either way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `-`, and what is the file of stdout or stderr by another name: written there at the place where CMD, which has them
/// as well, has stopped. Opened anew, it would be written from its beginning.
fn own_stream(path: &Path) -> Option<File> {
    let (out, err) = (io::stdout(), io::stderr());
    let named = fs::metadata(path).ok();
    let is = |stream: &File| {
        let stream = stream.metadata().ok();
        let place = |it: &fs::Metadata| (it.dev(), it.ino());
        stream.as_ref().map(place) == named.as_ref().map(place) && named.is_some()
    };
    let mut streams = [out.as_fd(), err.as_fd()]
        .into_iter()
        .filter_map(|stream| stream.try_clone_to_owned().map(File::from).ok());
    if path == Path::new("-") {
        return streams.next();
    }
    streams.find(is)
}
