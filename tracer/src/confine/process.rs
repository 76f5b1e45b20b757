//! Starts this very program again, as the process that is to be confined.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

/// What runs, whatever has its path by now.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

pub(crate) fn start(name: &str, argument: &str, socket: OwnedFd) -> io::Result<Child> {
    start_program(Path::new(OWN_PROGRAM), name, argument, socket)
}

/// With a socket to its maker as its only descriptor, and nothing of the environment but settings of its allocator.
pub(crate) fn start_program(
    program: &Path,
    name: &str,
    argument: &str,
    socket: OwnedFd,
) -> io::Result<Child> {
    // Ours are closed on exec anyway; a shell or a service may have left us others.
    close_fds::set_fds_cloexec(3, &[]);
    Command::new(program)
        .arg0(name)
        .arg(argument)
        .env_clear()
        // What is large is given back when it is freed (the GNU C library would keep blocks of up to 32 MiB for the
        // next one, mallopt(3)): symbols of one large file must not stay for months.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .current_dir("/")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C at the terminal is for the tracer.
        .process_group(0)
        .spawn()
}
