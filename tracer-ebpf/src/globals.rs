//! Values patched in at load and frozen, so that the verifier sees constants and drops dead code.

use aya_ebpf::Global;
use tracer_common::{config::MAX_PORTS, kernel_fields, layout::ABSENT};

/// Where a field is in its structure.
pub trait Offset {
    /// `None` where the running kernel has no such field.
    fn get(&self) -> Option<u32>;
}

/// Of a field that every kernel has on which this is loaded: nothing has to ask.
#[repr(transparent)]
pub struct Required(Global<u32>);

impl Required {
    const fn new(offset: u32) -> Self {
        Self(Global::new(offset))
    }
}

impl Offset for Required {
    #[inline(always)]
    fn get(&self) -> Option<u32> {
        Some(self.0.load())
    }
}

#[repr(transparent)]
pub struct Optional(Global<u32>);

impl Optional {
    const fn new(offset: u32) -> Self {
        Self(Global::new(offset))
    }
}

impl Offset for Optional {
    #[inline(always)]
    fn get(&self) -> Option<u32> {
        let offset = self.0.load();
        if offset == ABSENT { None } else { Some(offset) }
    }
}

macro_rules! offset {
    (required) => {
        Required
    };
    (optional) => {
        Optional
    };
}

macro_rules! offsets {
    ($($global:ident = $strukt:literal $path:literal $need:ident;)*) => {
        $(#[unsafe(no_mangle)] pub static $global: offset!($need) = <offset!($need)>::new(ABSENT);)*
    };
}
kernel_fields!(offsets);

#[unsafe(no_mangle)]
pub static MODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static GRACE_NS: Global<u64> = Global::new(1_000_000_000);
#[unsafe(no_mangle)]
pub static EXIT_AGE_NS: Global<u64> = Global::new(u64::MAX);
#[unsafe(no_mangle)]
pub static SET_MASK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static PORTS: Global<[u16; MAX_PORTS]> = Global::new([0; MAX_PORTS]);
#[unsafe(no_mangle)]
pub static BY_PID: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static PID_NS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static COUNT_VISITS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static ITER_STATES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static HAS_COOKIE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static HAS_REGS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static HAS_SOCK_FROM_FILE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
pub static RECVMSG_ARGS: Global<u32> = Global::new(0);
