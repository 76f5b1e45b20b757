//! A program made to be ended, replaced or flooded with: it keeps connections whose clients have left, in one
//! function whose name the test chooses, for as long as the test says. Two of them are two executables.
use crate::lines::Lines;
use crate::{compile, process};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// The program whose function `keep` reads the end of every connection and forgets it. `lines` of other code come
/// before that function, so that no two of these programs have it at one address.
pub fn compiled(folder: &Path, keep: &str, lines: usize) -> PathBuf {
    let text = SOURCE.replace("@KEEP@", keep);
    compile::c(folder, keep, &text, &[&format!("-DLINES={lines}")])
}

/// It, running; killed when dropped.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    output: Lines,
}

impl Keeper {
    /// Keeps `count` sockets. `then` are words after the count: how many milliseconds, what to execute instead.
    pub fn start(program: &Path, count: usize, then: &[&str]) -> Self {
        Self::of(Command::new(program).arg(count.to_string()).args(then))
    }

    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a program that keeps sockets");
        let output = Lines::of(child.stdout.take().expect("hear it"));
        Self { child, output }
    }

    /// Where it listens, once all are stuck.
    pub fn port(&self) -> u16 {
        let said = self.output.after("stuck ", PATIENCE);
        let said = said.unwrap_or_else(|| panic!("it said {:?}", self.output.so_far()));
        said.parse().expect("a port")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces itself by the program it was told.
    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Arguments: sockets, milliseconds to live (0: until it is killed), words to execute then or at SIGUSR1.
const SOURCE: &str = r#"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static char **next;

static void fail(const char *what) { perror(what); exit(1); }

static void replace(int signal) {
    (void)signal;
    if (next && *next) { execv(*next, next); _exit(1); }
    _exit(0);
}

__attribute__((used, noinline)) static int other_code(int n) {
    __asm__ volatile(".rept %c0\n nop\n .endr" :: "i"(LINES));
    return n;
}

__attribute__((noinline)) static void @KEEP@(int fd) {
    char byte;
    while (read(fd, &byte, 1) > 0) { }
    __asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int count = argc > 1 ? atoi(argv[1]) : 1, live = argc > 2 ? atoi(argv[2]) : 0;
    next = argc > 3 ? argv + 3 : NULL;
    signal(SIGUSR1, replace);
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    for (int i = 0; i < count; i++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&address, size)) fail("connect");
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        if (write(client, "x", 1) != 1) fail("write");
        close(client);
        @KEEP@(fd);
    }
    printf("stuck %d\n", ntohs(address.sin_port));
    fflush(stdout);
    if (live) { usleep(live * 1000u); replace(0); }
    for (;;) pause();
}
"#;
