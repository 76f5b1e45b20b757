//! What a process of a followed tree has become: another program, whose code stands where the old one's stood.

use tracer_common::event::Executed;

use super::session::Session;
use crate::{
    model::input::{Input, Transition, Warning},
    probe::rings::Batch,
    source::{process, wire},
};

impl Session<'_> {
    /// Before anything else of the batch is taken in.
    pub(super) fn take_in_executed(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        for executed in &batch.executed {
            let pid = executed.tgid;
            // The last moment at which the addresses mean what they meant.
            self.name_stacks(self.stacks.unnamed_of(pid))?;
            self.symbolizer.forget(pid);
            let comm = wire::comm(&executed.comm);
            let process = process::executed(pid, executed.start_boot, comm);
            self.feed(Input::Process(process))?;
        }
        let before = batch.stacks.len();
        let executed = &batch.executed;
        let is_old = |pid: u32, at: u64| {
            executed
                .iter()
                .any(|executed: &Executed| executed.tgid == pid && at < executed.header.at)
        };
        batch
            .stacks
            .retain(|copy| !is_old(copy.tgid, copy.header.at));
        if batch.stacks.len() < before {
            self.warn([Warning::new(
                "executed",
                &"",
                "a process used sockets and executed another program within a moment: what it did before has \
                 no names",
            )])?;
        }
        Ok(())
    }

    /// Nobody has looked at the process while it lived: its name is all there is.
    pub(super) fn learn_of_exit(&mut self, change: &Transition) -> anyhow::Result<()> {
        let exits = change.task.as_ref().filter(|task| task.exiting);
        let Some(task) = exits.filter(|task| self.tracker.process(task.pid).is_none()) else {
            return Ok(());
        };
        let process = process::read(task.pid, self.options.show_cmdline)
            .unwrap_or_else(|| process::named(task.pid, 0, task.comm.clone()));
        self.feed(Input::Process(process))
    }
}
