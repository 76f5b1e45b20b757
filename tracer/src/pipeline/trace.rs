//! `sockleak trace`: every transition as it happens, one line each.

use std::{
    collections::{HashMap, HashSet},
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::tz::TimeZone;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};
use tracer_common::{
    decode::Record,
    state::{CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, LAST_ACK, LISTEN, SYN_SENT},
};

use super::{
    output::{self, Output},
    start,
    unmatched::Unmatched,
};
use crate::{
    exit::{self, Explained},
    model::{
        input::{Counters, Task, Transition},
        tcp_state::TcpState,
        trace_event::{TraceEvent, TraceProcess, TransitionCause},
        untrusted::Untrusted,
    },
    options::Options,
    probe::{
        attach::Wanted,
        host::{Clock, mono_now_ns},
        live::Live,
        object::{Follows, Settings},
        target,
    },
    sink::trace::{TraceFormat, TraceOptions, TraceWriter},
    source::{process, wire},
};

/// The ring holds 140,000 transitions; drained this often, 3 million a second fit.
const DRAIN: Duration = Duration::from_millis(40);
const RING_BYTES: u32 = 16 << 20;
/// How long a record that is being written is waited for at the end.
const FILLED: Duration = Duration::from_secs(1);
/// Sockets whose current state's beginning is remembered.
const MAX_STATES: usize = 1_000_000;

pub async fn run(options: &Options) -> anyhow::Result<u8> {
    for pid in &options.filter.pids {
        target::check_pid(*pid)?;
    }
    let output = Output::open(options)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let pids = process::with_descendants(&options.filter.pids);
    let settings = Settings {
        every_transition: true,
        ports: options.filter.kernel_ports(),
        follows: if pids.is_empty() {
            Follows::Everything
        } else {
            Follows::Processes
        },
        iter_states: 1 << LISTEN | 1 << ESTABLISHED | 1 << CLOSE_WAIT | 1 << SYN_SENT,
        slots: tracer_common::table::MIN_SLOTS,
        event_ring_bytes: RING_BYTES,
        log_level: if options.verbosity > 1 { 5 } else { 0 },
        ..Settings::default()
    };
    let live = start::start(&settings, &Wanted::trace(), &pids, &options.mode)?.live;
    let mut tracing = Tracing::new(options, live, output)?;
    let deadline = sleep(options.duration.unwrap_or(Duration::MAX / 4));
    tokio::pin!(deadline);
    let mut tick = interval(DRAIN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => tracing.drain()?,
            () = &mut deadline => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    tracing.drain_to_the_end().await?;
    tracing.finish()
}

struct Tracing<'o> {
    options: &'o Options,
    live: Live,
    out: BufWriter<Output>,
    writer: TraceWriter,
    clock: Clock,
    /// When each socket entered its state.
    since: HashMap<u64, u64>,
    filter: Option<Ownership>,
    batch: Vec<Transition>,
    unmatched: Unmatched,
}

/// Sockets of the processes asked for, as far as the kernel proves it: held at the start, opened
/// since, or come in through one of their listeners.
struct Ownership {
    cookies: HashSet<u64>,
    listening: HashSet<(u32, u16)>,
}

impl<'o> Tracing<'o> {
    fn new(options: &'o Options, mut live: Live, output: Output) -> anyhow::Result<Self> {
        let filter = if options.filter.pids.is_empty() && options.filter.comm.is_none() {
            None
        } else {
            Some(Ownership::now(options, &mut live)?)
        };
        let format = if options.json {
            TraceFormat::Ndjson
        } else {
            TraceFormat::Text
        };
        let mut tracing = Self {
            options,
            live,
            out: BufWriter::with_capacity(1 << 18, output),
            writer: TraceWriter::new(TraceOptions {
                format,
                redact_addrs: options.redact_addrs,
                time_zone: TimeZone::system(),
            }),
            clock: Clock::now(),
            since: HashMap::new(),
            filter,
            batch: Vec::new(),
            unmatched: Unmatched::new(&options.filter),
        };
        let header = tracing.writer.write_header(&mut tracing.out);
        tracing.checked(header)?;
        let flushed = tracing.out.flush();
        tracing.checked(flushed)?;
        Ok(tracing)
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        for record in self.live.rings.take().events {
            if let Record::Transition(change) = &record {
                batch.push(wire::transition(change));
            }
        }
        // CPUs share the ring, but the time is taken before the place in it.
        batch.sort_by_key(|change| change.at);
        for change in batch.drain(..) {
            self.write(&change)?;
        }
        self.batch = batch;
        self.live.flush_log();
        self.unmatched.look_for_process();
        let flushed = self.out.flush();
        self.checked(flushed)
    }

    fn write(&mut self, change: &Transition) -> anyhow::Result<()> {
        let since = if change.new == CLOSE {
            self.since.remove(&change.cookie)
        } else if self.since.len() < MAX_STATES || self.since.contains_key(&change.cookie) {
            self.since.insert(change.cookie, change.at)
        } else {
            None
        };
        if !self.wants(change) {
            return Ok(());
        }
        let event = TraceEvent {
            at: self.clock.wall(change.at),
            cookie: change.cookie,
            netns: change.netns,
            process: change.task.as_ref().map(|task| TraceProcess {
                pid: task.pid,
                tid: task.tid,
                comm: Untrusted::new(task.comm.clone()),
            }),
            local: change.endpoints.local,
            remote: change.endpoints.remote,
            old: TcpState::from_u8(change.old),
            new: TcpState::from_u8(change.new),
            in_old: since.map(|since| Duration::from_nanos(change.at.saturating_sub(since))),
            cause: cause(change),
        };
        let written = self.writer.write(&mut self.out, &event);
        self.checked(written)
    }

