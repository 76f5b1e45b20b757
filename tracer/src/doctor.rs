//! `sockleak doctor`: what this host allows, what that costs the user, and the fix.

mod checks;
mod fix;
mod text;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use crate::{
    exit::{self, Explained, file_error},
    model::report::Tool,
    options::Options,
    probe::{
        caps::Held,
        host::Host,
        privilege,
        trial::{self, Trial},
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ready,
    /// Works, but knows less or costs more than it could.
    Limited,
    Unusable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Works,
    Attached,
    Degraded,
    Missing,
    Unavailable,
    /// It takes privilege to find out.
    Untested,
}

impl Standing {
    const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Attached => "attached",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
            Self::Untested => "untested",
        }
    }

    const fn is_fine(self) -> bool {
        matches!(self, Self::Works | Self::Attached)
    }
}

#[derive(Clone, Debug, Serialize)]
struct Check {
    name: String,
    /// Of a hook: how it is attached.
    kind: Option<&'static str>,
    /// Of a feature: the capabilities it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
    status: Standing,
    /// What is so, and what that costs.
    reason: Option<String>,
    fix: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, status: Standing) -> Self {
        Self {
            name: name.into(),
            kind: None,
            needs: Vec::new(),
            status,
            reason: None,
            fix: None,
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    fn fixed_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// The JSON document of `doctor --json`; fields are only ever added.
#[derive(Debug, Serialize)]
struct Diagnosis {
    schema: &'static str,
    tool: Tool,
    kernel: String,
    arch: String,
    root: bool,
    verdict: Verdict,
    /// Why tracing cannot work, if so.
    problem: Option<Problem>,
    host: Vec<Check>,
    capabilities: Vec<Check>,
    hooks: Vec<Check>,
    iterators: Vec<Check>,
    helpers: Vec<Check>,
    /// What loading costs here; empty where the kernel does not tell.
    programs: Vec<Program>,
}

#[derive(Clone, Debug, Serialize)]
struct Program {
    name: String,
    verified_instructions: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Problem {
    what: String,
    cause: String,
    fix: String,
}

impl From<Explained> for Problem {
    fn from(it: Explained) -> Self {
        Self {
            what: it.what,
            cause: it.cause,
            fix: it.fix,
        }
    }
}

/// Exit code 0 says that the tracer works here.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let diagnosis = Diagnosis::of_this_host();
    let stdout = Path::new("standard output");
    let (path, written) = match &options.output {
        Some(path) => {
            let written = File::create(path)
                .and_then(|mut file| diagnosis.write(options.json, false, &mut file));
            (path.as_path(), written)
        }
        None => (
            stdout,
            diagnosis.write(options.json, true, &mut anstream::stdout()),
        ),
    };
    written.map_err(|error| file_error("write to", path, error))?;
    Ok(match diagnosis.verdict {
        Verdict::Ready | Verdict::Limited => exit::DONE,
        Verdict::Unusable => exit::FAILED,
    })
}

impl Diagnosis {
    fn of_this_host() -> Self {
        let host = Host::probe();
        let held = Held::now();
        let root = rustix::process::geteuid().is_root();
        privilege::raise_memlock_limit();
        let trial = trial::run(privilege::check(&host, &held, root).err());
        Self::new(&host, &held, root, trial)
    }

    fn new(host: &Host, held: &Held, root: bool, trial: Trial) -> Self {
        let mut diagnosis = Self {
            schema: "sockleak.doctor/1",
            kernel: host.kernel.clone(),
            arch: host.arch.clone(),
            root,
            verdict: Verdict::Unusable,
            host: checks::host(host, &trial),
            capabilities: checks::capabilities(held, root, &trial),
            hooks: checks::hooks(host, held, root, &trial),
            iterators: checks::iterators(&trial),
            helpers: checks::helpers(&trial),
            programs: (trial.verified.into_iter())
                .map(|(name, verified_instructions)| Program {
                    name,
                    verified_instructions,
                })
                .collect(),
            problem: trial.problem.map(Problem::from),
            tool: Tool {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                bpf_object_sha256: trial.sha256,
            },
        };
        let all_fine = |checks: &[Check]| checks.iter().all(|check| check.status.is_fine());
        diagnosis.verdict = if diagnosis.problem.is_some() {
            Verdict::Unusable
        } else if diagnosis
            .sections()
            .iter()
            .all(|(_, checks)| all_fine(checks))
        {
            Verdict::Ready
        } else {
            Verdict::Limited
        };
        diagnosis
    }

    fn sections(&self) -> [(&'static str, &[Check]); 5] {
        [
            ("Host", &self.host),
            ("Capabilities", &self.capabilities),
            ("Hooks", &self.hooks),
            ("Iterators", &self.iterators),
            ("Kernel helpers", &self.helpers),
        ]
    }

    /// `color` leaves it to `out` to take the codes away again.
    fn write(&self, json: bool, color: bool, out: &mut dyn Write) -> io::Result<()> {
        if json {
            serde_json::to_writer_pretty(&mut *out, self)?;
            writeln!(out)?;
        } else {
            text::write(self, color, out)?;
        }
        out.flush()
    }
}
