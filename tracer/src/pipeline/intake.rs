//! What the kernel program sends, and what it is told in return: unwind rows and language runtimes.

use anyhow::Context as _;
use tracer_common::{
    decode::Record,
    event::{PROCESS_EXEC, PROCESS_EXIT},
};

use super::session::Session;
use crate::{
    model::input::{Input, Inventory},
    options::Mode,
    probe::host::mono_now_ns,
    source::{rows::Taught, wire},
};

impl Session<'_> {
    /// Takes in what the rings hold.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        let mut inputs = Vec::new();
        let mut warnings = Vec::new();
        let began = mono_now_ns();
        let mut batch = self.live.rings.take();
        self.take_in_code_changes()?;
        self.take_in_executed(&mut batch)?;
        let Self {
            live,
            symbolizer,
            stacks,
            teacher,
            ..
        } = self;
        // Stacks first: their processes may be about to exit.
        let mut taught = Taught {
            rows: &mut live.rows,
            runtimes: &mut live.runtimes,
        };
        inputs.extend(teacher.take_in(
            &batch.stacks,
            &mut taught,
            symbolizer,
            stacks,
            &mut warnings,
        )?);
        for record in &batch.events {
            match record {
                Record::Process(event) if event.what == PROCESS_EXEC => {
                    symbolizer.forget(event.tgid);
                }
                Record::Process(event) if event.what == PROCESS_EXIT => {
                    stacks.process_ended(event.tgid);
                    let ended = live.rows.ended(event.tgid);
                    ended.context("take back unwind rows")?;
                }
                _ => {}
            }
            inputs.extend(wire::inputs(record));
        }
        live.flush_log();
        for input in inputs {
            if let Input::Transition(change) | Input::Destroyed(change) = &input {
                self.learn_of_exit(change)?;
            }
            self.feed(input)?;
        }
        // All stacks that were copied of them have been taken in.
        self.symbolizer.forget_ended(began);
        self.warn(warnings)
    }

    /// Of programs that hold sockets when this begins, before they touch one again: until their language runtime is
    /// known, their functions are not told apart.
    pub(super) fn look_for_runtimes(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.looked_for_runtimes, true)
            || !self.options.mode.follows_events()
        {
            return Ok(());
        }
        // Of one tree that begins at the gate, nothing holds a socket yet.
        if matches!(self.options.mode, Mode::Run(_)) {
            return Ok(());
        }
        self.teacher.search.of_processes(
            &inventory.holders,
            &mut self.live.runtimes,
            &mut self.symbolizer,
        )
    }
}
