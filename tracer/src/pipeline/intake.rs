//! What the kernel program sends, and what it is told in return: unwind rows and language runtimes.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_common::{
    decode::Record,
    event::{PROCESS_EXEC, PROCESS_EXIT},
};

use super::session::Session;
use crate::{
    model::input::Inventory,
    options::Mode,
    probe::host::mono_now_ns,
    source::{rows::Taught, wire},
};

/// How long an event may take from its place in the ring to being filled in.
const FILLED: Duration = Duration::from_millis(50);
const BETWEEN: Duration = Duration::from_micros(200);

impl Session<'_> {
    /// Takes in at least the first `submitted` events, and returns how many of them have come. A record that a CPU has
    /// reserved and not yet filled holds up all that follow it in the ring (`kernel/bpf/ringbuf.c`).
    pub fn drain_to(&mut self, submitted: u64) -> anyhow::Result<u64> {
        let patience = Instant::now() + FILLED;
        loop {
            self.drain()?;
            let (received, _damaged) = self.live.rings.counts();
            if received >= submitted || Instant::now() >= patience {
                return Ok(received.min(submitted));
            }
            thread::sleep(BETWEEN);
        }
    }

    /// Takes in what the rings hold.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        let mut inputs = Vec::new();
        let mut warnings = Vec::new();
        let began = mono_now_ns();
        let mut batch = self.live.rings.take();
        self.take_in_code_changes()?;
        self.take_in_executed(&mut batch)?;
        self.name_samples(&batch.sampled);
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
            self.take_in(input)?;
        }
        self.release()?;
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
