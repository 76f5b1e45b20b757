//! Registers and a piece of the stack of threads that run, by the kernel's CPU clock: an event for each thread, which
//! counts its time on a CPU alone and never stops it. Bounded in threads, memory and time; all is closed at the end of
//! a round. Knows nothing of what the addresses mean. A kernel program runs at each moment, which notes what of an
//! interpreter the thread executes.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{PerfEvent, ProgramError},
};
use perf_event::{
    Builder, Clock, SampleFlag, Sampler,
    data::{self, Record, SampleRegsAbi},
    events::Software,
};

use crate::model::samples::Moments;

/// Sampled at once. With their rings 1 MiB, and at most 7 MiB of copies.
pub const MAX_THREADS: usize = 8;
/// Of a stack, as much as is read of a thread that waits.
const STACK: u32 = 16 << 10;
/// Seven samples.
const RING: usize = 128 << 10;
/// How often the rings are emptied, before which four samples come.
const EVERY: Duration = Duration::from_millis(40);
/// A thread that is met less often by then mostly waits, and takes up no more of the round.
const SELDOM: (Duration, usize) = (Duration::from_secs(1), 4);
/// `PERF_RECORD_MISC_COMM_EXEC` (`include/uapi/linux/perf_event.h`).
const MISC_COMM_EXEC: u16 = 1 << 13;

/// Bits of the registers (`arch/*/include/uapi/asm/perf_regs.h`) in ascending order, in which the kernel tells them.
#[cfg(target_arch = "x86_64")]
const REGISTERS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
#[cfg(target_arch = "aarch64")]
const REGISTERS: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;

/// A moment of a thread's time on a CPU. In the kernel it had these registers in user space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at: u64,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    pub lr: u64,
    /// Memory from `sp` upwards, as it was then.
    pub stack: Arc<[u8]>,
}

/// A thread to sample, by the numbers of /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId {
    pub pid: u32,
    pub tid: u32,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Round {
    /// Of each thread, in the order they were asked for; none of those that ended, or executed another program.
    pub samples: Vec<(ThreadId, Vec<Sample>)>,
    /// Why none could be sampled.
    pub refused: Option<io::Error>,
}

/// A round that goes on in a thread of its own.
pub struct Sampling {
    thread: Option<JoinHandle<Round>>,
    stop: Arc<AtomicBool>,
    arrived: Receiver<(ThreadId, Sample)>,
    pub began: Instant,
}

impl Sampling {
    /// Until each of the threads was met often enough, or for as long as this. `program` is the one that [`load`] has given.
    pub fn start(
        threads: Vec<ThreadId>,
        longest: Duration,
        program: Option<&OwnedFd>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let program = program.map(OwnedFd::try_clone).transpose()?;
        let (tell, arrived) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("samples".to_owned())
            .spawn(move || round(&threads, longest, program.as_ref(), &tell, &stopped))?;
        Ok(Self {
            thread: Some(thread),
            stop,
            arrived,
            began: Instant::now(),
        })
    }

    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The samples that came since this was last asked.
    pub fn arrived(&self) -> impl Iterator<Item = (ThreadId, Sample)> + '_ {
        self.arrived.try_iter()
    }

    /// Ends within some 40 ms from now.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What was met until now. Waits for the round's thread.
    pub fn end(mut self) -> Round {
        self.stop();
        let thread = self.thread.take();
        let round = thread.map(JoinHandle::join).transpose();
        round.ok().flatten().unwrap_or_default()
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thread, the ring it is sampled into while it is, and what came.
struct Sampled {
    id: ThreadId,
    ring: Option<Sampler>,
    samples: Vec<Sample>,
}

pub const PROGRAM: &str = "sample";

/// Has the kernel verify the program that runs at each sample; `None` where it refuses: then threads are sampled without.
pub fn load(ebpf: &mut Ebpf) -> Option<OwnedFd> {
    let program: &mut PerfEvent = ebpf.program_mut(PROGRAM)?.try_into().ok()?;
    match program.load() {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
        Err(error) => {
            tracing::warn!(%error, "the program for samples cannot be loaded");
            return None;
        }
    }
    program.fd().ok()?.as_fd().try_clone_to_owned().ok()
}

fn round(
    threads: &[ThreadId],
    longest: Duration,
    program: Option<&OwnedFd>,
    tell: &Sender<(ThreadId, Sample)>,
    stop: &AtomicBool,
) -> Round {
    let began = Instant::now();
    let mut refused = None;
    let mut all: Vec<Sampled> = Vec::new();
    for id in threads.iter().copied().take(MAX_THREADS) {
        match ring(id, program) {
            Ok(ring) => all.push(Sampled {
                id,
                ring: Some(ring),
                samples: Vec::new(),
            }),
            // It has ended since.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => refused = Some(error),
        }
    }
    let is_open = |sampled: &Sampled| sampled.ring.is_some();
    while all.iter().any(is_open) && began.elapsed() < longest && !stop.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        let (soon, few) = SELDOM;
        for sampled in &mut all {
            sampled.take(tell);
            if began.elapsed() > soon && sampled.samples.len() < few {
                sampled.ring = None;
            }
        }
    }
    Round {
        refused: refused.filter(|_| all.is_empty()),
        samples: all
            .into_iter()
            .filter(|sampled| !sampled.samples.is_empty())
            .map(|sampled| (sampled.id, sampled.samples))
            .collect(),
    }
}

