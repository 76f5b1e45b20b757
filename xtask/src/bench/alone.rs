//! A probe somebody else left on a hook makes every figure wrong, so nobody else may trace.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use aya_obj::generated::bpf_prog_type;

use super::proc;
use crate::say;
use crate::trouble::Trouble;

const PATIENCE: Duration = Duration::from_mins(10);

/// Waits until no program traces this machine.
pub fn wait() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let others = strangers(None);
        if others.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Trouble::error(
                format!(
                    "other BPF programs trace this machine: {}",
                    others.join(", ")
                ),
                "a monitoring agent, another sockleak, or a test is running",
                "stop it; `bpftool prog show` says which process holds a program",
            ));
        }
        if !told {
            say::step(format_args!(
                "waiting for other BPF programs to go: {}",
                others.join(", ")
            ));
            told = true;
        }
        sleep(Duration::from_millis(200));
    }
}

/// Tracing programs that `tool` does not hold.
pub fn strangers(tool: Option<u32>) -> Vec<String> {
    let own: BTreeSet<u32> = tool
        .map(|pid| proc::fdinfo_numbers(pid, "prog_id"))
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut names = Vec::new();
    for program in loaded_programs() {
        // One that is unloaded while we look is no longer in the way.
        let Ok(program) = program else { continue };
        if slows_traced_code(program.program_type()) && !own.contains(&program.id()) {
            names.push(format!(
                "{} ({})",
                program.name_as_str().unwrap_or("unnamed"),
                program.id()
            ));
        }
    }
    names
}

/// Ids of the programs and links a process holds: they change while it still attaches.
pub fn held_by(pid: u32) -> (Vec<u32>, Vec<u32>) {
    (
        proc::fdinfo_numbers(pid, "prog_id"),
        proc::fdinfo_numbers(pid, "link_id"),
    )
}

/// Says early that this machine cannot list programs at all.
pub fn check() -> Result<()> {
    match loaded_programs().next() {
        Some(Err(error)) => Err(error).context("list the kernel's BPF programs"),
        _ => Ok(()),
    }
}

/// Cgroup and traffic control programs, which init systems leave about, see none of our events.
fn slows_traced_code(kind: bpf_prog_type) -> bool {
    matches!(
        kind,
        bpf_prog_type::BPF_PROG_TYPE_KPROBE
            | bpf_prog_type::BPF_PROG_TYPE_TRACEPOINT
            | bpf_prog_type::BPF_PROG_TYPE_PERF_EVENT
            | bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT
            | bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE
            | bpf_prog_type::BPF_PROG_TYPE_TRACING
            | bpf_prog_type::BPF_PROG_TYPE_LSM
            | bpf_prog_type::BPF_PROG_TYPE_SOCK_OPS
    )
}
