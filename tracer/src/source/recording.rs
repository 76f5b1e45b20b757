//! Recordings: a header, then frames of length, checksum and one input as JSON. A damaged or cut
//! file is noticed at the first frame that does not check out.
//!
//! ```text
//! "SOCKLEAK-RECORDING 2\n"  then per input: u32 length, u32 CRC-32 of the payload, payload;
//! at the end: u32 0, u32 0
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use bytes::{Buf, BufMut, BytesMut};
use flate2::Crc;
use thiserror::Error;

use crate::model::input::Input;

const MAGIC: &[u8] = b"SOCKLEAK-RECORDING 2\n";
/// Length and checksum before each input; both zero at the end.
const HEAD: usize = 8;
/// An inventory of a million sockets fits; a length beyond this is damage, not data.
const MAX_FRAME: u32 = 1 << 30;

#[derive(Debug, Error)]
pub enum RecordingError {
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
    #[error("not a recording of this tool, or of a version this one cannot read")]
    NotARecording,
    #[error("the recording ends in the middle of entry {entry}")]
    Truncated { entry: u64 },
    #[error("entry {entry} of the recording is damaged: {what}")]
    Damaged { entry: u64, what: String },
}

/// Writes inputs as they come. Created readable by its owner alone: it holds addresses and names.
pub struct Recorder {
    out: BufWriter<File>,
    frame: BytesMut,
}

impl Recorder {
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // An existing file keeps its old mode at open.
        if file.metadata()?.is_file() {
            use std::os::unix::fs::PermissionsExt;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        let mut out = BufWriter::new(file);
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            frame: BytesMut::new(),
        })
    }

    pub fn write(&mut self, input: &Input) -> io::Result<()> {
        self.frame.clear();
        self.frame.put_u32_le(0);
        self.frame.put_u32_le(0);
        serde_json::to_writer((&mut self.frame).writer(), input)?;
        let payload = self.frame.get(8..).unwrap_or(&[]);
        let (len, crc) = (payload.len() as u32, checksum(payload));
        if let Some(mut head) = self.frame.get_mut(..8) {
            head.put_u32_le(len);
            head.put_u32_le(crc);
        }
        self.out.write_all(&self.frame)
    }

    /// Everything is on disk, or the error says why not.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; HEAD])?;
        self.out.flush()?;
        // Pipes and devices cannot be synced, and need not be.
        match self.out.get_ref().sync_data() {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads a recording input by input.
pub struct Replay {
    from: BufReader<File>,
    entry: u64,
}

impl Replay {
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let mut from = BufReader::new(File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => Ok(Self { from, entry: 0 }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(RecordingError::NotARecording),
        }
    }

    /// The next input, `None` at the clean end.
    pub fn next_input(&mut self) -> Result<Option<Input>, RecordingError> {
        self.entry += 1;
        let entry = self.entry;
        let damaged = |what: String| RecordingError::Damaged { entry, what };
        let mut head = [0; HEAD];
        // Also at a boundary between inputs: a run that was killed is not a complete one.
        if read_up_to(&mut self.from, &mut head)? < head.len() {
            return Err(RecordingError::Truncated { entry });
        }
        if head == [0; HEAD] {
            return Ok(None);
        }
        let mut head = head.as_slice();
        let (len, crc) = (head.get_u32_le(), head.get_u32_le());
        if len > MAX_FRAME {
            return Err(damaged(format!("impossible length {len}")));
        }
        let mut payload = Vec::new();
        (&mut self.from)
            .take(u64::from(len))
            .read_to_end(&mut payload)?;
        if payload.len() < len as usize {
            return Err(RecordingError::Truncated { entry });
        }
        if checksum(&payload) != crc {
            return Err(damaged("wrong checksum".to_owned()));
        }
        serde_json::from_slice(&payload)
            .map(Some)
            .map_err(|error| damaged(format!("unknown content ({:?})", error.classify())))
    }
}

fn read_up_to(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = to.get_mut(have..)
        && !rest.is_empty()
    {
        match from.read(rest) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// CRC-32, as of gzip.
fn checksum(payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(payload);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn recorded(inputs: &[Input]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut recorder = Recorder::create(file.path()).unwrap();
        for input in inputs {
            recorder.write(input).unwrap();
        }
        recorder.finish().unwrap();
        file
    }

    fn replayed(path: &Path) -> Result<Vec<Input>, RecordingError> {
        let mut replay = Replay::open(path)?;
        let mut inputs = Vec::new();
        while let Some(input) = replay.next_input()? {
            inputs.push(input);
        }
        Ok(inputs)
    }

    #[test]
    fn what_was_recorded_is_replayed() {
        let inputs = vec![
            Input::Tick { at: 7 },
            Input::Warning(crate::model::input::Warning::new(
                "less",
                &"",
                "less is known",
            )),
        ];
        let file = recorded(&inputs);
        assert_eq!(replayed(file.path()).unwrap(), inputs);
        assert_eq!(
            file.as_file().metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let inputs = vec![Input::Tick { at: 7 }, Input::Tick { at: 8 }];
        let whole = std::fs::read(recorded(&inputs).path()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for len in 0..whole.len() {
            std::fs::write(file.path(), &whole[..len]).unwrap();
            assert!(replayed(file.path()).is_err(), "cut at {len}");
        }
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 0x40;
            std::fs::write(file.path(), &damaged).unwrap();
            assert!(replayed(file.path()).is_err(), "byte {i}");
        }
    }
}
