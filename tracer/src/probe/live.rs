//! The attached tracer: rings, table, iterators, counters, and the filter of processes. Owns aya; the
//! hooks stay attached exactly as long as this lives.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::mpsc::{self, Sender},
    thread,
};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf},
};
use aya_log::EbpfLogger;
use thiserror::Error;
use tracer_common::counter::Counter;

use super::{
    attach::{self, AttachError, HookError, Link, Wanted},
    btf,
    iterate::{self, IterateError},
    layout::{self, Layout, LayoutError},
    object::{Object, ObjectError, Settings},
    on_demand::OnDemand,
    pruned::{is_attached_to, pruned},
    rings::Rings,
    rows::Rows,
    runtimes::Runtimes,
    samples,
    status::Status,
    table::Table,
    threads::{self, SeenThread},
    usage::{self, MapSize, ProgramRuns},
    visits::VisitsByCgroup,
};
use crate::model::input::{CloseCount, Counters, Inventory};

/// Readings of sums that do not add up: a defect would keep them so for ever.
const MAX_READINGS: u32 = 100;

#[derive(Debug, Error)]
pub enum StartError {
    #[error("this kernel's type information (BTF) cannot be used: {0}")]
    Layout(#[from] LayoutError),
    #[error("this kernel's type information (BTF) cannot be used: {0}")]
    Btf(#[from] aya::BtfError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Iterate(#[from] IterateError),
    #[error("a thread that reads this kernel's type information died")]
    Thread,
    #[error("the kernel object has no usable map {0}")]
    NoMap(&'static str),
    #[error("a map of the kernel program cannot be used: {0}")]
    Map(#[from] MapError),
}

/// What programs attach to; tells the layout as soon as that is known.
fn types_of_kernel(tell: &Sender<Layout>) -> Result<Btf, StartError> {
    let data = layout::data()?;
    let kernel = btf::Btf::parse(&data).map_err(LayoutError::from)?;
    // Whoever waits for it waits for the types as well.
    let _ = tell.send(Layout::of(&kernel)?);
    let types = pruned(&kernel, is_attached_to);
    Ok(Btf::parse(&types, Endianness::default())?)
}

pub struct Live {
    ebpf: Ebpf,
    pub rings: Rings,
    /// Of the maps that are used from here.
    pub map_sizes: Vec<MapSize>,
    pub rows: Rows,
    pub runtimes: Runtimes,
    pub visits: VisitsByCgroup,
    pub table: Table,
    counters: PerCpuArray<MapData, u64>,
    targets: HashMap<MapData, u32, u64>,
    closes: PerCpuHashMap<MapData, [u64; 2], u64>,
    count_closes: Array<MapData, u32>,
    asked: HashMap<MapData, u32, u8>,
    /// Why the iterator over threads cannot be used.
    pub without_threads: Option<String>,
    pub statuses: Vec<Status>,
    _links: Vec<Link>,
    on_demand: Option<OnDemand>,
    loops: OnDemand,
    whose_loops: HashMap<MapData, u32, u8>,
    pub sha256: String,
    pub user_stacks: bool,
    /// The program that notes what sampled threads execute, where the kernel takes it.
    pub sampler: Option<OwnedFd>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
}

impl Live {
    /// Loads, attaches what is wanted, and seeds the filter of processes before the first event.
    pub fn start(settings: &Settings, wanted: &Wanted, pids: &[u32]) -> Result<Self, StartError> {
        // Both read the kernel's type information; the loader all of it, whether anything in the object asks or not.
        let (tell, told) = mpsc::channel();
        let types = thread::spawn(move || types_of_kernel(&tell));
        let loader = EbpfLoader::new();
        let types = || types.join().map_err(|_| StartError::Thread)?;
        let Ok(layout) = told.recv() else {
            return types().and(Err(StartError::Thread));
        };
        let mut object = Object::find(&layout)?;
        let mut ebpf = object.load_with(loader, &layout, settings)?;
        let btf = types()?;
        let mut targets = HashMap::try_from(take(&mut ebpf, "TARGETS")?)?;
        for pid in pids {
            targets.insert(pid, 0, 0)?;
        }
        let wanted = wanted.clone().on(&layout);
        let mut attached = attach::attach(&mut ebpf, &btf, &wanted)?;
        iterate::load(&mut ebpf, &btf)?;
        let without_threads = threads::load(&mut ebpf, &btf)
            .err()
            .map(|error| error.to_string());
        let sampler = samples::load(&mut ebpf);
        let on_demand = OnDemand::take_from(&mut attached, &wanted);
        Ok(Self {
            map_sizes: usage::map_sizes(&ebpf),
            rows: Rows::new(Array::try_from(take(&mut ebpf, "ROWS")?)?),
            runtimes: Runtimes::new(Array::try_from(take(&mut ebpf, "RUNTIMES")?)?),
            visits: VisitsByCgroup::new(PerCpuHashMap::try_from(take(&mut ebpf, "VISITS")?)?)?,
            rings: Rings::new(
                RingBuf::try_from(take(&mut ebpf, "EVENTS")?)?,
                RingBuf::try_from(take(&mut ebpf, "STACKS")?)?,
            ),
            table: Table::new(
                Array::try_from(take(&mut ebpf, "SETS")?)?,
                Array::try_from(take(&mut ebpf, "RECORDS")?)?,
                settings.slots,
            ),
            counters: PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)?,
            targets,
            closes: PerCpuHashMap::try_from(take(&mut ebpf, "CLOSES")?)?,
            count_closes: Array::try_from(take(&mut ebpf, "COUNT_CLOSES")?)?,
            asked: HashMap::try_from(take(&mut ebpf, "ASKED")?)?,
            without_threads,
            statuses: attached.statuses,
            _links: attached.links.into_iter().map(|(_, link)| link).collect(),
            on_demand,
            loops: OnDemand::untried(attached.loops),
            whose_loops: HashMap::try_from(take(&mut ebpf, "LOOPS")?)?,
            sha256: object.sha256,
            user_stacks: layout.gate(tracer_common::config::HAS_REGS),
            sampler,
            log: if settings.log_level > 0 {
                EbpfLogger::init(&mut ebpf).ok()
            } else {
                None
            },
            ebpf,
        })
    }

    pub fn inventory(
        &mut self,
        now: impl Fn() -> u64,
    ) -> Result<(Inventory, Vec<String>), IterateError> {
        iterate::inventory(&mut self.ebpf, now)
    }

    /// The threads of these processes; `None` where the kernel has no iterator over them.
    pub fn threads(&mut self, pids: &[u32]) -> Option<Result<Vec<SeenThread>, IterateError>> {
        if self.without_threads.is_some() {
            return None;
        }
        Some(threads::look(&mut self.ebpf, &mut self.asked, pids))
    }

    /// The processes the kernel follows now: those asked for and their children.
    pub fn followed(&self) -> Vec<u32> {
        self.targets.keys().flatten().collect()
    }

    /// From now on it is seen what the followed processes do with their sockets; there are none yet.
    pub fn attach_on_demand(&mut self) -> Result<(), HookError> {
        match &mut self.on_demand {
            Some(on_demand) => on_demand.attach(&mut self.ebpf),
            None => Ok(()),
        }
    }

    pub fn detach_on_demand(&mut self) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.detach();
        }
    }

    /// Changes to the epoll sets of this process are told of while the hook is attached.
    pub fn watch_loops_of(&mut self, pid: u32) -> Result<(), MapError> {
        self.whose_loops.insert(pid, 1, 0)
    }

    pub fn attach_to_loops(&mut self) -> Result<(), HookError> {
        self.loops.attach(&mut self.ebpf)
    }

    pub fn detach_from_loops(&mut self) {
        self.loops.detach();
        for pid in self.whose_loops.keys().flatten().collect::<Vec<_>>() {
            // One that went meanwhile is gone as well.
            let _ = self.whose_loops.remove(&pid);
        }
    }

    pub fn follow(&mut self, pid: u32) -> Result<(), MapError> {
        self.targets.insert(pid, 0, 0)
    }

    pub fn follow_nobody(&mut self) {
        for pid in self.followed() {
            // One that ended meanwhile is gone as well.
            let _ = self.targets.remove(&pid);
        }
    }

    /// From now on it is counted where sockets are closed, by where they were opened.
    pub fn start_counting_closes(&mut self) -> Result<(), MapError> {
        self.count_closes.set(0, 1, 0)
    }

    /// Room for others.
    pub fn forget_closes(&mut self, pairs: &[[u64; 2]]) {
        for pair in pairs {
            // One that went meanwhile is gone as well.
            let _ = self.closes.remove(pair);
        }
    }

    pub fn closes(&self) -> Result<Vec<CloseCount>, MapError> {
        let pairs = self.closes.iter().map(|pair| {
            let ([opened, closed], counts) = pair?;
            Ok(CloseCount {
                opened,
                closed,
                count: counts.iter().sum(),
            })
        });
        pairs.collect()
    }

    pub fn counters(&self) -> Result<Counters, MapError> {
        let sum = |counter| self.sum(counter);
        let [seen, submitted, lost] = self.events()?;
        let (received, damaged) = self.rings.counts();
        Ok(Counters {
            seen,
            submitted,
            received,
            lost,
            missed: self.missed(),
            stacks_limited: sum(Counter::StackLimited)?,
            stacks_lost: sum(Counter::StackLost)?,
            slots_evicted: sum(Counter::SlotsEvicted)?,
            damaged,
            defects: sum(Counter::NoMap)?,
            evicted: 0,
            matched: sum(Counter::Matched)?,
            closes_uncounted: sum(Counter::CloseUncounted)?,
            epoll_changes_lost: sum(Counter::EpollLost)?,
        })
    }

    /// Seen, submitted and lost. All CPUs go on counting while this reads: sums that do not add up are read again.
    fn events(&self) -> Result<[u64; 3], MapError> {
        let mut readings = 0;
        loop {
            let [seen, submitted, lost] = [
                self.sum(Counter::Seen)?,
                self.sum(Counter::Submitted)?,
                self.sum(Counter::Lost)?,
            ];
            readings += 1;
            if seen == submitted + lost || readings == MAX_READINGS {
                return Ok([seen, submitted, lost]);
            }
        }
    }

    fn sum(&self, counter: Counter) -> Result<u64, MapError> {
        Ok(self.counters.get(&(counter as u32), 0)?.iter().sum())
    }

    /// Runs the kernel skipped because the same program was running on that CPU
    /// (`kernel/trace/bpf_trace.c:__bpf_trace_run`); only /proc shows the number.
    fn missed(&self) -> u64 {
        self.ebpf
            .programs()
            .filter_map(|(_, program)| program.fd().ok())
            .map(|fd| usage::number(fd.as_fd(), "recursion_misses"))
            .sum()
    }

    /// Entries in use, of maps where counting them is cheap.
    pub fn map_entries(&self, name: &str) -> Option<u64> {
        match name {
            "closes" => Some(self.closes.keys().count() as u64),
            "targets" => Some(self.targets.keys().count() as u64),
            _ => None,
        }
    }

    /// What each program has cost so far; zeros unless the kernel counts it.
    pub fn program_runs(&self) -> Vec<ProgramRuns> {
        usage::program_runs(&self.ebpf)
    }

    /// Passes on what the kernel program has logged; nothing unless a log level was set at load.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, StartError> {
    ebpf.take_map(name).ok_or(StartError::NoMap(name))
}
