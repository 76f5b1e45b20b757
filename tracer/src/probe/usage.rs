//! What programs and maps cost, as the kernel tells it in /proc/self/fdinfo: time, runs, memory.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::{Ebpf, maps::Map};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSize {
    pub name: String,
    pub bytes: u64,
    pub capacity: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    pub name: String,
    pub nanoseconds: u64,
    pub runs: u64,
}

pub(super) fn map_sizes(ebpf: &Ebpf) -> Vec<MapSize> {
    let mut sizes: Vec<MapSize> = ebpf
        .maps()
        .filter_map(|(name, map)| {
            let (Map::Array(data)
            | Map::HashMap(data)
            | Map::LruHashMap(data)
            | Map::PerCpuArray(data)
            | Map::PerCpuHashMap(data)
            | Map::RingBuf(data)) = map
            else {
                return None;
            };
            let fd = data.fd().as_fd();
            Some(MapSize {
                name: name.to_ascii_lowercase(),
                bytes: number(fd, "memlock"),
                capacity: number(fd, "max_entries"),
            })
        })
        // Frozen globals, named by their section.
        .filter(|size| !size.name.starts_with('.'))
        .collect();
    sizes.sort_by(|one, other| one.name.cmp(&other.name));
    sizes
}

pub(super) fn program_runs(ebpf: &Ebpf) -> Vec<ProgramRuns> {
    let mut runs: Vec<ProgramRuns> = ebpf
        .programs()
        .filter_map(|(name, program)| {
            let fd = program.fd().ok()?.as_fd();
            Some(ProgramRuns {
                name: name.to_owned(),
                nanoseconds: number(fd, "run_time_ns"),
                runs: number(fd, "run_cnt"),
            })
        })
        .collect();
    runs.sort_by(|one, other| one.name.cmp(&other.name));
    runs
}

/// How many instructions the verifier went through for each program that is loaded, branches taken again counted;
/// the kernel tells it since 5.16 (`kernel/bpf/syscall.c:bpf_prog_show_fdinfo`).
pub(super) fn verified(ebpf: &Ebpf) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = ebpf
        .programs()
        .filter_map(|(name, program)| {
            let count = number(program.fd().ok()?.as_fd(), "verified_insns");
            (count > 0).then(|| (name.to_owned(), count))
        })
        .collect();
    all.sort();
    all
}

/// A line of fdinfo; 0 when there is none.
pub(super) fn number(fd: BorrowedFd<'_>, name: &str) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap_or_default();
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| *known == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
