//! What `run` and its tracer, two processes, tell each other over a socket pair: length and JSON.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::exit::Explained;
use crate::model::report::{Report, Site};
use crate::options::Options;

/// A report of a million sites fits; a length beyond this is no message.
const MAX: u32 = 1 << 30;

/// To the tracer. The end of the stream means: nobody wants to know any more.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Follow this process, which waits at the gate, and all that comes of it.
    Follow { options: Box<Options>, root: u32 },
    /// CMD has ended: settle, report.
    Ended,
    /// Report now, settled or not.
    Hurry,
}

/// From the tracer.
#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    /// Every event of the process and its children is seen from now on.
    Attached,
    /// Tracing is impossible here, or has failed.
    Unable(Explained),
    /// Sites as they are now, those that are new or have changed.
    Sites(Vec<Site>),
    Finished(Box<Final>),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Final {
    pub report: Report,
    /// Processes of CMD's tree that are still alive.
    pub left: Vec<u32>,
    /// The tracer's own last word: the recording could not be written.
    pub problem: Option<Explained>,
}

pub fn send(mut to: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = u32::try_from(bytes.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if len > MAX {
        return Err(io::Error::other("the report is larger than 1 GiB"));
    }
    if let Some(head) = bytes.get_mut(..4) {
        head.copy_from_slice(&len.to_le_bytes());
    }
    to.write_all(&bytes)
}

/// `None` at the end of the stream.
pub fn receive<T: DeserializeOwned>(mut from: &UnixStream) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = u32::from_le_bytes(head);
    if len > MAX {
        return Err(io::Error::other("no message of this program"));
    }
    let mut bytes = Vec::new();
    from.take(u64::from(len)).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// One byte that says whether a file comes with it, and the file: opened with the rights of the user who
/// named it, whoever the tracer is.
pub fn send_file(to: &UnixStream, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let files = file.map(|file| [file]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(files) = &files {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    let byte = [u8::from(files.is_some())];
    sendmsg(
        to,
        &[IoSlice::new(&byte)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

pub fn receive_file(from: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    let got = recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok(files.last())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_and_a_file_arrive_as_they_were() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        send_file(&one, Some(file.as_fd())).unwrap();
        send_file(&one, None).unwrap();
        send(&one, &Order::Hurry).unwrap();
        drop(one);
        assert!(receive_file(&other).unwrap().is_some());
        assert!(receive_file(&other).unwrap().is_none());
        assert!(matches!(receive(&other).unwrap(), Some(Order::Hurry)));
        assert!(receive::<Order>(&other).unwrap().is_none());
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(&u32::MAX.to_le_bytes()).unwrap();
        receive::<Order>(&other).unwrap_err();
        let (mut one, other) = UnixStream::pair().unwrap();
        one.write_all(b"\x08\0\0\0{").unwrap();
        drop(one);
        receive::<Order>(&other).unwrap_err();
    }
}
