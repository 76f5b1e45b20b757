//! Is a futex a lock, and who owns it? An owner is told only of a mutex of the GNU C library that a thread is
//! seen locking: its memory says so at two looks, and the owner lives. Of other locks just that they are some.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::model::{stack::Frame, wait::Wait};

/// Commands of futex(2) that wait on one word (include/uapi/linux/futex.h).
const WAIT: u64 = 0;
const WAIT_BITSET: u64 = 9;
const COMMAND: u64 = 127;

/// Frames between the system call and the function that takes the lock.
const NEAR: usize = 4;
/// Threads of a process looked at to find one by the number it has in its own namespace.
const MAX_THREADS: usize = 4096;

pub(super) fn waits(operation: u64) -> bool {
    matches!(operation & COMMAND, WAIT | WAIT_BITSET)
}

/// The words of `struct __pthread_mutex_s` that matter (glibc: `sysdeps/nptl/bits/struct_mutex.h`; the same
/// places on all 64-bit machines since 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutex {
    word: u32,
    owner: u32,
    kind: u32,
}

impl Mutex {
    const BYTES: usize = 20;

    pub fn read(memory: Option<&File>, at: u64) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        memory?.read_exact_at(&mut bytes, at).ok()?;
        Some(Self::of(&bytes))
    }

    fn of(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            let four = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
            four.map_or(0, |four| u32::from_ne_bytes(*four))
        };
        Self {
            word: word(0),
            owner: word(8),
            kind: word(16),
        }
    }

    /// Of a kind whose word is 0, 1 or 2, and locked with somebody waiting. Robust, priority-inheriting and
    /// shared ones work otherwise.
    fn is_contended(self) -> bool {
        const CONTENDED: u32 = 2;
        /// Plain, recursive, error-checking, adaptive; with or without lock elision.
        const ELISION: u32 = 256 | 512;
        self.word == CONTENDED && self.kind & !ELISION <= 3 && self.owner != 0
    }
}

/// What is known of the lock at the futex that a thread with these frames waits for. `looks`: its memory
/// before and after it was seen that the thread stands still.
pub fn judge(
    wait: Wait,
    pid: u32,
    tid: u32,
    frames: &[Frame],
    looks: (Option<Mutex>, Option<Mutex>),
) -> Wait {
    let Wait::Futex { address } = wait else {
        return wait;
    };
    let near = frames.get(..NEAR).unwrap_or(frames);
    if takes_mutex(near) {
        let owner = match looks {
            (Some(first), Some(second)) if first == second && first.is_contended() => {
                living(pid, tid, first.owner)
            }
            _ => None,
        };
        return Wait::Lock { address, owner };
    }
    if near.iter().any(takes_lock) {
        return Wait::Lock {
            address,
            owner: None,
        };
    }
    wait
}

/// `pthread_mutex_lock` and what it calls itself, all of the GNU C library.
fn takes_mutex(frames: &[Frame]) -> bool {
    let place = frames
        .iter()
        .position(|frame| plain(frame) == Some("pthread_mutex_lock"));
    place.is_some_and(|place| frames.iter().take(place + 1).all(is_glibc))
}

/// Other C libraries use the same names, and link the program's name to their own file.
fn is_glibc(frame: &Frame) -> bool {
    const NAMES: [&str; 4] = ["libc.so.6", "libpthread.so.0", "libc-2.", "libpthread-2."];
    let module = frame.module.as_deref().unwrap_or_default();
    NAMES.iter().any(|name| module.starts_with(name))
}

/// Without the underscores of inner names and the version behind them.
fn plain(frame: &Frame) -> Option<&str> {
    let name = frame.function.as_deref()?;
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    name.trim_start_matches('_').split('@').next()
}

/// The functions in which threads of other libraries and runtimes sleep for a lock, and for nothing else.
fn takes_lock(frame: &Frame) -> bool {
    const PLAIN: [&str; 6] = [
        "pthread_mutex_timedlock",
        "pthread_mutex_clocklock",
        "pthread_mutex_cond_lock",
        "pthread_rwlock_rdlock",
        "pthread_rwlock_wrlock",
        // musl
        "pthread_mutex_lock",
    ];
    const PARTS: [&str; 7] = [
        "mutex::futex::Mutex::lock_contended",
        "rwlock::futex::RwLock::read_contended",
        "rwlock::futex::RwLock::write_contended",
        "raw_mutex::RawMutex::lock_slow",
        "raw_rwlock::RawRwLock::lock_shared_slow",
        "raw_rwlock::RawRwLock::lock_exclusive_slow",
        "runtime.lock2",
    ];
    // A method is `<type>::name` in one of Rust's two manglings.
    let name = frame.function.as_deref().unwrap_or_default();
    let name = name.replace(['<', '>'], "");
    plain(frame).is_some_and(|plain| PLAIN.contains(&plain))
        || PARTS.iter().any(|part| name.contains(part))
}

