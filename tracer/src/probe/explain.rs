//! The kernel's refusals as a message for the user: what failed, the likely cause, what to do.

use std::{error::Error, io};

use aya::{BtfError, EbpfError, maps::MapError, programs::ProgramError};
use rustix::io::Errno;

use super::{
    attach::{AttachError, HookError},
    iterate::IterateError,
    layout::LayoutError,
    live::StartError,
    object::ObjectError,
    privilege::no_btf,
};
use crate::exit::Explained;

const REPORT: &str = "please report this with the output of `sockleak doctor --json`";
/// Asked only after the capabilities were found sufficient.
const POLICY: &str = "a security policy forbids BPF here: a container's seccomp profile, SELinux, AppArmor \
     or lockdown";
const POLICY_FIX: &str = "look for the denial in `dmesg` or `ausearch -m avc`, and allow bpf() and \
     perf_event_open() for this program";

pub fn explain_start(error: &StartError) -> Explained {
    match error {
        StartError::Layout(error) => explain_layout(error),
        StartError::Btf(error) => explain_btf(error),
        StartError::Object(error) => explain_object(error),
        StartError::Attach(error) => explain_attach(error),
        StartError::Iterate(error) => explain_iterate(error),
        StartError::Thread => Explained::new(error.to_string(), "a defect in sockleak", REPORT),
        StartError::NoMap(_) | StartError::Map(_) => Explained::new(
            error.to_string(),
            "the kernel object does not fit this version of sockleak",
            "unset SOCKLEAK_BPF_OBJECT if it is set; otherwise please report this",
        ),
    }
}

pub fn explain_layout(error: &LayoutError) -> Explained {
    match error {
        LayoutError::Unreadable(io) if io.kind() == io::ErrorKind::NotFound => no_btf(),
        LayoutError::Unreadable(_) => Explained::new(
            error.to_string(),
            "a container or a security policy hides /sys/kernel/btf",
            "make /sys/kernel/btf/vmlinux readable for this process",
        ),
        LayoutError::Malformed(_) => Explained::new(
            error.to_string(),
            "this kernel describes itself in a newer form than this version understands",
            format!("try a newer sockleak, or {REPORT}"),
        ),
        LayoutError::MissingField(..) => Explained::new(
            error.to_string(),
            "this kernel is older than 5.10, or newer than this version of sockleak knows",
            format!("try a newer sockleak, or {REPORT}"),
        ),
    }
}

pub fn explain_btf(error: &BtfError) -> Explained {
    match error {
        BtfError::FileError { error: io, .. } if io.kind() == io::ErrorKind::NotFound => no_btf(),
        _ => Explained::new(
            format!(
                "this kernel's type information (BTF) cannot be used: {}",
                chain(error)
            ),
            "this kernel describes itself in a newer form than this version understands",
            format!("try a newer sockleak, or {REPORT}"),
        ),
    }
}

pub fn explain_object(error: &ObjectError) -> Explained {
    match error {
        ObjectError::Unreadable { .. } => Explained::new(
            error.to_string(),
            "the variable names a file that is not there or not readable",
            "unset SOCKLEAK_BPF_OBJECT to use the kernel object inside sockleak",
        ),
        ObjectError::Damaged(_) => Explained::new(
            error.to_string(),
            "the file of the program was changed after it was built",
            "compare its sha256 with the published one, and install it anew",
        ),
        ObjectError::Refused(EbpfError::MapError(MapError::CreateError { name, io_error })) => {
            no_map(name, io_error)
        }
        ObjectError::Refused(error) => Explained::new(
            format!("the kernel object cannot be used: {}", chain(error)),
            "SOCKLEAK_BPF_OBJECT names an object of another version, or this kernel is older than 5.10",
            format!("unset SOCKLEAK_BPF_OBJECT if it is set; otherwise {REPORT}"),
        ),
    }
}

fn no_map(name: &str, error: &io::Error) -> Explained {
    let what = format!("the kernel refuses to create the map {name}: {error}");
    match errno(error) {
        Some(Errno::PERM) => Explained::new(
            what,
            format!("{POLICY}; before 5.11 also a limit on locked memory"),
            format!("{POLICY_FIX}; before 5.11 also: ulimit -l unlimited"),
        ),
        Some(Errno::NOMEM) => Explained::new(
            what,
            "its memory counts against the memory limit of the cgroup this process is in",
            "raise that limit by 64 MiB (MemoryMax=, docker run --memory)",
        ),
        _ => Explained::new(what, "this kernel is older than 5.10", REPORT),
    }
}

