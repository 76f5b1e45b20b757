//! Messages over a stream socket: a length, a body, and at most one descriptor. Waits no longer
//! than it is told to, in either direction.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why nothing more can be said over this channel. The text completes "the helper …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Broken {
    #[error("did not answer in time")]
    Late,
    #[error("ended unexpectedly")]
    Closed,
    #[error("answered with something that makes no sense")]
    Malformed,
    #[error("cannot be talked to ({0})")]
    Os(Errno),
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            other => Self::Os(other),
        }
    }
}

const LENGTH: usize = 4;

/// `None` waits for ever.
pub(crate) type Until = Option<Instant>;

pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptor: Option<BorrowedFd<'_>>,
    until: Until,
) -> Result<(), Broken> {
    let bytes = postcard::to_extend(message, vec![0; LENGTH]).map_err(|_| Broken::Malformed)?;
    let mut bytes: Vec<u8> = bytes;
    let length = u32::try_from(bytes.len() - LENGTH).map_err(|_| Broken::Malformed)?;
    if let Some(head) = bytes.first_chunk_mut() {
        *head = length.to_le_bytes();
    }
    let mut rest = bytes.as_slice();
    // The descriptor travels with the first byte.
    let mut descriptor = descriptor;
    while !rest.is_empty() {
        match send_some(socket, rest, descriptor) {
            Ok(sent) => {
                rest = rest.get(sent..).unwrap_or_default();
                descriptor = None;
            }
            Err(Errno::AGAIN) => wait(socket, PollFlags::OUT, until)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn send_some(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// At most `limit` bytes of body. A descriptor that comes along is returned, further ones are
/// closed by the kernel.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    limit: usize,
    until: Until,
) -> Result<(T, Option<OwnedFd>), Broken> {
    let mut descriptor = None;
    let mut length = [0; LENGTH];
    fill(socket, &mut length, &mut descriptor, until)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        return Err(Broken::Malformed);
    }
    let mut body = vec![0; length];
    fill(socket, &mut body, &mut descriptor, until)?;
    let message = postcard::from_bytes(&body).map_err(|_| Broken::Malformed)?;
    Ok((message, descriptor))
}

fn fill(
    socket: BorrowedFd<'_>,
    mut place: &mut [u8],
    descriptor: &mut Option<OwnedFd>,
    until: Until,
) -> Result<(), Broken> {
    while !place.is_empty() {
        match receive_some(socket, place, descriptor) {
            Ok(0) => return Err(Broken::Closed),
            Ok(count) => place = place.get_mut(count..).unwrap_or_default(),
            Err(Errno::AGAIN) => wait(socket, PollFlags::IN, until)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn receive_some(
    socket: BorrowedFd<'_>,
    place: &mut [u8],
    descriptor: &mut Option<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(place)];
    let received = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for one in descriptors {
                *descriptor = Some(one);
            }
        }
    }
    Ok(received.bytes)
}

fn wait(socket: BorrowedFd<'_>, what: PollFlags, until: Until) -> Result<(), Broken> {
    let left = match until {
        None => None,
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Broken::Late);
            }
            Some(Timespec::try_from(left).map_err(|_| Broken::Late)?)
        }
    };
    match poll(&mut [PollFd::from_borrowed_fd(socket, what)], left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    #[test]
    fn messages_and_descriptors_arrive_together_and_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        send(one.as_fd(), &"first", None, Some(soon())).unwrap();
        send(one.as_fd(), &"second", Some(file.as_fd()), Some(soon())).unwrap();
        send(one.as_fd(), &"third", None, Some(soon())).unwrap();
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(receive::<String>(other.as_fd(), 100, Some(soon())).unwrap());
        }
        let texts: Vec<_> = got.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["first", "second", "third"]);
        assert!(got[0].1.is_none() && got[2].1.is_none());
        let mut arrived = File::from(got.remove(1).1.unwrap());
        let mut text = String::new();
        arrived.rewind().unwrap();
        arrived.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }

    #[test]
    fn nobody_waits_longer_than_told_in_either_direction() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(
            receive::<String>(one.as_fd(), 100, Some(soon())).unwrap_err(),
            Broken::Late
        );
        let large = vec![0_u8; 4 << 20];
        assert_eq!(
            send(one.as_fd(), &large, None, Some(soon())).unwrap_err(),
            Broken::Late
        );
    }

    #[test]
    fn what_is_too_long_or_no_message_or_cut_off_is_an_error() {
        let (mut one, other) = UnixStream::pair().unwrap();
        send(one.as_fd(), &"x".repeat(200), None, Some(soon())).unwrap();
        let long = receive::<String>(other.as_fd(), 100, Some(soon()));
        assert_eq!(long.unwrap_err(), Broken::Malformed);

        let (mut raw, other) = UnixStream::pair().unwrap();
        raw.write_all(&[2, 0, 0, 0, 0xff, 0xff]).unwrap();
        let wrong = receive::<String>(other.as_fd(), 100, Some(soon()));
        assert_eq!(wrong.unwrap_err(), Broken::Malformed);
        raw.write_all(&[9, 0]).unwrap();
        drop(raw);
        let cut = receive::<String>(other.as_fd(), 100, Some(soon()));
        assert_eq!(cut.unwrap_err(), Broken::Closed);
        one.flush().unwrap();
    }
}
