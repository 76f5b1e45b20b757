//! Offsets of the running kernel for the one table of fields both sides share.

use thiserror::Error;
use tracer_common::{
    config,
    layout::{ABSENT, FIELDS, Field},
};

use super::{
    btf::{Btf, BtfError},
    pruned::{is_attached_to, pruned},
};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

#[derive(Debug, Error)]
pub enum LayoutError {
    #[error("cannot read {VMLINUX}: {0}")]
    Unreadable(#[from] std::io::Error),
    #[error("cannot understand {VMLINUX}: {0}")]
    Malformed(#[from] BtfError),
    #[error("this kernel's struct {0} has no field {1}")]
    MissingField(&'static str, &'static str),
}

/// A gate and the helper whose existence is the evidence. `get_socket_cookie` is older than its
/// admission to tracing programs, which came in the same release as `check_mtu` (5.12).
const GATES: &[(&str, &str)] = &[
    (config::HAS_COOKIE, "check_mtu"),
    (config::HAS_REGS, "task_pt_regs"),
    (config::HAS_SOCK_FROM_FILE, "sock_from_file"),
];

/// What the kernel program must know of the running kernel.
#[derive(Debug)]
pub struct Layout {
    /// Global name and value, in the order of the table.
    pub offsets: Vec<(&'static str, u32)>,
    /// Parameters of `tcp_recvmsg`; its result follows them in an fexit context.
    pub recvmsg_args: u32,
    /// The kernel runs loops by a helper (since 5.17).
    pub has_loops: bool,
    /// Globals that gate helpers, with 1 where this kernel offers the helper to tracing programs.
    pub gates: Vec<(&'static str, u32)>,
}

/// The running kernel's type information.
pub fn data() -> Result<Vec<u8>, LayoutError> {
    Ok(std::fs::read(VMLINUX)?)
}

impl Layout {
    /// With the type information that aya needs.
    pub fn of_running_kernel() -> Result<(Self, Vec<u8>), LayoutError> {
        let data = data()?;
        let btf = Btf::parse(&data)?;
        Ok((Self::of(&btf)?, pruned(&btf, is_attached_to)))
    }

    pub fn from_btf(data: &[u8]) -> Result<Self, LayoutError> {
        Self::of(&Btf::parse(data)?)
    }

    pub fn of(btf: &Btf<'_>) -> Result<Self, LayoutError> {
        let offsets = FIELDS
            .iter()
            .map(|field| resolve(btf, field))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            offsets,
            has_loops: btf.has_helper("loop"),
            recvmsg_args: btf.parameters("tcp_recvmsg").unwrap_or(0),
            gates: GATES
                .iter()
                .map(|(global, evidence)| (*global, u32::from(btf.has_helper(evidence))))
                .collect(),
        })
    }
}

fn resolve(btf: &Btf<'_>, field: &Field) -> Result<(&'static str, u32), LayoutError> {
    match btf.offset(field.strukt, field.path) {
        Some(offset) => Ok((field.global, offset)),
        None if field.required => Err(LayoutError::MissingField(field.strukt, field.path)),
        None => Ok((field.global, ABSENT)),
    }
}

impl Layout {
    pub fn gate(&self, global: &str) -> bool {
        self.gates
            .iter()
            .any(|(name, on)| *name == global && *on != 0)
    }
}

#[cfg(test)]
mod tests;
