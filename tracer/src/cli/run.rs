//! The options of `sockleak run`, as clap reads them and as `--help` shows them.
#![expect(
    clippy::doc_markdown,
    reason = "the comments on options are the text of --help"
)]

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{NonEmptyStringValueParser, PathBufValueParser, TypedValueParser as _},
};

use super::arguments::{Accept, Addresses, Cmdline, Looking, leak_code, positive_duration};
use crate::{
    exit,
    model::verdict::Severity,
    options::{
        HowOften, IfUnable, Known, Mode, Options, Run as Wanted, RunOutputs, Until, parse_duration,
        parse_scale, parse_until,
    },
};

/// Beyond `--min-age`, before what is still open counts as left open.
const SETTLE: Duration = Duration::from_millis(500);

/// clap takes `{n}` in a help text for the end of a line: a change of style, which is none, keeps it apart.
const SCALE: &str =
    "Run CMD with {\u{1b}[0mn} (and SOCKLEAK_N) as A and as B: what grows with it leaks";

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub judge: Judge,
    #[command(flatten)]
    pub end: End,
    #[command(flatten)]
    pub known: KnownLeaks,
    #[command(flatten)]
    pub often: Often,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub addresses: Addresses,
    #[command(flatten)]
    pub cmdline: Cmdline,
    #[command(flatten)]
    pub looking: Looking,
    /// Learn accept sites by auto, fexit, syscall (slows all system calls by 50 ns) or none
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        value_enum,
        hide_possible_values = true
    )]
    pub accept_hook: Accept,
    /// What to do where tracing is impossible: fail with 125, or skip the check and run CMD alone
    #[arg(
        long,
        value_name = "fail|skip",
        default_value = "fail",
        value_enum,
        hide_possible_values = true
    )]
    pub if_unable: Unable,
    /// Say more; -vv says what the program itself does
    #[arg(short, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// What counts as leaked.
#[derive(Debug, Args)]
pub(super) struct Judge {
    /// A socket leaks that stays in CLOSE_WAIT for this long, until the end
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = parse_duration)]
    pub min_age: Duration,
    /// Or that stayed there for this long until an exit closed it [default: as --min-age; 0s: any]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub exit_age: Option<Duration>,
    /// What the program closed later is a failure as well
    #[arg(long)]
    pub strict: bool,
    /// The least severity that fails: leak, suspect or info
    #[arg(
        long,
        value_name = "SEVERITY",
        default_value = "leak",
        value_enum,
        hide_possible_values = true
    )]
    pub fail_on: Level,
    /// Exit with N instead of 23 when there is a leak
    #[arg(long, value_name = "N", default_value_t = exit::LEAK, value_parser = leak_code)]
    pub error_exitcode: u8,
    /// Let pass up to N leaking sockets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_leaks: u64,
    /// Do not blame frames of this module, nor functions whose names start so; may be repeated
    #[arg(long, value_name = "MODULE|PREFIX", value_parser = NonEmptyStringValueParser::new())]
    pub not_blame: Vec<String>,
    /// List at most N sockets with each finding, oldest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub sockets_per_site: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "When CMD ends")]
pub(super) struct End {
    /// Wait at most this long for open questions [default: --min-age and 0.5 s]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub settle: Option<Duration>,
    /// Wait for processes that CMD has left running, at most this long
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = parse_duration)]
    pub wait_children: Duration,
    /// End what CMD has left running after the report
    #[arg(long)]
    pub kill_children: bool,
    /// End CMD with success as soon as this finding appears, such as eof-ignored:handle_client
    #[arg(long, value_name = "VERDICT[:FUNCTION]", value_parser = parse_until)]
    pub until: Option<Until>,
    /// With --until: end CMD after this time, with 124
    #[arg(long, value_name = "DUR", requires = "until", value_parser = positive_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Known leaks")]
