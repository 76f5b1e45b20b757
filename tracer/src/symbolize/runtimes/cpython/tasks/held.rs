//! Which descriptors suspended tasks have: those of sockets that the variables of their own coroutines lead to by
//! attributes. What lies in lists and dictionaries belongs to many, and is nobody's.

use std::collections::HashSet;

use super::super::objects::{Types, attributes, is_pointer};
use super::{LOCALS, Layout, MAX_LOCALS, REFERENT, Suspended, USED};
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::tasks::MAX_HELD;

/// From a variable to a socket: `StreamWriter`, transport of TLS, its protocol, transport, socket.
const MAX_DISTANCE: u8 = 6;
/// Objects of one task, and of all.
const MAX_OBJECTS: usize = 512;
const MAX_ALL: usize = 65_536;
const MAX_DESCRIPTOR: u32 = 1 << 24;

struct Reached {
    task: usize,
    object: u64,
}

pub(super) fn find(
    memory: &mut Memory<'_>,
    types: &mut Types,
    layout: Layout,
    tasks: &mut [Suspended],
) {
    let mut front: Vec<Reached> = Vec::new();
    for (task, found) in tasks.iter().enumerate() {
        for (coroutine, _) in found.places.iter().take(found.own) {
            let objects = locals(memory, layout, *coroutine);
            front.extend(objects.into_iter().map(|object| Reached { task, object }));
        }
    }
    let mut seen: HashSet<(usize, u64)> = HashSet::new();
    let mut counts = vec![0_usize; tasks.len()];
    for distance in 0..=MAX_DISTANCE {
        front.retain(|one| {
            let count = counts.get_mut(one.task);
            let room = count.is_some_and(|count| {
                *count += 1;
                *count <= MAX_OBJECTS
            });
            room && seen.len() < MAX_ALL && seen.insert((one.task, one.object))
        });
        memory.want(front.iter().map(|one| one.object));
        memory.want(front.iter().map(|one| one.object.wrapping_sub(32)));
        let mut next = Vec::new();
        for Reached { task, object } in front {
            let (descriptor, inner) = look(memory, types, layout, object);
            if let (Some(descriptor), Some(found)) = (descriptor, tasks.get_mut(task)) {
                let known = found.holds.iter().any(|(known, _)| *known == descriptor);
                if !known && found.holds.len() < MAX_HELD {
                    found.holds.push((descriptor, distance));
                }
            }
            next.extend(inner.into_iter().map(|object| Reached { task, object }));
        }
        front = next;
    }
}

fn locals(memory: &mut Memory<'_>, layout: Layout, coroutine: u64) -> Vec<u64> {
    let frame = coroutine.wrapping_add(layout.frame);
    let used = memory.half(frame.wrapping_add(USED)).unwrap_or(0);
    let places =
        (0..used.min(MAX_LOCALS)).map(|number| frame.wrapping_add(LOCALS + u64::from(number) * 8));
    let words: Vec<u64> = places.filter_map(|at| memory.word(at)).collect();
    words.into_iter().filter(|word| is_pointer(*word)).collect()
}

/// The descriptor that an object is of, or what it refers to.
fn look(
    memory: &mut Memory<'_>,
    types: &mut Types,
    layout: Layout,
    object: u64,
) -> (Option<i32>, Vec<u64>) {
    let Some(kind) = types.of(memory, object) else {
        return (None, Vec::new());
    };
    if kind.is_socket {
        return (of_socket(memory, object), Vec::new());
    }
    if kind.name == "cell" {
        let inner = memory.word(object.wrapping_add(REFERENT));
        return (
            None,
            inner.into_iter().filter(|word| is_pointer(*word)).collect(),
        );
    }
    if kind.is_class() {
        return (None, attributes(memory, layout.attributes, &kind, object));
    }
    if kind.is_builtin() {
        return (None, Vec::new());
    }
    (of_libuv(memory, object, kind.size()), Vec::new())
}

/// `sock_fd`, which is -1 once it is closed, `sock_family` and `sock_type`: of TCP.
fn of_socket(memory: &mut Memory<'_>, object: u64) -> Option<i32> {
    const INET: [u32; 2] = [2, 10];
    const STREAM: u32 = 1;
    let mut half = |offset: u64| memory.half(object.checked_add(offset)?);
    let (descriptor, family, kind) = (half(16)?, half(20)?, half(24)?);
    let tcp = INET.contains(&family) && kind & 0xf == STREAM;
    (tcp && descriptor < MAX_DESCRIPTOR).then_some(descriptor.cast_signed())
}

/// An object of C code around a stream of libuv, which refers back to it (`uv_tcp_t` of libuv 1.x: data, loop, type,
/// and far behind them the watched descriptor).
fn of_libuv(memory: &mut Memory<'_>, object: u64, size: u64) -> Option<i32> {
    const WORDS: u64 = 12;
    const KIND: u64 = 16;
    const TCP: u32 = 12;
    const DESCRIPTOR: u64 = 184;
    let words = (2..WORDS.min(size / 8)).map(|number| object.wrapping_add(number * 8));
    let words: Vec<u64> = words.filter_map(|at| memory.word(at)).collect();
    let handles = words.into_iter().filter(|word| is_pointer(*word));
    let mut streams = handles.filter_map(|handle| {
        let back = memory.word(handle)? == object;
        let tcp = memory.half(handle.checked_add(KIND)?)? == TCP;
        let descriptor = memory.half(handle.checked_add(DESCRIPTOR)?)?;
        (back && tcp && descriptor < MAX_DESCRIPTOR).then_some(descriptor.cast_signed())
    });
    streams.next()
}
