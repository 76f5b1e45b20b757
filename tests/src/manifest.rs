//! The rigs and what must be said of each of them, as written in `rigs/manifest.json`.
use crate::backend::Temper;
use crate::client::Manner;
use crate::paths;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Build commands by name; an empty one means the source is run by its interpreter.
    pub builds: BTreeMap<String, Vec<String>>,
    pub rigs: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub language: String,
    pub source: String,
    pub build: String,
    #[serde(default)]
    pub build_args: Vec<String>,
    #[serde(default)]
    pub args: Vec<String>,
    /// Instead of the language's, where the one in PATH may lack a package; the compiler of a compiled one.
    pub interpreter: Option<String>,
    /// Programs and files without which this rig cannot run.
    #[serde(default)]
    pub needs: Vec<String>,
    pub client: Manner,
    /// The service behind the rig, which is told its port with `--upstream`.
    pub upstream: Option<Temper>,
    /// Clients that come before the leak begins; served properly, unless `also` says otherwise.
    #[serde(default)]
    pub warm_up: usize,
    /// Clients that ask, never read the reply, and stay.
    #[serde(default)]
    pub pins: usize,
    /// Every verdict that is true of this rig; mostly one. The first is the one it is made for.
    pub verdicts: Vec<String>,
    /// Only `info` for what is no leak; not checked where it depends on growth.
    pub severity: Option<String>,
    /// How long it is watched once it is stuck, where the proof takes longer than growing old does.
    #[serde(default)]
    pub watch_seconds: u64,
    /// It exits once the tracer has told of it, and only then comes the report.
    #[serde(default)]
    pub exits: bool,
    /// What is said of the clients of the warm-up, where those get stuck too, held by the rig.
    pub also: Option<Also>,
    pub count: usize,
    pub direction: String,
    #[serde(default)]
    pub state: State,
    #[serde(default)]
    pub holder: Holder,
    /// Absent where no application frame can be named.
    pub blame: Option<Blame>,
}

/// A second finding, of the connections that came first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    pub verdict: String,
    pub blame: Option<Blame>,
}

impl Entry {
    /// A runtime executes it, from whose memory names are read.
    pub fn is_interpreted(&self) -> bool {
        ["java", "javascript", "php", "python", "ruby"].contains(&self.language.as_str())
    }

    /// How many sockets its second finding has.
    pub fn also_stuck(&self) -> usize {
        self.also.as_ref().map_or(0, |_| self.warm_up)
    }
}

/// The state the rig's sockets end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    CloseWait,
    Close,
}

/// Who holds the descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The rig's own process.
    #[default]
    Rig,
    /// The child whose pid the rig prints as `helper PID`.
    Helper,
    /// No process at all.
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blame {
    /// The exact name; `None` with `unnamed`, where there is no symbol to find.
    pub function: Option<String>,
    #[serde(default)]
    pub unnamed: bool,
    /// The compiler inlined the blamed function: only debug information knows it.
    #[serde(default)]
    pub inlined: bool,
    /// Nobody is a right answer too: what Go's `io.Copy` does by `splice()` is not seen, of Node.js no function is on the stack of a
    /// read, and who should accept is not known where all that it accepted is closed.
    #[serde(default)]
    pub or_nobody: bool,
    /// The field of `stacks` which holds the blamed frame; `any` where more than one may,
    /// `another` where the stacks are those of another finding, which this one points to, `listeners`
    /// where it was on none and hears of what comes on the connection.
    pub stack: String,
    /// Application frames above the blamed one, in this order, others may lie between.
    #[serde(default)]
    pub callers: Vec<String>,
    /// How the blamed file's path ends, where there is debug information.
    pub file: Option<String>,
    /// What the blamed source line contains.
    pub line_contains: Option<String>,
}

pub fn load() -> Manifest {
    let path = paths::tests_dir().join("rigs/manifest.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("parse {}: {error}", path.display()))
}

/// The entry called `name`.
pub fn entry(name: &str) -> Entry {
    let found = load().rigs.into_iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("no rig {name} in rigs/manifest.json"))
}