impl Sampled {
    fn take(&mut self, tell: &Sender<(ThreadId, Sample)>) {
        let Some(ring) = &mut self.ring else {
            return;
        };
        let mut executed = false;
        while let Some(record) = ring.next_record() {
            let by_exec = record.misc() & MISC_COMM_EXEC != 0;
            match record.parse_record() {
                Ok(Record::Sample(sample)) => {
                    if let Some(sample) = sample_of(&sample) {
                        // Nobody may want it any more.
                        let _ = tell.send((self.id, sample.clone()));
                        self.samples.push(sample);
                    }
                }
                // Its addresses mean something else now.
                Ok(Record::Comm(_)) if by_exec => {
                    executed = true;
                    break;
                }
                // What was lost only takes the thread longer.
                _ => {}
            }
        }
        if executed {
            self.samples.clear();
        }
        if executed || self.samples.len() >= Moments::ENOUGH as usize {
            self.ring = None;
        }
    }
}

fn ring(id: ThreadId, program: Option<&OwnedFd>) -> io::Result<Sampler> {
    let gone = || io::Error::from_raw_os_error(libc::ESRCH);
    let tid = id.tid.try_into().map_err(io::Error::other)?;
    let mut ring = Builder::new(Software::CPU_CLOCK)
        .observe_pid(tid)
        .any_cpu()
        .include_kernel()
        .sample_frequency(u64::from(Moments::FREQUENCY))
        .sample(SampleFlag::TID | SampleFlag::TIME | SampleFlag::REGS_USER | SampleFlag::STACK_USER)
        .sample_regs_user(REGISTERS)
        .sample_stack_user(STACK)
        .comm(true)
        .comm_exec(true)
        .clockid(Clock::MONOTONIC)
        .build()?
        .sampled(RING)?;
    // Refused on a machine of another kind, the thread is sampled without.
    if let Some(program) = program
        && let Err(error) = ring.set_bpf(program.as_raw_fd())
    {
        tracing::debug!(%error, "samples go without their program");
    }
    ring.enable()?;
    // The number may have passed to another process meanwhile: what the event is on is what has it now.
    let thread = format!("/proc/{}/task/{}", id.pid, id.tid);
    Path::new(&thread).exists().then_some(ring).ok_or_else(gone)
}

/// Of a thread of a 64-bit program in user space, or at a system call or a fault of it.
fn sample_of(sample: &data::Sample<'_>) -> Option<Sample> {
    let registers = sample.regs_user()?;
    if registers.abi != SampleRegsAbi::ABI_64 {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    let (fp, lr, sp, pc) = match *registers.regs {
        [fp, sp, pc] => (fp, 0, sp, pc),
        _ => return None,
    };
    #[cfg(target_arch = "aarch64")]
    let (fp, lr, sp, pc) = match *registers.regs {
        [fp, lr, sp, pc] => (fp, lr, sp, pc),
        _ => return None,
    };
    Some(Sample {
        at: sample.time()?,
        pc,
        sp,
        // Kernels before 5.11 tell none of a thread that is in the kernel (`arch/x86/kernel/perf_regs.c`).
        fp: if fp == u64::MAX { 0 } else { fp },
        lr,
        stack: sample.stack_user().unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does this again and again until it is told to stop.
    fn start(stop: &Arc<AtomicBool>, what: fn()) -> (JoinHandle<()>, ThreadId) {
        let (tell, told) = mpsc::channel();
        let stop = Arc::clone(stop);
        let thread = thread::spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32);
            while !stop.load(Ordering::Relaxed) {
                what();
            }
        });
        let tid = told.recv().unwrap();
        let pid = std::process::id();
        (thread, ThreadId { pid, tid })
    }

    #[test]
    fn a_busy_thread_is_met_often_one_that_waits_is_let_go_and_nothing_is_kept_open() {
        let stop = Arc::new(AtomicBool::new(false));
        let (thread, busy) = start(&stop, std::hint::spin_loop);
        let (waiting, waits) = start(&stop, || thread::sleep(EVERY));
        let gone = ThreadId { tid: 1, ..busy };
        let all = vec![gone, waits, busy];
        let sampling = Sampling::start(all, Duration::from_mins(1), None).unwrap();
        let began = Instant::now();
        while !sampling.is_over() {
            thread::sleep(EVERY);
        }
        // On a machine with much else to do, the busy thread waits for a CPU.
        assert!(began.elapsed() < Duration::from_secs(50));
        let arrived = sampling.arrived().count();
        let round = sampling.end();
        stop.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        waiting.join().unwrap();
        // Without the right to look into the kernel, as where the tests run without any.
        if round.refused.is_some() {
            return;
        }
        let met = round.samples.iter().find(|(id, _)| *id == busy);
        let (_, samples) = met.unwrap();
        assert!(
            samples.len() >= Moments::ENOUGH as usize,
            "{}",
            samples.len()
        );
        let all: usize = round.samples.iter().map(|(_, samples)| samples.len()).sum();
        assert_eq!(arrived, all);
        assert!(samples.is_sorted_by_key(|sample| sample.at));
        let deep = samples
            .iter()
            .filter(|one| one.sp != 0 && one.stack.len() > 64);
        assert!(deep.count() > 40);
        let others = round.samples.iter().filter(|(id, _)| *id != busy);
        assert!(others.map(|(_, samples)| samples.len()).sum::<usize>() < 10);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert_eq!(maps.matches("[perf_event]").count(), 0);
    }
}
