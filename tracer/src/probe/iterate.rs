//! Runs the iterators and merges their streams into one inventory: every socket once, by its cookie,
//! with all its holders.

use std::{collections::HashMap, fs::File, io::Read, path::Path, thread};

use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError, links::LinkError},
};
use thiserror::Error;
use tracer_common::item::{ITEM_DEAD, ITEM_HAS_SOCKET, ITEM_HELD, SocketItem};
use zerocopy::FromBytes;

use super::{attach::refusal, netns};
use crate::model::{
    input::{Inventory, Item},
    socket::{Ends, Holder},
};

const TCP: (&str, &str) = ("iter_tcp", "tcp");
const TASK_FILE: (&str, &str) = ("iter_task_file", "task_file");

#[derive(Debug, Error)]
pub enum IterateError {
    #[error("the kernel object has no program {0}")]
    NoProgram(&'static str),
    #[error("the kernel refuses the iterator {}: {}", .0, refusal(.1))]
    Refused(&'static str, ProgramError),
    #[error("the iterator {0} cannot be opened: {1}")]
    Link(&'static str, LinkError),
    #[error("cannot read from the iterator {0}: {1}")]
    Read(&'static str, std::io::Error),
    #[error("cannot enter the network namespace of {0}: {1}")]
    Namespace(String, std::io::Error),
    #[error("the thread that reads a network namespace died")]
    Thread,
}

/// Loads both iterators; they cost nothing until they are run.
pub fn load(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), IterateError> {
    for (program, target) in [TCP, TASK_FILE] {
        program_of(ebpf, program)?
            .load(target, btf)
            .map_err(|error| IterateError::Refused(target, error))?;
    }
    Ok(())
}

/// What exists now. What could not be seen is in the second part, one sentence each.
pub fn inventory(
    ebpf: &mut Ebpf,
    now: impl Fn() -> u64,
) -> Result<(Inventory, Vec<String>), IterateError> {
    let from = now();
    let mut items: HashMap<u64, Item> = HashMap::new();
    let mut problems = Vec::new();
    // Holders first: a socket that is accepted between the two passes then has its holder missing
    // rather than being taken for one that nobody accepted; `Item::has_socket` tells.
    let held = read(TASK_FILE, &mut open(ebpf, TASK_FILE)?)?;
    merge(&mut items, &held);
    let own = netns::own();
    for (inode, path) in netns::all() {
        let stream = if Some(inode) == own {
            read(TCP, &mut open(ebpf, TCP)?)
        } else {
            elsewhere(ebpf, &path)
        };
        match stream {
            Ok(stream) => merge(&mut items, &stream),
            // The namespace may have gone with its last process since it was listed.
            Err(IterateError::Namespace(_, error))
                if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{error}; its unaccepted sockets are not seen")),
        }
    }
    let mut items: Vec<Item> = items.into_values().collect();
    items.sort_by_key(|item| item.cookie);
    let complete = problems.is_empty();
    Ok((
        Inventory {
            from,
            to: now(),
            items,
            complete,
        },
        problems,
    ))
}

fn program_of<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut Iter, IterateError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(IterateError::NoProgram(name))
}

fn link(
    ebpf: &mut Ebpf,
    (program, target): (&'static str, &'static str),
) -> Result<aya::programs::iter::IterLink, IterateError> {
    let refused = |error| IterateError::Refused(target, error);
    let program = program_of(ebpf, program)?;
    let id = program.attach().map_err(refused)?;
    program.take_link(id).map_err(refused)
}

fn open(ebpf: &mut Ebpf, which: (&'static str, &'static str)) -> Result<File, IterateError> {
    link(ebpf, which)?
        .into_file()
        .map_err(|error| IterateError::Link(which.1, error))
}

fn read(which: (&'static str, &'static str), file: &mut File) -> Result<Vec<u8>, IterateError> {
    let mut stream = Vec::new();
    file.read_to_end(&mut stream)
        .map_err(|error| IterateError::Read(which.1, error))?;
    Ok(stream)
}

/// `iter/tcp` shows the namespace of whoever opens it (`net/ipv4/tcp_ipv4.c:bpf_iter_init_tcp`), so a
/// thread of its own goes there.
fn elsewhere(ebpf: &mut Ebpf, path: &Path) -> Result<Vec<u8>, IterateError> {
    let link = link(ebpf, TCP)?;
    let there = move || {
        netns::enter(path)
            .map_err(|error| IterateError::Namespace(path.display().to_string(), error))?;
        let mut file = link
            .into_file()
            .map_err(|error| IterateError::Link(TCP.1, error))?;
        read(TCP, &mut file)
    };
    thread::scope(|scope| scope.spawn(there).join()).map_err(|_| IterateError::Thread)?
}

fn merge(items: &mut HashMap<u64, Item>, stream: &[u8]) {
    for bytes in stream.chunks_exact(size_of::<SocketItem>()) {
        let Ok(wire) = SocketItem::read_from_bytes(bytes) else {
            continue;
        };
        // Cookie 0 is a socket that vanished while it was looked at.
        if wire.cookie == 0 {
            continue;
        }
        let item = items.entry(wire.cookie).or_insert_with(|| describe(&wire));
        if wire.flags & ITEM_HELD != 0 {
            let holder = Holder {
                pid: wire.tgid,
                fd: wire.fd,
            };
            if !item.holders.contains(&holder) {
                item.holders.push(holder);
            }
        }
    }
}

fn describe(wire: &SocketItem) -> Item {
    Item {
        cookie: wire.cookie,
        netns: wire.netns,
        ends: Ends::from_wire(&wire.endpoints),
        state: wire.state,
        shutdown: wire.shutdown,
        has_socket: wire.flags & ITEM_HAS_SOCKET != 0,
        dead: wire.flags & ITEM_DEAD != 0,
        inode: wire.inode,
        recv_q: wire.recv_q,
        send_q: wire.send_q,
        last_packet: wire.last_packet_us.saturating_mul(1000),
        holders: Vec::new(),
    }
}