/// The thread of the process that has this number in the innermost pid namespace of `tid`, as this namespace
/// knows it, if it lives.
fn living(pid: u32, tid: u32, owner: u32) -> Option<u32> {
    let own = numbers(pid, tid)?;
    if own.len() == 1 {
        return numbers(pid, owner).map(|_| owner);
    }
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let tids = tasks.flatten().take(MAX_THREADS).filter_map(|task| {
        let name = task.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    tids.into_iter()
        .find(|tid| numbers(pid, *tid).is_some_and(|all| all.last() == Some(&owner)))
}

/// Of a thread that is not dead: in this pid namespace first, in its own last (`NSpid` of /proc/PID/status).
fn numbers(pid: u32, tid: u32) -> Option<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let state = field("State:")?.trim_start();
    if state.starts_with(['Z', 'X']) {
        return None;
    }
    let numbers = field("NSpid:")?.split_ascii_whitespace();
    Some(numbers.filter_map(|number| number.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(of: &[(&str, &str)]) -> Vec<Frame> {
        let frame = |(name, module): &(&str, &str)| Frame {
            function: (!name.is_empty()).then(|| (*name).to_owned()),
            module: Some((*module).to_owned()),
            ..Frame::default()
        };
        of.iter().map(frame).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as a look gives it")]
    fn mutex(word: u32, owner: u32, kind: u32) -> Option<Mutex> {
        Some(Mutex { word, owner, kind })
    }

    const FUTEX: Wait = Wait::Futex { address: 64 };

    fn own() -> (u32, u32) {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        (std::process::id(), tid as u32)
    }

    fn judged(names: &[(&str, &str)], first: Option<Mutex>, second: Option<Mutex>) -> Wait {
        let (pid, tid) = own();
        judge(FUTEX, pid, tid, &frames(names), (first, second))
    }

    const GLIBC: [(&str, &str); 3] = [
        ("__lll_lock_wait", "libc.so.6"),
        ("___pthread_mutex_lock", "libc.so.6"),
        ("work", "app"),
    ];

    fn lock(owner: Option<u32>) -> Wait {
        Wait::Lock { address: 64, owner }
    }

    #[test]
    fn an_owner_is_told_when_all_of_it_is_proven() {
        let (_, tid) = own();
        let held = mutex(2, tid, 0);
        assert_eq!(judged(&GLIBC, held, held), lock(Some(tid)));
        let elided = mutex(2, tid, 1 | 512);
        assert_eq!(judged(&GLIBC, elided, elided), lock(Some(tid)));
    }

    #[test]
    fn without_one_of_the_proofs_there_is_no_owner() {
        let (_, tid) = own();
        let held = mutex(2, tid, 0);
        for (first, second) in [
            (held, mutex(2, tid + 1, 0)),
            (held, mutex(1, tid, 0)),
            (mutex(1, tid, 0), mutex(1, tid, 0)),
            // Robust, priority-inheriting, shared.
            (mutex(2, tid, 16), mutex(2, tid, 16)),
            (mutex(2, tid, 32), mutex(2, tid, 32)),
            (mutex(2, tid, 128), mutex(2, tid, 128)),
            (mutex(2, tid, 0x1234_5678), mutex(2, tid, 0x1234_5678)),
            // Nobody, and a thread that does not live.
            (mutex(2, 0, 0), mutex(2, 0, 0)),
            (mutex(2, u32::MAX >> 2, 0), mutex(2, u32::MAX >> 2, 0)),
            (held, None),
            (None, held),
        ] {
            assert_eq!(
                judged(&GLIBC, first, second),
                lock(None),
                "{first:?} {second:?}"
            );
        }
    }

    #[test]
    fn locks_of_others_are_locks_of_nobody_and_a_condition_is_none() {
        let (_, tid) = own();
        let held = mutex(2, tid, 0);
        let musl = [("pthread_mutex_lock", "ld-musl-x86_64.so.1")];
        let rust = [
            ("", "libc.so.6"),
            ("std::sys::sync::mutex::futex::Mutex::lock_contended", "app"),
        ];
        for locks in [musl.as_slice(), &rust, &[("runtime.lock2", "app")]] {
            assert_eq!(judged(locks, held, held), lock(None), "{locks:?}");
        }
        for waits in [
            ("pthread_cond_wait", "libc.so.6"),
            ("sem_wait", "libc.so.6"),
            ("runtime.stopm", "app"),
            ("", "libc.so.6"),
        ] {
            assert_eq!(judged(&[waits], held, held), FUTEX, "{waits:?}");
        }
    }

    #[test]
    fn all_between_the_lock_and_the_kernel_must_be_the_librarys() {
        let (_, tid) = own();
        let held = mutex(2, tid, 0);
        let inner = [("callback", "app"), ("pthread_mutex_lock", "libc.so.6")];
        assert_eq!(judged(&inner, held, held), lock(None));
    }
}
