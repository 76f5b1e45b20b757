//! What a process has mapped as code, and whether a pid still names the process that was seen.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procfs::process::{MMapPath, MemoryMap, MemoryMaps, Process};
use procfs::{FromBufRead, ProcError};
use serde::{Deserialize, Serialize};

use super::started_as;
use super::warning::Warning;

/// `vm.max_map_count` is 65,530 by default; only executable mappings are kept.
const MAX_MAPPINGS: usize = 4096;
/// Far above 65,530 lines of usual length; a longer file is cut, which loses its last mappings.
const MAX_MAPS_BYTES: u64 = 64 << 20;
/// Names come from the traced process.
const MAX_NAME: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Backing {
    File,
    Vdso,
    /// Code made at run time: a JIT, a trampoline.
    Anonymous,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mapping {
    pub range: Range<u64>,
    pub offset: u64,
    /// Major and minor number. Who unwinds and names is not told where the file is.
    #[serde(skip)]
    pub dev: (u32, u32),
    #[serde(skip)]
    pub ino: u64,
    /// What a file opened later must have to be this one, where the kernel told of the mapping.
    #[serde(skip)]
    pub build_id: Option<String>,
    pub backing: Backing,
    #[serde(skip)]
    pub path: PathBuf,
    /// What a report calls it: the file name, `[vdso]`, `[anon]`.
    pub name: String,
    /// A shared library that the system keeps for all programs.
    pub of_system: bool,
}

impl Mapping {
    /// Is a file with this build-id the one that was mapped, as far as the kernel told? It tells at most
    /// 20 bytes (`BUILD_ID_SIZE_MAX`).
    pub(super) fn is_of_build(&self, found: Option<&str>) -> bool {
        const TOLD: usize = 40;
        match (&self.build_id, found) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(told), Some(found)) => {
                told == found || (told.len() == TOLD && found.starts_with(told.as_str()))
            }
        }
    }
}

/// When a process started, in clock ticks since boot: the second half of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Start(u64);

impl Start {
    /// From `task->start_boottime`, which the kernel rounds down to ticks in `/proc/PID/stat`.
    pub(super) fn from_boot_ns(ns: u64) -> Option<Self> {
        let per_tick = 1_000_000_000 / procfs::ticks_per_second().max(1);
        (ns != 0).then(|| Self(ns / per_tick.max(1)))
    }

    pub(super) fn since_boot(self) -> Duration {
        let per_tick = 1_000_000_000 / procfs::ticks_per_second().max(1);
        Duration::from_nanos(self.0.saturating_mul(per_tick))
    }

    /// One tick of tolerance: the two sides may round differently.
    pub(super) fn same(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= 1
    }
}

pub(super) struct CodeMap {
    pub start: Start,
    /// Sorted by address, as the kernel lists them.
    pub mappings: Vec<Mapping>,
    pub omitted: bool,
}

/// Whose rights the process has now: it may give up some while it runs.
pub(super) fn user(pid: u32) -> Option<u32> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    Some(process.status().ok()?.euid)
}

impl CodeMap {
    /// The mapping that begins there.
    pub(super) fn at(&self, start: u64) -> Option<&Mapping> {
        let begins = |known: &Mapping| known.range.start;
        let found = self.mappings.binary_search_by_key(&start, begins);
        found.ok().and_then(|place| self.mappings.get(place))
    }
}

/// Start time of the live process, `None` when there is none (or only its zombie's leader entry
/// could be read, which has no code to look at anyway).
pub(super) fn started(pid: u32) -> Option<Start> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    Some(Start(process.stat().ok()?.starttime))
}

/// Reads the executable mappings between two looks at the start time, so that they belong to one
/// process even when the pid is reused meanwhile.
pub(super) fn read(pid: u32) -> Result<CodeMap, Warning> {
    let gone = Warning::ProcessGone { pid };
    let id = i32::try_from(pid).map_err(|_| gone.clone())?;
    // procfs keeps a handle on /proc/PID: after a reuse it answers ESRCH, not for the newcomer.
    let process = Process::new(id).map_err(|_| gone.clone())?;
    let before = process.stat().map_err(|_| gone.clone())?.starttime;
    let maps = process
        .open_relative("maps")
        .and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MAX_MAPS_BYTES).read_to_end(&mut bytes)?;
            // A path need not be UTF-8; a mangled name is better than no list.
            let text = executable_lines(&String::from_utf8_lossy(&bytes));
            MemoryMaps::from_buf_read(text.as_bytes())
        })
        .map_err(|error| unreadable(pid, &error))?;
    let after = process.stat().map_err(|_| gone.clone())?.starttime;
    if before != after {
        return Err(gone);
    }
    let mut mappings: Vec<Mapping> = maps.into_iter().filter_map(executable).collect();
    // An exiting process has given up its memory while its /proc entry remains.
    if mappings.is_empty() {
        return Err(gone);
    }
    if let Some((program, name)) = started_as::another_name(&process) {
        for mapping in mappings.iter_mut().filter(|of| of.path == program) {
            mapping.name.clone_from(&name);
        }
    }
    let omitted = mappings.len() > MAX_MAPPINGS;
    mappings.truncate(MAX_MAPPINGS);
    Ok(CodeMap {
        start: Start(before),
        mappings,
        omitted,
    })
}

