//! The kernel object: embedded, or taken from `SOCKLEAK_BPF_OBJECT`, and loaded with this kernel's
//! offsets and the user's settings frozen in.

use std::io::{self, Read as _};

use aya::{Ebpf, EbpfLoader};
use flate2::read::ZlibDecoder;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tracer_common::{
    config::{self, MAX_PORTS},
    table::{CHUNK_WORDS, DEFAULT_SLOTS, SETS_PER_CHUNK, SLOTS},
};

use super::{layout::Layout, pidns, turns};

/// As the build script packed them.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/objects.z"));

/// In the order of the build script.
#[derive(Clone, Copy)]
enum Embedded {
    WithLoops,
    /// The same sources, for kernels that have no helper for loops, and for those whose verifier goes through every turn with
    /// it as well: without it that takes less time, and a hundredth of the memory.
    WithoutLoops,
}

const OVERRIDE: &str = "SOCKLEAK_BPF_OBJECT";

#[derive(Debug, Error)]
pub enum ObjectError {
    #[error("cannot read the kernel object {OVERRIDE}={path}: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("this program's own copy of the kernel object is damaged: {0}")]
    Damaged(io::Error),
    #[error("the kernel refuses the object's maps or globals: {0}")]
    Refused(#[from] aya::EbpfError),
}

fn own(which: Embedded) -> Result<Vec<u8>, ObjectError> {
    let mut all = Vec::new();
    let unpacked = ZlibDecoder::new(EMBEDDED).read_to_end(&mut all);
    unpacked.map_err(ObjectError::Damaged)?;
    pick(which, &all).ok_or_else(|| ObjectError::Damaged(io::ErrorKind::InvalidData.into()))
}

/// One of the two, of which blocks lie there in turn behind the size of a block and their lengths.
fn pick(which: Embedded, all: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = all.split_at_checked(3 * size_of::<u32>())?;
    let ([block, lengths @ ..], _) = head.as_chunks() else {
        return None;
    };
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
    let block = number(block).max(1);
    let mut left: Vec<usize> = lengths.iter().map(number).collect();
    let mut picked = Vec::new();
    while left.iter().any(|left| *left > 0) {
        for (index, left) in left.iter_mut().enumerate() {
            let (this, others) = rest.split_at_checked(block.min(*left))?;
            if index == which as usize {
                picked.extend_from_slice(this);
            }
            *left -= this.len();
            rest = others;
        }
    }
    Some(picked)
}

/// The bytes to load and their digest, for the report.
pub struct Object {
    bytes: Vec<u8>,
    pub sha256: String,
    /// Another one takes its place where loops cost too much.
    is_with_loops: bool,
    /// What the verifier went through for one loop, once that is known (`turns`).
    pub turns: Option<u64>,
}

impl Object {
    /// The one for this kernel.
    pub fn find(layout: &Layout) -> Result<Self, ObjectError> {
        let (bytes, is_with_loops) = match std::env::var_os(OVERRIDE) {
            Some(path) => {
                let bytes = std::fs::read(&path).map_err(|error| ObjectError::Unreadable {
                    path: path.to_string_lossy().into_owned(),
                    error,
                })?;
                (bytes, false)
            }
            None if layout.has_loops => (own(Embedded::WithLoops)?, true),
            None => (own(Embedded::WithoutLoops)?, false),
        };
        Ok(Self::of(bytes, is_with_loops))
    }

    fn of(bytes: Vec<u8>, is_with_loops: bool) -> Self {
        Self {
            sha256: format!("{:x}", Sha256::digest(&bytes)),
            bytes,
            is_with_loops,
            turns: None,
        }
    }

    pub fn load(&mut self, layout: &Layout, settings: &Settings) -> Result<Ebpf, ObjectError> {
        self.load_with(EbpfLoader::new(), layout, settings)
    }

    /// Making a loader takes a while: it parses the kernel's type information.
    pub fn load_with(
        &mut self,
        loader: EbpfLoader<'_>,
        layout: &Layout,
        settings: &Settings,
    ) -> Result<Ebpf, ObjectError> {
        let mut ebpf = self.load_this(loader, layout, settings)?;
        if self.is_with_loops {
            let turns = turns::verified(&mut ebpf);
            tracing::debug!(turns, "what the verifier went through for one loop");
            if turns.is_some_and(|turns| turns > turns::MOST) {
                drop(ebpf);
                *self = Self::of(own(Embedded::WithoutLoops)?, false);
                ebpf = self.load_this(EbpfLoader::new(), layout, settings)?;
            }
            self.turns = turns;
        }
        Ok(ebpf)
    }

