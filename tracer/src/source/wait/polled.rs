//! The descriptors of `poll` and `select`. Another thread can write to the array meanwhile: it is read
//! before its descriptors are looked up and after, and is not known if it changed.

use tracer_common::thread::ARGUMENTS;

use super::Reader;
use crate::model::wait::{FileKind, Member, Polled};

/// Descriptors read of one array or bitmap.
const MAX_POLLED: u64 = 4096;
/// `select` itself takes longer bitmaps than the C library's.
const MAX_SELECTED: u64 = 16_384;
/// `struct pollfd` of include/uapi/asm-generic/poll.h.
const POLLFD: usize = 8;

/// POLLIN, POLLPRI, POLLRDNORM, POLLRDBAND, POLLRDHUP.
const INPUT: u16 = 0x1 | 0x2 | 0x40 | 0x80 | 0x2000;
/// POLLOUT, POLLWRNORM, POLLWRBAND.
const OUTPUT: u16 = 0x4 | 0x100 | 0x200;

pub(super) fn poll(reader: &mut Reader<'_, '_>, at: u64, count: u64, times_out: bool) -> Polled {
    // The kernel takes an unsigned int of it (fs/select.c:SYSCALL_DEFINE3(poll)).
    let count = count & u64::from(u32::MAX);
    let length = count.min(MAX_POLLED) as usize * POLLFD;
    let members = read_twice(
        reader,
        |reader| reader.bytes(at, length),
        |reader, bytes| {
            let entries = bytes.chunks_exact(POLLFD).filter_map(entry);
            let member = |(fd, events): (i32, u16)| Member {
                target: reader.target(fd),
                input: events & INPUT != 0,
                output: events & OUTPUT != 0,
            };
            entries.map(member).collect()
        },
    );
    polled(members, count <= MAX_POLLED, false, times_out)
}

/// Negative ones are left out, as the kernel does.
fn entry(bytes: &[u8]) -> Option<(i32, u16)> {
    let (fd, rest) = bytes.split_first_chunk::<4>()?;
    let (events, _) = rest.split_first_chunk::<2>()?;
    let fd = i32::from_ne_bytes(*fd);
    (fd >= 0).then_some((fd, u16::from_ne_bytes(*events)))
}

pub(super) fn select(reader: &mut Reader<'_, '_>, arguments: [u64; ARGUMENTS]) -> Polled {
    let [count, input, output, except, time, _] = arguments;
    let all = u64::try_from(count as i32).unwrap_or(0);
    let count = all.min(MAX_SELECTED);
    // Whole words (fs/select.c:FDS_BYTES).
    let length = (count.div_ceil(64) * 8) as usize;
    let sets = |reader: &mut Reader<'_, '_>| {
        let set = |at: u64| match at {
            0 => Some(vec![0; length]),
            at => reader.bytes(at, length),
        };
        Some([set(input)?, set(output)?, set(except)?])
    };
    let members = read_twice(reader, sets, |reader, [input, output, except]| {
        let member = |fd: u64| {
            let (input, output) = (has(input, fd), has(output, fd));
            (input || output || has(except, fd)).then(|| Member {
                target: reader.target(fd as i32),
                input,
                output,
            })
        };
        (0..count).filter_map(member).collect()
    });
    polled(members, all <= MAX_SELECTED, true, time != 0)
}

fn has(set: &[u8], fd: u64) -> bool {
    set.get((fd / 8) as usize)
        .is_some_and(|byte| byte & (1 << (fd % 8)) != 0)
}

fn read_twice<T: PartialEq>(
    reader: &mut Reader<'_, '_>,
    read: impl Fn(&mut Reader<'_, '_>) -> Option<T>,
    look_up: impl FnOnce(&mut Reader<'_, '_>, &T) -> Vec<Member>,
) -> Option<Vec<Member>> {
    let bytes = read(reader)?;
    let mut members = look_up(reader, &bytes);
    tell_families(reader, &mut members);
    (read(reader)? == bytes).then_some(members)
}

/// One socket is what is waited for, whatever its family.
fn tell_families(reader: &mut Reader<'_, '_>, members: &mut [Member]) {
    let inode = |member: &Member| member.target.file.socket();
    if members.iter().filter_map(inode).nth(1).is_none() {
        return;
    }
    for member in members {
        if inode(member).is_some_and(|inode| reader.is_local(inode)) {
            member.target.file = FileKind::LocalSocket;
        }
    }
}

fn polled(members: Option<Vec<Member>>, whole: bool, select: bool, times_out: bool) -> Polled {
    let known = |member: &Member| member.target.file != FileKind::Unknown;
    Polled {
        complete: whole && members.as_ref().is_some_and(|all| all.iter().all(known)),
        members: members.unwrap_or_default(),
        select,
        times_out,
    }
}
