//! What the user asked for, validated. The rest of the program sees this and never the command line.

mod run;
mod serve;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tracer_common::config::MAX_PORTS;

pub use run::{HowOften, IfUnable, Known, Run, RunOutputs, Until, parse_scale, parse_until};
pub use serve::{DEFAULT_LISTEN, Listen, Web, parse_listen};

use crate::model::runtime::Runtimes;
use crate::model::untrusted::Untrusted;
pub use crate::model::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    Watch,
    Snapshot,
    Trace,
    Doctor,
    Replay(PathBuf),
    Run(Box<Run>),
    /// One verdict, or the list of all.
    Explain(Option<Verdict>),
    Serve(Web),
}

impl Mode {
    /// Hooks are attached and what they tell is followed; a look at one moment needs neither.
    pub const fn follows_events(&self) -> bool {
        match self {
            Self::Watch | Self::Run(_) | Self::Serve(_) => true,
            Self::Snapshot | Self::Trace | Self::Doctor | Self::Replay(_) | Self::Explain(_) => {
                false
            }
        }
    }
}

/// A verdict by its public name.
pub fn parse_verdict(name: &str) -> Result<Verdict, String> {
    let known = Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.name() == name);
    known.ok_or_else(|| {
        let names: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
        format!("there is no such verdict; there are {}", names.join(", "))
    })
}

/// Options a command does not have are at their defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Options {
    pub mode: Mode,
    /// Time in `CLOSE_WAIT` from which a socket counts as stuck.
    pub min_age: Duration,
    /// The user said so; a replay otherwise judges by what was recorded.
    pub min_age_given: bool,
    /// When to stop; `None` is at Ctrl-C.
    pub duration: Option<Duration>,
    pub filter: Filter,
    pub json: bool,
    /// Where the report goes; `None` is stdout.
    pub output: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub show_cmdline: bool,
    /// Ask Java virtual machines what their threads do.
    pub jvm_attach: bool,
    /// Whose structures are read.
    pub runtimes: Runtimes,
    pub redact_addrs: bool,
    pub accept_hook: AcceptHook,
    pub evidence: Evidence,
    pub sockets_per_site: usize,
    /// Modules and beginnings of function names that are not to be blamed.
    pub not_blame: Vec<String>,
    /// Where folded stacks go, beside the report.
    pub folded: Option<PathBuf>,
    /// The exit code that reports a leak; `None` without `--fail-on-leak`.
    pub leak_exit: Option<u8>,
    /// How long a snapshot waits before it looks again at what may be too young.
    pub look_again: Option<Duration>,
    /// 0, 1 for `-v`, 2 for `-vv`.
    pub verbosity: u8,
}

/// Which hook tells what code accepted a connection; `Auto` takes the first that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcceptHook {
    Auto,
    Fexit,
    Syscall,
    None,
}

/// When it is watched what processes do with their sockets, beside how these change their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    Always,
    /// While something is stuck, of the processes concerned.
    Leaking,
}

/// Whose sockets; an empty filter takes all. Parts that are set must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Processes and, with them, their children. Sorted, without repetitions.
    pub pids: Vec<u32>,
    pub comm: Option<Comm>,
    /// Local or remote; at most [`MAX_PORTS`]. Sorted, without repetitions.
    pub ports: Vec<u16>,
    /// A folder below the cgroup mount, as the user wrote it.
    pub cgroup: Option<PathBuf>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// The form the kernel program takes.
    pub fn kernel_ports(&self) -> [u16; MAX_PORTS] {
        let mut ports = [0; MAX_PORTS];
        for (slot, port) in ports.iter_mut().zip(&self.ports) {
            *slot = *port;
        }
        ports
    }
}

/// A process name as the kernel keeps it: the first 15 bytes (`TASK_COMM_LEN` in include/linux/sched.h).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comm(Untrusted);

impl Comm {
    const MAX: usize = 15;

    pub fn new(name: &str) -> Self {
        let bytes = name.as_bytes();
        Self(Untrusted::from_bytes(
            bytes.get(..Self::MAX).unwrap_or(bytes),
        ))
    }

    pub fn matches(&self, comm: &Untrusted) -> bool {
        self.0 == *comm
    }

