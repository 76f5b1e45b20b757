//! Runs the iterators and merges their streams into one inventory: every socket once, by its cookie,
//! with all its holders.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind as Kind, Read},
    path::Path,
    sync::Mutex,
    thread,
};

use foldhash::HashMap;

use aya::{
    Btf, Ebpf,
    maps::MapError,
    programs::{Iter, ProgramError, links::LinkError},
};
use thiserror::Error;
use tracer_common::item::{ITEM_DEAD, ITEM_HAS_SOCKET, ITEM_HELD, SocketItem};
use zerocopy::FromBytes;

use super::{attach::refusal, jiffies, netns};
use crate::model::{
    input::{Inventory, Item, ProcessKey},
    socket::{Endpoints, Holder, Holders},
};

pub const TCP: Which = ("iter_tcp", "tcp");
pub const TASK_FILE: Which = ("iter_task_file", "task_file");

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
    #[error("cannot say which processes are meant: {0}")]
    Asking(#[from] MapError),
    #[error("a thread that runs an iterator died")]
    Thread,
}

/// Loads both iterators; they cost nothing until they are run.
pub fn load(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), IterateError> {
    for which in [TCP, TASK_FILE] {
        load_one(ebpf, btf, which)?;
    }
    Ok(())
}

/// Program and target.
pub type Which = (&'static str, &'static str);

pub fn load_one(ebpf: &mut Ebpf, btf: &Btf, (program, target): Which) -> Result<(), IterateError> {
    match program_of(ebpf, program)?.load(target, btf) {
        // Ahead, with the others.
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(IterateError::Refused(target, error)),
    }
}

