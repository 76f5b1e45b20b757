//! What a process of a followed tree has become: another program, whose code stands where the old one's stood.

use std::io;

use tracer_common::event::Executed;

use super::session::Session;
use crate::{
    model::input::{Input, ProcessKey, Transition, Warning},
    probe::{host::mono_now_ns, mappings::Mappings, rings::Batch},
    source::{process, wire},
    symbolize::Symbolizer,
};

/// Of a tree that is followed from its root on; what the report lacks without them becomes a warning.
pub(super) fn mappings(
    started: Option<io::Result<Mappings>>,
    roots: &[u32],
    symbolizer: &mut Symbolizer,
    warnings: &mut Vec<String>,
) -> Option<Mappings> {
    match started? {
        Ok(mappings) => {
            for root in roots {
                symbolizer.follow(*root);
            }
            Some(mappings)
        }
        Err(error) => {
            warnings.push(format!(
                "the kernel does not tell what processes map as code ({error}): those that end within milliseconds of \
                 what they do with a socket have no names"
            ));
            None
        }
    }
}

impl Session<'_> {
    /// Before the stacks that were copied until then.
    pub(super) fn take_in_code_changes(&mut self) -> anyhow::Result<()> {
        let Some(mappings) = &mut self.mappings else {
            return Ok(());
        };
        let told = mappings.take(mono_now_ns());
        self.symbolizer.take_in(told.changes);
        if told.lost == 0 {
            return Ok(());
        }
        self.symbolizer.forget_told();
        self.warn([Warning::new(
            "code-changes-lost",
            &"",
            "processes came, mapped files and went faster than they could be taken in: some of those that ended at \
             once have no names",
        )])
    }

    /// Before anything else of the batch is taken in.
    pub(super) fn take_in_executed(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        for executed in &batch.executed {
            let pid = executed.tgid;
            // The last moment at which the addresses mean what they meant.
            self.name_stacks(self.stacks.unnamed_of(pid))?;
            self.symbolizer.forget(pid);
            let comm = wire::comm(&executed.comm);
            self.symbolizer.begins_program(pid, &comm, mono_now_ns());
            self.teacher.search.begins(ProcessKey {
                pid,
                start_boot: executed.start_boot,
            });
            let mut process = process::executed(pid, executed.start_boot, comm);
            if process.exe.is_none() {
                process.exe = self.program_of(pid);
            }
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
        let since = self.tracker.since(change.cookie).unwrap_or(0);
        let is_unknown = |pid| self.tracker.process_then(pid, since).is_none();
        let Some(task) = exits.filter(|task| is_unknown(task.pid)) else {
            return Ok(());
        };
        // Its pid may be another process's by now, which is not about to exit.
        let read = process::read(task.pid, self.options.show_cmdline);
        let process = read.filter(process::is_exiting).unwrap_or_else(|| {
            let mut process = process::named(task.pid, 0, task.comm.clone());
            process.exe = self.program_of(task.pid);
            process
        });
        self.feed(Input::Process(process))
    }

    fn program_of(&self, pid: u32) -> Option<String> {
        let path = self.symbolizer.program_of(pid)?;
        Some(process::bounded(path.display().to_string()))
    }
}
