//! Builds small programs, runs them until they block, and takes registers and stack bytes from
//! `/proc` and ptrace: the same values that the kernel hook copies.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::symbolize::{Noted, StackCopy};

const COPY_BYTES: usize = 16 << 10;
pub(super) const SYS_READ: u64 = 0;
pub(super) const SYS_RECVFROM: u64 = 45;
pub(super) const SYS_PPOLL: u64 = 271;

/// `main` → `serve` → `handle_client` → `recv`.
pub(super) const SERVER: &str = r"
#include <sys/socket.h>
#define KEEP __attribute__((noinline, noclone))
KEEP long handle_client(int fd, long salt) {
    char buffer[64];
    long got = recv(fd, buffer, sizeof buffer, 0);
    return got + buffer[0] + salt;
}
KEEP long serve(int fd) {
    volatile long total = 0;
    for (int i = 0; i < 3; i++) total += handle_client(fd, i);
    return total;
}
int main(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
    return (int)serve(pair[0]) & 1;
}
";

/// Prints frame pointer and thread pointer of a process that waits in a system call, and lets it wait on.
const PEEK: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
int main(int argc, char **argv) {
    pid_t pid = atoi(argv[1]);
    struct user_regs_struct regs;
    int status;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0)) return 1;
    if (waitpid(pid, &status, __WALL) != pid) return 2;
    if (ptrace(PTRACE_GETREGS, pid, 0, &regs)) return 3;
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return printf("%llu %llu", regs.rbp, regs.fs_base) < 0;
}
"#;

static PEEKER: LazyLock<(Workshop, PathBuf)> = LazyLock::new(|| {
    let shop = Workshop::new();
    let program = shop.c("peek", PEEK, &["-O1"]);
    (shop, program)
});

fn frame_and_thread_pointer(pid: u32) -> (u64, u64) {
    let output = Command::new(&PEEKER.1)
        .arg(pid.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (frame, thread) = text.split_once(' ').unwrap();
    (frame.parse().unwrap(), thread.parse().unwrap())
}

pub(super) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    pub(super) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn c(&self, name: &str, source: &str, options: &[&str]) -> PathBuf {
        self.compile(
            "gcc",
            name,
            &format!("{}.c", name.trim_end_matches(".o")),
            source,
            options,
        )
    }

    pub(super) fn compile(
        &self,
        compiler: &str,
        name: &str,
        file: &str,
        source: &str,
        options: &[&str],
    ) -> PathBuf {
        fs::write(self.path(file), source).unwrap();
        let status = Command::new(compiler)
            .current_dir(self.dir.path())
            .arg(file)
            .args(["-o", name])
            .args(options)
            .status();
        assert!(status.unwrap().success(), "{compiler} failed");
        self.path(name)
    }

    pub(super) fn strip(&self, program: &Path) {
        self.run("strip", &[program.to_str().unwrap()]);
    }

    pub(super) fn run(&self, tool: &str, arguments: &[&str]) {
        let mut command = Command::new(tool);
        command.current_dir(self.dir.path()).args(arguments);
        assert!(command.status().unwrap().success(), "{tool} failed");
    }
}

pub(super) struct OwnedCopy {
    pub pid: u32,
    pub start_boot_ns: u64,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    /// 0 where only what was copied may be used, as at an event.
    pub thread: u64,
    pub first_thread: bool,
    pub bytes: Vec<u8>,
}

impl OwnedCopy {
    pub(super) fn view(&self) -> StackCopy<'_> {
        StackCopy {
            pid: self.pid,
            start_boot_ns: self.start_boot_ns,
            pc: self.pc,
            sp: self.sp,
            fp: self.fp,
            lr: 0,
            thread: self.thread,
            first_thread: self.first_thread,
            noted: Noted::Nothing,
            bytes: &self.bytes,
            walked: &[],
            sure: None,
        }
    }
}

/// A child of ours that waits in a system call.
pub(super) struct Blocked {
    child: Child,
    syscall: u64,
}

impl Blocked {
    pub(super) fn start(program: &Path, syscall: u64) -> Self {
        Self::run(&mut Command::new(program), syscall)
    }

    pub(super) fn run(command: &mut Command, syscall: u64) -> Self {
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        let blocked = Self { child, syscall };
        blocked.wait();
        blocked
    }

    /// Of a program that prints something once it is ready.
    pub(super) fn of(child: Child) -> Self {
        Self { child, syscall: 0 }
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.registers().is_none() {
            assert!(
                Instant::now() < deadline,
                "never blocked in {}",
                self.syscall
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Writes a byte to its standard input, and waits until it blocks in another call.
    pub(super) fn answer(&mut self, syscall: u64) {
        use std::io::Write;

        self.child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        self.syscall = syscall;
        self.wait();
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stack pointer and program counter, when blocked where expected.
    fn registers(&self) -> Option<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/syscall", self.pid())).ok()?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let hex =
            |at: usize| u64::from_str_radix(fields.get(at)?.trim_start_matches("0x"), 16).ok();
        if fields.first()?.parse::<u64>().ok()? != self.syscall || self.waits_for_a_disk() {
            return None;
        }
        Some((hex(7)?, hex(8)?))
    }

    /// As a program does that is still being loaded, in the same calls.
    fn waits_for_a_disk(&self) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = text.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_some_and(|state| state.starts_with('D'))
    }

    pub(super) fn copy(&self) -> OwnedCopy {
        let pid = self.pid();
        let (fp, _) = frame_and_thread_pointer(pid);
        self.wait();
        let (sp, pc) = self.registers().unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut bytes = vec![0; COPY_BYTES];
        // Reading stops at the top of the stack.
        let read = memory.read_at(&mut bytes, sp).unwrap();
        bytes.truncate(read);
        OwnedCopy {
            pc,
            sp,
            fp,
            bytes,
            ..self.copy_head()
        }
    }

    fn copy_head(&self) -> OwnedCopy {
        let pid = self.pid();
        let process = procfs::process::Process::new(pid as i32).unwrap();
        let ticks = process.stat().unwrap().starttime;
        OwnedCopy {
            pid,
            start_boot_ns: ticks * 1_000_000_000 / procfs::ticks_per_second(),
            pc: 0,
            sp: 0,
            fp: 0,
            thread: 0,
            first_thread: false,
            bytes: Vec::new(),
        }
    }

    /// The same of another thread; `None` when that one does not wait.
    pub(super) fn present_thread(&self, tid: u32) -> Option<OwnedCopy> {
        let pid = self.pid();
        let (fp, thread) = frame_and_thread_pointer(tid);
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let hex =
            |at: usize| u64::from_str_radix(fields.get(at)?.trim_start_matches("0x"), 16).ok();
        let (sp, pc) = (hex(7)?, hex(8)?);
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut bytes = vec![0; COPY_BYTES];
        let read = memory.read_at(&mut bytes, sp).unwrap();
        bytes.truncate(read);
        Some(OwnedCopy {
            pc,
            sp,
            fp,
            thread,
            bytes,
            ..self.copy_head()
        })
    }

    /// As of a thread that waits now.
    pub(super) fn present(&self) -> OwnedCopy {
        let (_, thread) = frame_and_thread_pointer(self.pid());
        OwnedCopy {
            thread,
            first_thread: true,
            ..self.copy()
        }
    }

    pub(super) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