/// What exists now. What could not be seen is in the second part, one sentence each.
pub fn inventory(
    ebpf: &mut Ebpf,
    now: impl Fn() -> u64,
) -> Result<(Inventory, Vec<String>), IterateError> {
    let from = now();
    let mut merged = Merged {
        from,
        ..Merged::default()
    };
    let mut problems = Vec::new();
    // Both at once, because they take the longest. A socket that is accepted meanwhile may be seen
    // before in the one and after in the other: see `Merged::add` and `Socket::accepted_at`.
    let (mut held, mut here) = (open(ebpf, TASK_FILE)?, open(ebpf, TCP)?);
    let both = Mutex::new(&mut merged);
    let (held, mut here) = thread::scope(|scope| {
        let held = scope.spawn(|| merge(TASK_FILE, &mut held, &both));
        let here = merge(TCP, &mut here, &both);
        (held.join(), Some(here))
    });
    held.map_err(|_| IterateError::Thread)??;
    let own = netns::own();
    for (inode, path) in netns::all() {
        let done = match here.take_if(|_| Some(inode) == own) {
            Some(here) => here,
            None => elsewhere(ebpf, &path, &Mutex::new(&mut merged)),
        };
        match done {
            Ok(()) => {}
            // The namespace may have gone with its last process since it was listed.
            Err(IterateError::Namespace(_, error))
                if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{error}; its unaccepted sockets are not seen")),
        }
    }
    let complete = problems.is_empty();
    Ok((
        Inventory {
            from,
            to: now(),
            items: merged.items,
            holders: merged
                .holders
                .into_iter()
                .map(|(pid, start_boot)| ProcessKey { pid, start_boot })
                .collect(),
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
    (program, target): Which,
) -> Result<aya::programs::iter::IterLink, IterateError> {
    let refused = |error| IterateError::Refused(target, error);
    let program = program_of(ebpf, program)?;
    let id = program.attach().map_err(refused)?;
    program.take_link(id).map_err(refused)
}

pub fn open(ebpf: &mut Ebpf, which: Which) -> Result<File, IterateError> {
    link(ebpf, which)?
        .into_file()
        .map_err(|error| IterateError::Link(which.1, error))
}

fn merge(which: Which, file: &mut File, into: &Mutex<&mut Merged>) -> Result<(), IterateError> {
    read(which, file, size_of::<SocketItem>(), |records| {
        into.lock()
            .map_err(|_| IterateError::Thread)?
            .add_all(records);
        Ok(())
    })
}

/// Passes the stream on piece by piece, whole records each: all of it at once would be the largest
/// thing in memory.
pub fn read(
    which: Which,
    file: &mut File,
    record: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), IterateError>,
) -> Result<(), IterateError> {
    let mut buffer = vec![0; 1024 * record];
    // Bytes at the start of the buffer that belong to a record whose end has not come yet.
    let mut kept = 0;
    loop {
        let room = buffer.get_mut(kept..).unwrap_or_default();
        let got = match file.read(room) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            // After a million objects of no interest the kernel wants to be asked again
            // (kernel/bpf/bpf_iter.c:bpf_seq_read).
            Err(error) if matches!(error.kind(), Kind::WouldBlock | Kind::Interrupted) => continue,
            Err(error) => return Err(IterateError::Read(which.1, error)),
        };
        let filled = kept + got;
        let whole = filled - filled % record;
        take(buffer.get(..whole).unwrap_or_default())?;
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
}

/// `iter/tcp` shows the namespace of whoever opens it (`net/ipv4/tcp_ipv4.c:bpf_iter_init_tcp`), so a
/// thread of its own goes there.
fn elsewhere(
    ebpf: &mut Ebpf,
    path: &Path,
    merged: &Mutex<&mut Merged>,
) -> Result<(), IterateError> {
    let link = link(ebpf, TCP)?;
    let there = move || {
        netns::enter(path)
            .map_err(|error| IterateError::Namespace(path.display().to_string(), error))?;
        let mut file = link
            .into_file()
            .map_err(|error| IterateError::Link(TCP.1, error))?;
        merge(TCP, &mut file, merged)
    };
    thread::scope(|scope| scope.spawn(there).join()).map_err(|_| IterateError::Thread)?
}

/// Every socket once, in the order in which it was first seen.
#[derive(Default)]
struct Merged {
    items: Vec<Item>,
    places: HashMap<u64, usize>,
    /// By pid, when each process began.
    holders: BTreeMap<u32, u64>,
    /// When the iteration began.
    from: u64,
    /// Of the first record; `None` when the kernel's rate could not be told.
    rate: OnceCell<Option<u64>>,
}

impl Merged {
    fn add_all(&mut self, records: &[u8]) {
        for bytes in records.chunks_exact(size_of::<SocketItem>()) {
            if let Ok(wire) = SocketItem::read_from_bytes(bytes) {
                self.add(&wire);
            }
        }
    }

    /// The iteration began before any record was made, so this is no later than it was.
    fn last_data(&mut self, wire: &SocketItem) -> u64 {
        let from = self.from;
        let rate = *self
            .rate
            .get_or_init(|| jiffies::per_second(wire.jiffies, from));
        let passed = rate.and_then(|rate| jiffies::nanoseconds(wire.since_data, rate));
        passed.map_or(0, |passed| from.saturating_sub(passed))
    }

    fn add(&mut self, wire: &SocketItem) {
        // Cookie 0 is a socket that vanished while it was looked at.
        if wire.cookie == 0 {
            return;
        }
        let place = *self.places.entry(wire.cookie).or_insert(self.items.len());
        if place == self.items.len() {
            let last_data = self.last_data(wire);
            self.items.push(describe(wire, last_data));
        }
        let Some(item) = self.items.get_mut(place) else {
            return;
        };
        if wire.flags & ITEM_HELD != 0 {
            // Whoever holds it has accepted it, even if the other iterator was there before.
            item.has_socket = true;
            item.inode = wire.inode;
            let holder = Holder {
                pid: wire.tgid,
                fd: wire.fd,
            };
            if !item.holders.contains(&holder) {
                item.holders.push(holder);
            }
            self.holders.insert(wire.tgid, wire.start_boot);
        }
    }
}

fn describe(wire: &SocketItem, last_data: u64) -> Item {
    Item {
        cookie: wire.cookie,
        netns: wire.netns,
        endpoints: Endpoints::from_wire(&wire.endpoints),
        state: wire.state,
        shutdown: wire.shutdown,
        has_socket: wire.flags & ITEM_HAS_SOCKET != 0,
        dead: wire.flags & ITEM_DEAD != 0,
        inode: wire.inode,
        recv_q: wire.recv_q,
        send_q: wire.send_q,
        last_packet: wire.last_packet_us.saturating_mul(1000),
        last_data,
        read_to: wire.copied_seq,
        written_to: wire.write_seq,
        holders: Holders::new(),
    }
}