pub(super) fn too_many(pid: u32) -> Warning {
    Warning::TooManyMappings {
        pid,
        limit: MAX_MAPPINGS,
    }
}

/// Drops the data mappings unparsed, and the one kind of path that the parser slices blindly: a
/// file called `/SYSV…` in the root of the process would make it panic.
fn executable_lines(maps: &str) -> String {
    let mut kept = String::with_capacity(maps.len() / 4);
    for line in maps.lines() {
        let code = line
            .split(' ')
            .nth(1)
            .is_some_and(|perms| perms.contains('x'));
        if code {
            kept.push_str(line.split_once(" /SYSV").map_or(line, |(before, _)| before));
            kept.push_str(" \n");
        }
    }
    kept
}

fn unreadable(pid: u32, error: &ProcError) -> Warning {
    match error {
        ProcError::PermissionDenied(_) => Warning::MapsDenied { pid },
        ProcError::NotFound(_) => Warning::ProcessGone { pid },
        ProcError::Io(error, _) if error.raw_os_error() == Some(3) => Warning::ProcessGone { pid },
        ProcError::Io(error, _) => Warning::MapsUnreadable {
            pid,
            reason: error.kind().to_string(),
        },
        _ => Warning::MapsUnreadable {
            pid,
            reason: "unexpected format".to_owned(),
        },
    }
}

/// What a report calls the file.
pub(super) fn module(path: &Path) -> String {
    let shown = path.file_name().unwrap_or_default().to_string_lossy();
    let name = shown.strip_suffix(" (deleted)").unwrap_or(&shown);
    name.chars().take(MAX_NAME).collect()
}

fn executable(map: MemoryMap) -> Option<Mapping> {
    let (backing, path, name) = match map.pathname {
        MMapPath::Path(path) => {
            let name = module(&path);
            (Backing::File, path, name)
        }
        MMapPath::Vdso => (Backing::Vdso, PathBuf::new(), "[vdso]".to_owned()),
        // The legacy vsyscall page is not a place a thread blocks in and is not readable.
        MMapPath::Vsyscall => return None,
        _ => (Backing::Anonymous, PathBuf::new(), "[anon]".to_owned()),
    };
    Some(Mapping {
        range: map.address.0..map.address.1,
        offset: map.offset,
        dev: (map.dev.0 as u32, map.dev.1 as u32),
        ino: map.inode,
        build_id: None,
        backing,
        of_system: is_of_system(&path),
        path,
        name,
    })
}

/// In a folder that the linker looks through for every program (ld.so(8)): plug-ins, and what only some programs share, lie in
/// folders of their own.
pub(super) fn is_of_system(path: &Path) -> bool {
    const FOLDERS: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
    /// As Debian has one for each kind of machine: `x86_64-linux-gnu`.
    const MACHINE: &str = "-linux-";
    let is_folder = |folder: &Path| FOLDERS.iter().any(|known| folder == Path::new(known));
    let Some(folder) = path.parent() else {
        return false;
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let of_machine = name.contains(MACHINE) && folder.parent().is_some_and(is_folder);
    let module = module(path);
    module.starts_with("lib") && module.contains(".so") && (is_folder(folder) || of_machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_the_system_lie_where_the_linker_looks() {
        let is = |path: &str| is_of_system(Path::new(path));
        assert!(is("/usr/lib/x86_64-linux-gnu/libQt5Core.so.5.15.8"));
        assert!(is("/lib64/libz.so.1") && is("/usr/lib/libz.so.1 (deleted)"));
        assert!(!is("/usr/lib/apache2/modules/mod_proxy.so"));
        assert!(!is("/usr/lib/x86_64-linux-gnu/varnish/libvarnish.so"));
        assert!(!is("/srv/app/lib/libapp.so") && !is("/usr/lib/libexec"));
        assert!(!is("/usr/sbin/libsomething.so") && !is(""));
    }

    #[test]
    fn only_code_is_kept_and_no_path_trips_the_parser() {
        let text = "\
00400000-00401000 r-xp 00001000 08:01 42                         /srv/a b/app (deleted)
00401000-00402000 rw-p 00002000 08:01 42                         /srv/a b/app (deleted)
00500000-00501000 r-xp 00000000 08:01 43                         /SYSVx
00600000-00601000 rwxp 00000000 00:00 0 
7fff0000-7fff2000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]
";
        let kept = MemoryMaps::from_buf_read(executable_lines(text).as_bytes()).unwrap();
        let code: Vec<_> = kept.into_iter().filter_map(executable).collect();
        let seen: Vec<_> = code
            .iter()
            .map(|code| (code.range.start, code.name.as_str(), code.ino))
            .collect();
        assert_eq!(
            seen,
            [
                (0x40_0000, "app", 42),
                (0x50_0000, "[anon]", 43),
                (0x60_0000, "[anon]", 0),
                (0x7fff_0000, "[vdso]", 0),
            ]
        );
    }
}
