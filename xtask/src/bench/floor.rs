//! The floor: empty programs on the hooks `sockleak watch` uses. What they cost is the price of
//! the hooks themselves; no tracer on them can be cheaper.

use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Leave the accept hook out
    #[arg(long)]
    no_accept_hook: bool,
}

/// The line that says the programs are attached.
pub const READY: &str = "attached";

pub const IS_BUILT_IN: bool = cfg!(feature = "floor");

#[cfg(feature = "floor")]
pub fn hold(args: &Args) -> Result<()> {
    use std::io::Read as _;

    use anyhow::Context as _;
    use aya::{Btf, Endianness};
    use tracer::probe::attach::{AcceptHook, Wanted, attach};
    use tracer::probe::layout::Layout;
    use tracer::probe::object::{Object, Settings};

    let accept = if args.no_accept_hook {
        AcceptHook::None
    } else {
        AcceptHook::Auto
    };
    let wanted = Wanted {
        empty: true,
        ..Wanted::watch(accept)
    };
    let (layout, types) = Layout::of_running_kernel().context("read the kernel's types")?;
    let btf = Btf::parse(&types, Endianness::default()).context("read the kernel's types")?;
    let mut object = Object::find(&layout).context("find the kernel object")?;
    let mut ebpf = object
        .load(&layout, &Settings::default())
        .context("load the kernel object")?;
    let attached = attach(&mut ebpf, &btf, &wanted).context("attach the empty programs")?;
    crate::say::result(READY);
    // Held until whoever started us closes our stdin, or is gone.
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("wait for the end of stdin")?;
    drop((attached, ebpf));
    Ok(())
}

#[cfg(not(feature = "floor"))]
pub fn hold(args: &Args) -> Result<()> {
    anyhow::bail!(
        "this build of xtask cannot load the kernel object (no accept hook: {})",
        args.no_accept_hook
    )
}