    /// For messages.
    pub fn name(&self) -> &Untrusted {
        &self.0
    }
}

impl Options {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            min_age: Duration::from_mins(1),
            min_age_given: false,
            duration: None,
            filter: Filter::default(),
            json: false,
            output: None,
            record: None,
            show_cmdline: false,
            jvm_attach: true,
            runtimes: Runtimes::ALL,
            redact_addrs: false,
            accept_hook: AcceptHook::Auto,
            evidence: Evidence::Always,
            sockets_per_site: 5,
            not_blame: Vec::new(),
            folded: None,
            leak_exit: None,
            look_again: None,
            verbosity: 0,
        }
    }

    /// What these options themselves keep the report from showing.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (Mode::Watch, Some(duration)) = (&self.mode, self.duration)
            && duration <= self.min_age
        {
            warnings.push(format!(
                "only sockets stuck before the start can be reported: the run (--duration {}) is not \
                 longer than the age from which a socket counts as stuck (--min-age {})",
                show_duration(duration),
                show_duration(self.min_age)
            ));
        }
        warnings
    }
}

const FORMS: &str = "write a number and a unit: 500ms, 20s, 5m or 1h";
/// Longer than any machine is up; keeps every sum of a time and a duration in range.
const LONGEST: Duration = Duration::from_hours(100 * 366 * 24);

/// Reads `500ms`, `20s`, `5m`, `1h`. Zero is a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    if number.is_empty() {
        return Err(match text.strip_prefix('-') {
            Some(_) => format!("a duration cannot be negative; {FORMS}"),
            None => format!("it does not start with a number; {FORMS}"),
        });
    }
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "" => return Err(format!("the unit is missing; {FORMS}")),
        _ if unit.starts_with(['.', ',']) => {
            return Err("only whole numbers: write 1500ms for 1.5s, 90m for 1.5h".to_owned());
        }
        _ if unit.bytes().any(|byte| byte.is_ascii_digit()) => {
            return Err("only one number and one unit: write 90s for 1m30s".to_owned());
        }
        _ => return Err(format!("it has an unknown unit; {FORMS}")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "longer than 100 years".to_owned())
}

/// The form [`parse_duration`] reads, in the largest unit that needs no fraction.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    units
        .iter()
        .find(|(size, _)| milliseconds > 0 && milliseconds.is_multiple_of(*size))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(size, unit)| format!("{}{unit}", milliseconds / size),
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("2s", 2000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("0060s", 60_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_wrong_duration_says_how_to_write_it() {
        for (text, words) in [
            ("", "does not start with a number"),
            ("soon", "does not start with a number"),
            ("-5s", "cannot be negative"),
            ("20", "unit is missing"),
            ("1.5h", "write 1500ms for 1.5s, 90m for 1.5h"),
            ("1m30s", "write 90s for 1m30s"),
            ("5 m", "unknown unit"),
            ("3d", "500ms, 20s, 5m or 1h"),
            ("5S", "unknown unit"),
            ("5µs", "unknown unit"),
            ("18446744073709551615h", "longer than"),
            ("99999999999999999999999s", "longer than"),
            ("900000h", "longer than 100 years"),
        ] {
            let message = parse_duration(text).unwrap_err();
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(milliseconds in 0_u64..4_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC*") {
            let _any = parse_duration(&text);
        }
    }

    #[test]
    fn a_long_name_matches_what_the_kernel_kept_of_it() {
        let comm = Comm::new("a-rather-long-server-name");
        assert!(comm.matches(&Untrusted::from_comm(b"a-rather-long-s\0")));
        assert!(!comm.matches(&Untrusted::from("a-rather-long")));
        // 14 bytes, then the first half of a character.
        let split = Comm::new("ääääääää");
        assert!(split.matches(&Untrusted::from_comm(
            "äääääää\u{e4}".as_bytes().get(..15).unwrap()
        )));
    }

    #[test]
    fn kernel_ports_end_with_zeros() {
        let filter = Filter {
            ports: vec![80, 443],
            ..Filter::default()
        };
        assert_eq!(filter.kernel_ports(), [80, 443, 0, 0, 0, 0, 0, 0]);
        assert!(!filter.is_empty() && Filter::default().is_empty());
    }
}
