//! What a tree of processes maps as code, told by the kernel while it happens: a process that lives for a moment
//! can be named after its end. Follows forks; nothing else on the machine is told of, or slowed down.

use std::{ffi::OsString, fmt::Write as _, io, os::unix::ffi::OsStringExt};

use perf_event::{
    Builder, Clock, SampleFlag, Sampler,
    data::{Mmap2, Record},
    events::Software,
};

use crate::model::code_change::{Change, CodeChange, FileIdentity, MappedCode};

/// For each CPU. A program with its libraries takes 1 KiB from fork to exit.
const RING: usize = 256 << 10;
/// `PERF_RECORD_MISC_COMM_EXEC` (`include/uapi/linux/perf_event.h`).
const MISC_COMM_EXEC: u16 = 1 << 13;
/// What stands at the end of every record: its time (`sample_id_all`).
const TIME: usize = size_of::<u64>();

/// What has been told, in the order of its time.
#[derive(Default)]
pub struct Told {
    pub changes: Vec<CodeChange>,
    /// Records there was no room for.
    pub lost: u64,
}

pub struct Mappings {
    rings: Vec<Sampler>,
    /// Younger than what was asked for.
    later: Vec<CodeChange>,
}

impl Mappings {
    /// Of a process that has one thread and waits, and all that comes of it.
    pub fn of_tree(root: u32) -> io::Result<Self> {
        let cpus = aya::util::online_cpus().map_err(|(_, error)| error)?;
        let mut rings = Vec::new();
        for cpu in cpus {
            rings.push(ring(root, cpu as usize)?);
        }
        Ok(Self {
            rings,
            later: Vec::new(),
        })
    }

    /// All that happened until `at`: what one CPU tells later than another is in its place.
    pub fn take(&mut self, at: u64) -> Told {
        let mut told = Told::default();
        let mut changes = std::mem::take(&mut self.later);
        for ring in &mut self.rings {
            while let Some(record) = ring.next_record() {
                let time = time(&record.to_contiguous());
                let executes = record.misc() & MISC_COMM_EXEC != 0;
                match record.parse_record() {
                    Ok(Record::Lost(lost)) => told.lost += lost.lost,
                    Ok(parsed) => changes.extend(change(parsed, executes, time)),
                    Err(_) => told.lost += 1,
                }
            }
        }
        changes.sort_by_key(|change| change.at);
        let due = changes.partition_point(|change| change.at <= at);
        self.later = changes.split_off(due);
        told.changes = changes;
        told
    }
}

fn ring(root: u32, cpu: usize) -> io::Result<Sampler> {
    let open = |build_ids: bool| {
        let pid = root.try_into().map_err(io::Error::other)?;
        Builder::new(Software::DUMMY)
            .observe_pid(pid)
            .one_cpu(cpu)
            .inherit(true)
            .mmap(true)
            .mmap2(true)
            .build_id(build_ids)
            .comm(true)
            .comm_exec(true)
            .task(true)
            .sample_id_all(true)
            .sample(SampleFlag::TIME)
            .clockid(Clock::MONOTONIC)
            .enabled(true)
            .build()
    };
    // Before 5.12 the kernel knows no build-ids, and refuses what it does not know.
    let counter = open(true).or_else(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => open(false),
        _ => Err(error),
    })?;
    counter.sampled(RING)
}

fn time(record: &[u8]) -> u64 {
    let last = record.last_chunk::<TIME>();
    last.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

fn change(record: Record<'_>, executes: bool, at: u64) -> Option<CodeChange> {
    let (pid, what) = match record {
        Record::Mmap2(mapping) => (mapping.pid, Change::Mapped(mapped(mapping))),
        Record::Comm(comm) if executes => (comm.pid, Change::Executed),
        Record::Fork(fork) if fork.pid == fork.ppid => (fork.pid, Change::ThreadBegan),
        Record::Fork(fork) => (fork.pid, Change::Forked { parent: fork.ppid }),
        Record::Exit(exit) => (exit.pid, Change::ThreadEnded),
        _ => return None,
    };
    Some(CodeChange { at, pid, what })
}

fn mapped(mapping: Mmap2<'_>) -> MappedCode {
    let identity = match (mapping.build_id(), mapping.ino()) {
        (Some(id), _) => FileIdentity::BuildId(hex(id)),
        (None, Some(ino)) if ino != 0 => {
            let device = mapping.maj().zip(mapping.min()).unwrap_or_default();
            FileIdentity::Inode(device, ino)
        }
        _ => FileIdentity::None,
    };
    MappedCode {
        range: mapping.addr..mapping.addr.saturating_add(mapping.len),
        offset: mapping.pgoff,
        path: OsString::from_vec(mapping.filename.into_owned()).into(),
        identity,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes anything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
