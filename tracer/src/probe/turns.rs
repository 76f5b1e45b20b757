//! Whether this kernel's verifier goes through a loop of the helper `bpf_loop` once, or again and again as that of 6.19
//! does: by the count that it tells of a small program of the object, which has one loop and does nothing else.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    programs::{PerfEvent, ProgramError},
};

use super::usage;

pub const PROGRAM: &str = "turns";
/// 6.1 takes 555, 6.12 takes 1577, 7.3 takes 1823, and 6.19 takes 3090.
pub const MOST: u64 = 2500;

/// How many instructions the verifier went through; `None` where the kernel does not tell, or has no such program.
pub fn verified(ebpf: &mut Ebpf) -> Option<u64> {
    match count(ebpf) {
        Ok(count) => count.filter(|count| *count > 0),
        Err(error) => {
            tracing::debug!(%error, "the program with one loop cannot be loaded");
            None
        }
    }
}

fn count(ebpf: &mut Ebpf) -> Result<Option<u64>, ProgramError> {
    let Some(program) = ebpf.program_mut(PROGRAM) else {
        return Ok(None);
    };
    let program: &mut PerfEvent = program.try_into()?;
    program.load()?;
    let count = usage::number(program.fd()?.as_fd(), "verified_insns");
    program.unload()?;
    Ok(Some(count))
}