    fn load_this(
        &self,
        loader: EbpfLoader<'_>,
        layout: &Layout,
        settings: &Settings,
    ) -> Result<Ebpf, ObjectError> {
        let mode = if settings.every_transition {
            config::MODE_TRACE
        } else {
            config::MODE_WATCH
        };
        let by_pid = match settings.follows {
            Follows::Everything => 0,
            Follows::Processes => config::BY_PID_ALSO,
            Follows::Tree { .. } => config::BY_PID_TREE,
        };
        let exit_age_ns = match settings.follows {
            Follows::Tree { exit_age_ns } => exit_age_ns,
            Follows::Everything | Follows::Processes => u64::MAX,
        };
        let log_level: u8 = settings.log_level;
        let count_visits = u32::from(settings.cgroups > 0);
        let pid_namespace = pidns::to_tell_ids_in();
        let sets = settings.slots / SLOTS as u32;
        let mask = sets - 1;
        // Values given to it must outlive it.
        let mut loader = loader;
        loader
            .override_global(config::MODE, &mode, true)
            .override_global(config::GRACE, &settings.grace_ns, true)
            .override_global(config::PORTS, &settings.ports, true)
            .override_global(config::BY_PID, &by_pid, true)
            .override_global(config::PID_NS, &pid_namespace, true)
            .override_global(config::EXIT_AGE, &exit_age_ns, true)
            .override_global(config::COUNT_VISITS, &count_visits, true)
            .override_global(config::ITER_STATES, &settings.iter_states, true)
            .override_global(config::RECVMSG_ARGS, &layout.recvmsg_args, true)
            .override_global(config::SET_MASK, &mask, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .map_max_entries("SETS", sets.div_ceil(SETS_PER_CHUNK as u32))
            .map_max_entries("RECORDS", settings.slots)
            .map_max_entries("VISITS", settings.cgroups.clamp(1, config::MAX_CGROUPS))
            .map_max_entries("EVENTS", settings.event_ring_bytes);
        if settings.follows == Follows::Everything {
            loader.map_max_entries("TARGETS", 1);
        }
        if !matches!(settings.follows, Follows::Tree { .. }) {
            loader.map_max_entries("EXITING", 1);
            loader.map_max_entries("LISTENERS", 1);
            loader.map_max_entries("LISTENS_AT", 1);
        }
        for (global, value) in layout.offsets.iter().chain(&layout.gates) {
            loader.override_global(global, value, true);
        }
        Ok(loader.load(&self.bytes)?)
    }
}

/// Whose sockets the kernel program remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    Everything,
    /// What the named processes and their children do, and all sockets that get stuck.
    Processes,
    /// Sockets of one tree of processes that begins after the tracer, and nothing else.
    Tree {
        exit_age_ns: u64,
    },
}

/// What the kernel program is told at load.
#[derive(Clone, Debug)]
pub struct Settings {
    pub every_transition: bool,
    pub grace_ns: u64,
    pub ports: [u16; MAX_PORTS],
    pub follows: Follows,
    /// States the iterators report, one bit per state.
    pub iter_states: u32,
    /// Sockets the kernel remembers; a power of two.
    pub slots: u32,
    pub event_ring_bytes: u32,
    /// Cgroups by which visits to `CLOSE_WAIT` are counted; 0 does not count them.
    pub cgroups: u32,
    /// aya-log level: 0 is off, 5 is trace.
    pub log_level: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every_transition: false,
            grace_ns: 1_000_000_000,
            ports: [0; MAX_PORTS],
            follows: Follows::Everything,
            iter_states: 0,
            cgroups: 0,
            slots: DEFAULT_SLOTS,
            event_ring_bytes: 4 << 20,
            log_level: 0,
        }
    }
}

/// Words of one element of the key array, as aya wants to see it.
pub type Chunk = [u64; CHUNK_WORDS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_unpacked_as_it_was() {
        let file = |name: &str| std::fs::read(format!("ebpf/{name}")).unwrap();
        assert!(own(Embedded::WithLoops).unwrap() == file("sockleak.bpf.o"));
        assert!(own(Embedded::WithoutLoops).unwrap() == file("sockleak-5.10.bpf.o"));
    }

    #[test]
    fn blocks_may_end_anywhere() {
        let head = [2_u32, 5, 6].map(u32::to_le_bytes).concat();
        let all = [&head[..], b"abABcdCDeEF"].concat();
        assert_eq!(pick(Embedded::WithLoops, &all).unwrap(), b"abcde");
        assert_eq!(pick(Embedded::WithoutLoops, &all).unwrap(), b"ABCDEF");
        assert!(pick(Embedded::WithLoops, &all[..all.len() - 1]).is_none());
        assert!(pick(Embedded::WithLoops, b"").is_none());
    }
}
