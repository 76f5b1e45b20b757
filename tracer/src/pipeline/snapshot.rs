//! `sockleak snapshot`: what is stuck now, from the iterators alone. Nothing is attached.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    output::{self, Outputs},
    session::{Session, ns},
};
use crate::{
    options::Options,
    probe::{
        attach::{AcceptHook, Wanted},
        host::Host,
    },
};

/// Longer than a program takes to notice that its peer hung up.
const MOMENT: Duration = Duration::from_millis(250);

pub fn run(options: &Options, host: &Host) -> anyhow::Result<u8> {
    let outputs = Outputs::open(options)?;
    let nothing = Wanted {
        purposes: Vec::new(),
        accept: AcceptHook::None,
        on_demand: Vec::new(),
        late: Vec::new(),
        empty: false,
    };
    let mut session = Session::start(options, host, &nothing)?;
    session.inspect_and_look_at_open()?;
    // Keepalive makes what is old look young, and what closes in a moment looks as old as its last data: what
    // is still there after a moment, untouched, is told. So it is with what nobody seems to read.
    let undecided = session.tracker.undecided(ns(options.min_age)) > 0;
    let in_danger = session.tracker.in_danger().next().is_some();
    let looked = Instant::now();
    // Only where a thread of a holder runs.
    let sampled = session.sample_at_once()?;
    if undecided || in_danger {
        let moment = options.look_again.unwrap_or(MOMENT);
        thread::sleep(moment.saturating_sub(looked.elapsed()));
        session.look_at_open()?;
    }
    if undecided {
        session.inspect()?;
    } else if sampled {
        session.enrich()?;
    }
    output::deliver(session.conclude()?, options, outputs)
}
