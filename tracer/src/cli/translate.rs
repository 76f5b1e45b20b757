//! From what clap read to what the program works with.

use super::arguments::{Accept, Cli, Command, Judge, Print, Stop, When, Which};
use crate::{
    exit,
    options::{Comm, Evidence, Filter, Mode, Options},
    probe::attach::AcceptHook,
};

impl From<Cli> for Options {
    fn from(cli: Cli) -> Self {
        let mut options = Self::new(Mode::Watch);
        match cli.command.unwrap_or(Command::Watch(cli.watch)) {
            Command::Watch(it) => {
                it.stop.into(&mut options);
                it.judge.into(&mut options);
                it.which.into(&mut options);
                it.print.into(&mut options);
                options.redact_addrs = it.addresses.redact_addrs;
                options.show_cmdline = it.cmdline.show_cmdline;
                options.jvm_attach = !it.looking.no_jvm_attach;
                options.runtimes = it.looking.runtimes.unwrap_or_default();
                options.record = it.record;
                options.accept_hook = it.accept_hook.into();
                options.evidence = it.evidence.into();
            }
            Command::Snapshot(it) => {
                options.mode = Mode::Snapshot;
                options.look_again = it.look_again;
                it.judge.into(&mut options);
                it.which.into(&mut options);
                it.print.into(&mut options);
                options.redact_addrs = it.addresses.redact_addrs;
                options.show_cmdline = it.cmdline.show_cmdline;
                options.jvm_attach = !it.looking.no_jvm_attach;
                options.runtimes = it.looking.runtimes.unwrap_or_default();
            }
            Command::Trace(it) => {
                options.mode = Mode::Trace;
                it.stop.into(&mut options);
                it.which.into(&mut options);
                it.print.into(&mut options);
                options.redact_addrs = it.addresses.redact_addrs;
            }
            Command::Serve(it) => it.into(&mut options),
            Command::Replay(it) => {
                options.mode = Mode::Replay(it.file);
                it.judge.into(&mut options);
                it.print.into(&mut options);
                options.redact_addrs = it.addresses.redact_addrs;
            }
            Command::Run(it) => it.fill(&mut options),
            Command::Doctor(it) => {
                options.mode = Mode::Doctor;
                it.print.into(&mut options);
            }
            Command::Explain(it) => options.mode = Mode::Explain(it.verdict),
        }
        options
    }
}

impl Stop {
    fn into(self, options: &mut Options) {
        options.duration = self.duration;
    }
}

impl Judge {
    fn into(self, options: &mut Options) {
        options.min_age_given = self.min_age.is_some();
        options.min_age = self.min_age.unwrap_or(options.min_age);
        options.sockets_per_site = self.sockets_per_site;
        options.not_blame = self.not_blame;
        options.folded = self.folded;
        options.leak_exit = self
            .fail_on_leak
            .then(|| self.error_exitcode.unwrap_or(exit::LEAK));
    }
}

impl Which {
    pub(super) fn into(mut self, options: &mut Options) {
        self.pids.sort_unstable();
        self.pids.dedup();
        self.ports.sort_unstable();
        self.ports.dedup();
        options.filter = Filter {
            pids: self.pids,
            comm: self.comm.as_deref().map(Comm::new),
            ports: self.ports,
            cgroup: self.cgroup,
        };
    }
}

impl Print {
    fn into(self, options: &mut Options) {
        options.json = self.json;
        options.output = self.output.filter(|path| path.as_os_str() != "-");
        options.verbosity = self.verbose.min(2);
    }
}

impl From<When> for Evidence {
    fn from(when: When) -> Self {
        match when {
            When::Always => Self::Always,
            When::Leaking => Self::Leaking,
        }
    }
}

impl From<Accept> for AcceptHook {
    fn from(accept: Accept) -> Self {
        match accept {
            Accept::Auto => Self::Auto,
            Accept::Fexit => Self::Fexit,
            Accept::Syscall => Self::Syscall,
            Accept::None => Self::None,
        }
    }
}