    fn wants(&mut self, change: &Transition) -> bool {
        let Some(own) = &mut self.filter else {
            return true;
        };
        let by_task = change
            .task
            .as_ref()
            .is_some_and(|task| is_wanted(self.options, task));
        let inbound = own
            .listening
            .contains(&(change.netns, change.endpoints.local.port()));
        if by_task || inbound {
            own.cookies.insert(change.cookie);
            return true;
        }
        if change.new == CLOSE {
            own.cookies.remove(&change.cookie)
        } else {
            own.cookies.contains(&change.cookie)
        }
    }

    /// A record that a CPU has reserved and not yet filled holds up all that follow it in the ring
    /// (`kernel/bpf/ringbuf.c`), so the end of the ring is not always its end.
    async fn drain_to_the_end(&mut self) -> anyhow::Result<()> {
        let patience = Instant::now() + FILLED;
        loop {
            // Counted before it is drained: what comes later need not have been received.
            let submitted = self.counters()?.submitted;
            self.drain()?;
            let outstanding = submitted.saturating_sub(self.counters()?.received);
            if outstanding == 0 {
                return Ok(());
            }
            if Instant::now() >= patience {
                return Err(stuck_in_the_ring(outstanding).into());
            }
            sleep(DRAIN).await;
        }
    }

    fn counters(&self) -> anyhow::Result<Counters> {
        self.live.counters().context("read the counters")
    }

    fn finish(mut self) -> anyhow::Result<u8> {
        let counters = self.counters()?;
        if counters.all_lost() > 0 {
            return Err(lost(&counters).into());
        }
        if self.unmatched.looks_for_ports() {
            let (inventory, _problems) = self
                .live
                .inventory(mono_now_ns)
                .context("list the sockets that exist")?;
            self.unmatched
                .look_for_ports(counters.matched, &inventory.items);
        }
        self.unmatched
            .explain()
            .map_or(Ok(exit::DONE), |nothing| Err(nothing.into()))
    }

    fn checked(&self, result: std::io::Result<()>) -> anyhow::Result<()> {
        result.map_err(|error| output::failed(self.options, error))
    }
}

fn stuck_in_the_ring(records: u64) -> Explained {
    Explained::new(
        format!("{records} transitions did not come out of the ring"),
        "the machine was too busy for the task that was writing them",
        "run it again",
    )
}

/// The greatest part of the loss decides what there is to do.
fn lost(counters: &Counters) -> Explained {
    let all = counters.all_lost();
    let (cause, fix) = if counters.missed > counters.lost {
        (
            "the kernel interrupted the tracer by a transition on the same CPU and skipped that one",
            "run it again: this kernel (7.0 or newer) does so now and then; `sockleak watch` makes up \
             for it",
        )
    } else if counters.damaged > counters.lost {
        (
            "the kernel program and this program do not fit together",
            "unset SOCKLEAK_BPF_OBJECT, or install sockleak again",
        )
    } else {
        (
            "they came faster than they could be written",
            "write to a file (--output), or follow fewer sockets (--port)",
        )
    };
    let seen = counters.seen + counters.missed;
    Explained::new(format!("{all} of {seen} transitions were lost"), cause, fix)
}

impl Ownership {
    fn now(options: &Options, live: &mut Live) -> anyhow::Result<Self> {
        let (inventory, _problems) = live
            .inventory(mono_now_ns)
            .context("list the sockets that exist")?;
        let pids = process::with_descendants(&options.filter.pids);
        let mut own = Self {
            cookies: HashSet::new(),
            listening: HashSet::new(),
        };
        for item in inventory.items {
            let held = item.holders.iter().any(|holder| {
                pids.contains(&holder.pid)
                    || options.filter.comm.as_ref().is_some_and(|wanted| {
                        process::read(holder.pid, false)
                            .is_some_and(|process| wanted.matches(&Untrusted::new(process.comm)))
                    })
            });
            if held && item.state == LISTEN {
                own.listening
                    .insert((item.netns, item.endpoints.local.port()));
            } else if held {
                own.cookies.insert(item.cookie);
            }
        }
        Ok(own)
    }
}

fn is_wanted(options: &Options, task: &Task) -> bool {
    options.filter.pids.contains(&task.pid)
        || options
            .filter
            .comm
            .as_ref()
            .is_some_and(|wanted| wanted.matches(&Untrusted::new(task.comm.clone())))
}

/// Told by the flags of the socket and of the acting task; everything else stays unsaid.
fn cause(change: &Transition) -> Option<TransitionCause> {
    const SEND_SHUTDOWN: u8 = tracer_common::state::SEND_SHUTDOWN;
    const BOTH: u8 = tracer_common::state::SHUTDOWN_MASK;
    match (&change.task, change.new) {
        (None, CLOSE_WAIT) => Some(TransitionCause::PeerFin),
        (Some(task), FIN_WAIT1 | LAST_ACK | CLOSE) if task.exiting => Some(TransitionCause::Exit),
        // close() completes sk_shutdown before the state changes (net/ipv4/tcp.c:__tcp_close);
        // shutdown() changes the state first (net/ipv4/af_inet.c:inet_shutdown sets its own half).
        (Some(_), CLOSE) => Some(TransitionCause::Close),
        (Some(_), FIN_WAIT1 | LAST_ACK) => match change.shutdown {
            BOTH => Some(TransitionCause::Close),
            half if half & SEND_SHUTDOWN != 0 => Some(TransitionCause::Shutdown),
            _ => None,
        },
        _ => None,
    }
}
