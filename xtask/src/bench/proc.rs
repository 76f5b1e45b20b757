//! The few files of /proc the benchmarks read. What has gone meanwhile is left out, not an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Ids of all processes, ours included.
pub fn processes() -> Vec<u32> {
    numbers_in(Path::new("/proc"))
}

pub fn threads_of(pid: u32) -> Vec<u32> {
    numbers_in(Path::new(&format!("/proc/{pid}/task")))
}

pub fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Nanoseconds a thread has spent on a CPU, interrupts that hit it included, steal excluded.
pub fn run_ns(pid: u32, tid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// One `key: value` table for each open file of a process.
pub fn fdinfo(pid: u32) -> Vec<BTreeMap<String, String>> {
    let folder = format!("/proc/{pid}/fdinfo");
    numbers_in(Path::new(&folder))
        .into_iter()
        .filter_map(|fd| fs::read_to_string(format!("{folder}/{fd}")).ok())
        .map(|text| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
                .collect()
        })
        .collect()
}

/// Numbers under one key of any of a process's open files, such as `prog_id`.
pub fn fdinfo_numbers(pid: u32, key: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = fdinfo(pid)
        .iter()
        .filter_map(|file| file.get(key)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Resident memory in bytes, files that are mapped included.
pub fn resident(pid: u32) -> Option<Resident> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |key: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some(Resident {
        now: kib("VmRSS:")? * 1024,
        peak: kib("VmHWM:")? * 1024,
    })
}

/// Bytes of maps of BPF programs that are mapped into the process, a ring's pages twice.
pub fn mapped_bpf_maps(pid: u32) -> Option<u64> {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let mut is_map = false;
    let mut bytes = 0;
    for line in all.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Rss:") if is_map => {
                let kib: u64 = words.next()?.parse().ok()?;
                bytes += kib * 1024;
            }
            Some(first) if !first.ends_with(':') => is_map = line.ends_with("anon_inode:bpf-map"),
            _ => {}
        }
    }
    Some(bytes)
}

#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub now: u64,
    pub peak: u64,
}

fn numbers_in(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_has_run() {
        let me = std::process::id();
        assert!(processes().contains(&me));
        assert!(threads_of(me).contains(&me));
        assert!(resident(me).unwrap().now > 0);
        assert!(run_ns(me, me).is_some());
        assert!(!fdinfo_numbers(me, "flags").is_empty());
        assert_eq!(mapped_bpf_maps(me), Some(0));
    }

    #[test]
    fn what_is_gone_is_left_out() {
        assert_eq!(run_ns(u32::MAX, 1), None);
        assert_eq!(mapped_bpf_maps(u32::MAX), None);
        assert!(fdinfo(u32::MAX).is_empty());
        assert!(threads_of(u32::MAX).is_empty());
    }
}