pub fn explain_attach(error: &AttachError) -> Explained {
    let HookError::Program(program) = &error.source else {
        return Explained::new(
            error.to_string(),
            "the kernel object does not fit this version of sockleak",
            "unset SOCKLEAK_BPF_OBJECT if it is set; otherwise please report this",
        );
    };
    refused(error.to_string(), program)
}

pub fn explain_iterate(error: &IterateError) -> Explained {
    match error {
        IterateError::Refused(_, program) => refused(error.to_string(), program),
        IterateError::NoProgram(_) => Explained::new(
            error.to_string(),
            "the kernel object does not fit this version of sockleak",
            "unset SOCKLEAK_BPF_OBJECT if it is set; otherwise please report this",
        ),
        _ => Explained::new(error.to_string(), POLICY, POLICY_FIX),
    }
}

fn refused(what: String, error: &ProgramError) -> Explained {
    match error {
        ProgramError::Btf(_) => Explained::new(
            what,
            "this kernel is older than 5.10, or was built without TCP tracepoints",
            "boot a distribution kernel from 5.10 on",
        ),
        ProgramError::LoadError { verifier_log, .. }
            if !verifier_log.to_string().trim().is_empty() =>
        {
            Explained::new(
                what,
                "this kernel's verifier judges the program differently from those it was tried on",
                format!("try a newer sockleak, or {REPORT}"),
            )
        }
        ProgramError::LoadError { io_error, .. } => forbidden(what, io_error),
        ProgramError::SyscallError(syscall) => forbidden(what, &syscall.io_error),
        _ => Explained::new(what, "see the kernel's reason above", REPORT),
    }
}

fn forbidden(what: String, error: &io::Error) -> Explained {
    match errno(error) {
        Some(Errno::PERM | Errno::ACCESS) => Explained::new(what, POLICY, POLICY_FIX),
        Some(Errno::NOMEM) => Explained::new(
            what,
            "this process or its cgroup is at its memory limit",
            "raise the limit by 64 MiB (MemoryMax=, docker run --memory)",
        ),
        _ => Explained::new(what, "this kernel lacks something that 5.10 has", REPORT),
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        // Many errors of aya repeat their source in their own text.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn attach(source: ProgramError) -> Explained {
        explain_attach(&AttachError {
            hook: "inet_sock_set_state",
            reason: "the kernel refuses the program (EPERM)".to_owned(),
            source: source.into(),
        })
    }

    #[test]
    fn a_kernel_without_btf_is_told_what_to_build() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let message = explain_start(&LayoutError::Unreadable(missing).into()).to_string();
        assert!(message.contains("CONFIG_DEBUG_INFO_BTF=y"), "{message}");
    }

    #[test]
    fn a_refused_required_hook_is_named() {
        let io_error = io::Error::from_raw_os_error(Errno::PERM.raw_os_error());
        let call = "bpf_raw_tracepoint_open";
        let message = attach(SyscallError { call, io_error }.into()).to_string();
        assert!(
            message.starts_with("the required hook inet_sock_set_state cannot be attached: "),
            "{message}"
        );
        assert!(
            message.contains("seccomp") && message.contains("ausearch"),
            "{message}"
        );
        let message = attach(ProgramError::NotLoaded).to_string();
        assert!(message.contains("doctor --json"), "{message}");
    }

    #[test]
    fn a_refused_map_says_which_limit_to_raise() {
        let refused = |errno: Errno| {
            let error = MapError::CreateError {
                name: "EVENTS".to_owned(),
                io_error: errno.into(),
            };
            explain_start(&ObjectError::Refused(error.into()).into())
        };
        let message = refused(Errno::NOMEM).to_string();
        assert!(
            message.contains("map EVENTS") && message.contains("MemoryMax="),
            "{message}"
        );
        assert!(refused(Errno::PERM).fix.contains("ulimit -l unlimited"));
    }

    #[test]
    fn the_way_back_to_the_embedded_object_is_shown() {
        let path = "/nowhere.o".to_owned();
        let error = io::Error::from(io::ErrorKind::NotFound);
        let message = explain_object(&ObjectError::Unreadable { path, error }).to_string();
        assert!(message.contains("unset SOCKLEAK_BPF_OBJECT"), "{message}");
    }
}
