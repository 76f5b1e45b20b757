//! The options of `serve`, and what they mean for the program.
#![expect(
    clippy::doc_markdown,
    reason = "the comments on options are the text of --help"
)]

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args,
    builder::{NonEmptyStringValueParser, RangedU64ValueParser},
};

use super::arguments::{Accept, Addresses, Cmdline, When, Which};
use crate::model::runtime::Runtimes;
use crate::options::{DEFAULT_LISTEN, Listen, Mode, Options, Web, parse_duration, parse_listen};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Listen on HOST:PORT, on :PORT of all addresses, or on unix:/PATH; may be repeated
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = DEFAULT_LISTEN,
        value_parser = parse_listen
    )]
    pub listen: Vec<Listen>,
    /// TLS, client certificates, passwords: a file in the format of Prometheus' exporter-toolkit
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Also answer requests to this name of the host; may be repeated
    #[arg(long = "web.allowed-host", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub allowed_hosts: Vec<String>,
    /// Give metrics of their own to at most N sites, the rest is `other`
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..=500))]
    pub max_sites: usize,
    /// Report sockets in CLOSE_WAIT for at least this long [default: 60s]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// List at most N sockets with each finding, oldest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub sockets_per_site: usize,
    /// Do not blame frames of this module (libpool.so.2), nor functions whose names start so
    /// (pool::); may be repeated
    #[arg(long, value_name = "MODULE|PREFIX", value_parser = NonEmptyStringValueParser::new())]
    pub not_blame: Vec<String>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub addresses: Addresses,
    #[command(flatten)]
    pub cmdline: Cmdline,
    /// Ask Java virtual machines for the names and frames of their threads: sends them SIGQUIT
    #[arg(long)]
    pub jvm_attach: bool,
    /// Read what threads execute, and of Node.js who listens to sockets, from the structures of
    /// these language runtimes only: of python,java,go,node,ruby,php, or none
    #[arg(long, value_name = "LIST", value_parser = super::arguments::runtimes)]
    pub runtimes: Option<Runtimes>,
    /// Learn accept sites by auto, fexit, syscall (slows all system calls by 50 ns) or none
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        value_enum,
        hide_possible_values = true
    )]
    pub accept_hook: Accept,
    /// Watch reads, writes and accepts always, or only while something is leaking, of the processes concerned
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "leaking",
        value_enum,
        hide_possible_values = true
    )]
    pub evidence: When,
    /// Say more; -vv says what the program itself does
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Serve {
    pub(super) fn into(self, options: &mut Options) {
        options.mode = Mode::Serve(Web {
            listen: self.listen,
            config_file: self.config_file,
            allowed_hosts: self.allowed_hosts,
            max_sites: self.max_sites,
        });
        options.min_age_given = self.min_age.is_some();
        options.min_age = self.min_age.unwrap_or(options.min_age);
        options.sockets_per_site = self.sockets_per_site;
        options.not_blame = self.not_blame;
        self.which.into(options);
        options.redact_addrs = self.addresses.redact_addrs;
        options.show_cmdline = self.cmdline.show_cmdline;
        options.jvm_attach = self.jvm_attach;
        options.runtimes = self.runtimes.unwrap_or_default();
        options.accept_hook = self.accept_hook.into();
        options.evidence = self.evidence.into();
        options.verbosity = self.verbose.min(2);
    }
}
