//! Hooks that are attached only while something is stuck: their programs are loaded and were tried, and cost nothing
//! until then. Does not know when that is.

use aya::Ebpf;

use super::{
    attach::{Attached, HookError, Link, Wanted, attach_loaded, load_late},
    hooks::Hook,
    tracepoint::Tracepoints,
};

#[derive(Default)]
pub struct OnDemand {
    hooks: Vec<&'static Hook>,
    tracepoints: Tracepoints,
    links: Vec<Link>,
}

impl OnDemand {
    /// Detaches, of what was attached, all that is wanted on demand; the rest is given back.
    pub fn take_from(attached: &mut Attached, wanted: &Wanted) -> Option<Self> {
        if wanted.on_demand.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut attached.links);
        let (later, now): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(hook, _)| wanted.on_demand.contains(&hook.purpose));
        attached.links = now;
        for status in &mut attached.statuses {
            status.on_demand |= wanted.on_demand.contains(&status.purpose) && status.is_working();
        }
        Some(Self {
            hooks: later.iter().map(|(hook, _)| *hook).collect(),
            tracepoints: std::mem::take(&mut attached.tracepoints),
            links: Vec::new(),
        })
    }

    /// Hooks of one purpose that nobody has tried to attach: taking a system call's hook away again takes a tenth of a
    /// second.
    pub fn untried(hooks: Vec<&'static Hook>) -> Self {
        Self {
            hooks,
            ..Self::default()
        }
    }

    /// In the order of the table: whoever sees a socket being accepted sees what is done with it afterwards.
    pub fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), HookError> {
        load_late(ebpf, &self.hooks)?;
        for hook in &self.hooks {
            let program = ebpf
                .program_mut(hook.program)
                .ok_or(HookError::NoProgram(hook.program))?;
            match attach_loaded(program, hook, &mut self.tracepoints) {
                Ok(link) => self.links.push(link),
                Err(error) => {
                    self.detach();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes the kernel a tenth of a second.
    pub fn detach(&mut self) {
        self.links.clear();
    }
}