pub(super) struct KnownLeaks {
    /// Let pass what this TOML file names, each with a reason
    #[arg(long, value_name = "FILE")]
    pub suppressions: Option<PathBuf>,
    /// Let pass what this file of --write-baseline holds
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write the findings of this run to FILE, as known from now on
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// With --baseline: let a known finding grow by N sockets
    #[arg(long, value_name = "N", requires = "baseline", default_value_t = 0)]
    pub max_growth: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "More than one run")]
pub(super) struct Often {
    /// Run CMD N times, and say in how many each finding appeared
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["scale", "until"])]
    pub repeat: Option<u32>,
    #[arg(long, help = SCALE, value_name = "A,B", value_parser = parse_scale, conflicts_with = "until")]
    pub scale: Option<(u64, u64)>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output (beside stderr)")]
pub(super) struct Files {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the findings as JUnit XML, a test case each
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Annotate for GitHub Actions, and add to its step summary
    #[arg(long)]
    pub github: bool,
    /// Where the sources are: SARIF and annotations name files below it [default: here]
    #[arg(long, value_name = "DIR")]
    pub source_root: Option<PathBuf>,
    /// Write stacks of stuck sockets to FILE, one finding a line, for flame graphs
    #[arg(long, value_name = "FILE")]
    pub folded: Option<PathBuf>,
    /// Keep all observations in FILE, for `sockleak replay FILE`
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(recording), conflicts_with_all = ["repeat", "scale"])]
    pub record: Option<PathBuf>,
    /// Leave addresses of other machines in JUnit, SARIF and annotations
    #[arg(long)]
    pub show_addrs: bool,
}

/// The other outputs come after CMD and may follow what it wrote to stdout.
fn recording(file: PathBuf) -> Result<PathBuf, &'static str> {
    if file.as_os_str() == "-" {
        return Err("a recording on stdout would be mixed with what CMD writes there: name a file");
    }
    Ok(file)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Level {
    Info,
    Suspect,
    Leak,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Unable {
    Fail,
    Skip,
}

impl Run {
    pub(super) fn fill(self, options: &mut Options) {
        let min_age = self.judge.min_age;
        options.min_age = min_age;
        options.min_age_given = true;
        options.sockets_per_site = self.judge.sockets_per_site;
        options.not_blame = self.judge.not_blame;
        options.folded = self.files.folded;
        options.record = self.files.record;
        options.redact_addrs = self.addresses.redact_addrs;
        options.show_cmdline = self.cmdline.show_cmdline;
        options.jvm_attach = !self.looking.no_jvm_attach;
        options.runtimes = self.looking.runtimes.unwrap_or_default();
        options.accept_hook = self.accept_hook.into();
        options.verbosity = self.verbose.min(2);
        options.mode = Mode::Run(Box::new(Wanted {
            command: self.command,
            exit_age: self.judge.exit_age.unwrap_or(min_age),
            settle: self.end.settle.unwrap_or(min_age + SETTLE),
            wait_children: self.end.wait_children,
            kill_children: self.end.kill_children,
            fail_on: match self.judge.fail_on {
                Level::Info => Severity::Info,
                Level::Suspect => Severity::Suspect,
                Level::Leak => Severity::Leak,
            },
            strict: self.judge.strict,
            error_exitcode: self.judge.error_exitcode,
            outputs: RunOutputs {
                json: self.files.json,
                junit: self.files.junit,
                sarif: self.files.sarif,
                github: self.files.github,
                source_root: self.files.source_root,
                show_addrs: self.files.show_addrs,
            },
            known: Known {
                suppressions: self.known.suppressions,
                baseline: self.known.baseline,
                write_baseline: self.known.write_baseline,
                max_leaks: self.judge.max_leaks,
                max_growth: self.known.max_growth,
            },
            how_often: match (self.often.repeat, self.often.scale) {
                (Some(times), _) => HowOften::Repeat(times),
                (_, Some((small, large))) => HowOften::Scale(small, large),
                _ => HowOften::Once,
            },
            until: self.end.until,
            timeout: self.end.timeout,
            if_unable: match self.if_unable {
                Unable::Fail => IfUnable::Fail,
                Unable::Skip => IfUnable::Skip,
            },
        }));
    }
}
