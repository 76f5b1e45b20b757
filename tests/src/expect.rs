//! Holds one rig against one report: the finding the manifest promises, and nothing else.
use crate::manifest::{Blame, Entry, Holder, State};
use crate::report::{Frame, Report, Site};
use crate::rig::Rig;
use crate::{compile, paths, process};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// On the rig's port, and of no other rig that had the port before: the tracer sees those of tests beside this one.
pub fn sites<'r>(report: &'r Report, rig: &Rig) -> Vec<&'r Site> {
    let rigs = paths::target().join("rigs");
    let own = compile::command(&rig.entry).remove(0);
    let is_of_another = |site: &Site| {
        let process = site.process.as_ref();
        let exe = process.and_then(|process| process.exe.as_deref());
        exe.is_some_and(|exe| Path::new(exe).starts_with(&rigs) && Path::new(exe) != own)
    };
    let mut sites = report.on_port(rig.port);
    sites.retain(|site| !is_of_another(site));
    sites
}

/// The one site of a leaking rig; panics, with all it saw, when the report says anything else.
pub fn one_site<'a>(report: &'a Report, rig: &Rig) -> &'a Site {
    let name = &rig.entry.name;
    // What ended while it was watched stays in the report; a rig stands for what is stuck in the end.
    let mut sites = sites(report, rig);
    sites.retain(|site| site.is_of_the_end());
    let told: Vec<_> = sites
        .iter()
        .map(|site| (&site.verdict, site.count, &site.blame))
        .collect();
    let also = rig.entry.also.as_ref().filter(|_| rig.stuck > 0);
    let wanted = 1 + usize::from(also.is_some());
    assert_eq!(
        sites.len(),
        wanted,
        "{name}: {wanted} sites, not {told:?}; warnings {:?}",
        report.warnings
    );
    let right = |site: &&&Site| rig.entry.verdicts.contains(&site.verdict);
    let site = *sites
        .iter()
        .find(right)
        .unwrap_or_else(|| panic!("{name}: verdict {told:?}: {sites:#?}"));
    if let Some(also) = also {
        let other = sites.iter().find(|other| other.verdict == also.verdict);
        let other = other.unwrap_or_else(|| panic!("{name}: no {} in {told:?}", also.verdict));
        assert_eq!(other.count, rig.entry.also_stuck(), "{name}: {other:#?}");
    }
    if let Some(severity) = &rig.entry.severity {
        assert_eq!(&site.severity, severity, "{name}: {site:#?}");
    }
    assert_eq!(site.count, rig.stuck, "{name}: count");
    assert_eq!(
        site.direction.as_deref(),
        Some(rig.entry.direction.as_str()),
        "{name}: direction"
    );
    assert_eq!(
        site.sockets.len() + site.sockets_omitted,
        site.count,
        "{name}: sockets listed"
    );
    sockets(site, &rig.entry);
    holders(site, rig);
    site
}

/// A healthy rig is not in the report at all.
pub fn no_site(report: &Report, rig: &Rig) {
    let sites = sites(report, rig);
    assert!(
        sites.is_empty(),
        "{}: healthy, and yet {sites:#?}",
        rig.entry.name
    );
    let of_process: Vec<_> = report
        .sites
        .iter()
        .filter(|site| holds(site, rig.pid()))
        .collect();
    assert!(
        of_process.is_empty(),
        "{}: healthy, and yet {of_process:#?}",
        rig.entry.name
    );
}

fn holds(site: &Site, pid: u32) -> bool {
    site.process
        .as_ref()
        .is_some_and(|process| process.pid == pid)
}

/// Ages of sockets whose every step was watched: exact, and no longer than the rig has lived.
pub fn exact_ages(site: &Site, rig: &Rig) {
    let lived = rig.started.elapsed().as_secs_f64();
    assert!(
        !site.age_is_lower_bound,
        "{}: its ages are known",
        rig.entry.name
    );
    assert!(
        site.oldest_seconds >= 1.0,
        "{}: --min-age is 1s: {site:#?}",
        rig.entry.name
    );
    for socket in &site.sockets {
        assert!(
            !socket.age_is_lower_bound,
            "{}: its age is known",
            rig.entry.name
        );
        let age = socket.age_seconds;
        assert!(
            age > 0.0 && age < lived,
            "{}: age {age} in a life of {lived}",
            rig.entry.name
        );
    }
}

fn sockets(site: &Site, entry: &Entry) {
    let wanted = match entry.state {
        State::CloseWait => "close_wait",
        State::Close => "close",
    };
    for socket in &site.sockets {
        assert_eq!(socket.state, wanted, "{}: state", entry.name);
        assert_ne!(socket.cookie, "0x0", "{}: cookie", entry.name);
        assert_eq!(
            socket.inode.is_none(),
            entry.direction == "unaccepted",
            "{}: inode",
            entry.name
        );
    }
}

/// Every descriptor in the report is really there, in the right process and for that inode.
fn holders(site: &Site, rig: &Rig) {
    let name = &rig.entry.name;
    let holder = match rig.entry.holder {
        Holder::Rig => Some(rig.pid()),
        Holder::Helper => Some(rig.helper()),
        Holder::None => None,
    };
    let there = holder.filter(|_| !rig.entry.exits);
    let open = there.map_or_else(BTreeMap::new, process::sockets);
    for socket in &site.sockets {
        assert_eq!(
            socket.fds.is_empty(),
            holder.is_none(),
            "{name}: fds {:?}",
            socket.fds
        );
        for descriptor in &socket.fds {
            assert_eq!(
                Some(descriptor.pid),
                holder,
                "{name}: holder of {descriptor:?}"
            );
            if rig.entry.exits {
                continue;
            }
            assert_eq!(
                open.get(&descriptor.fd),
                socket.inode.as_ref(),
                "{name}: {descriptor:?}"
            );
        }
    }
}

/// The function that is blamed, the stack it comes from and, where they exist, file and line.
pub fn blamed(site: &Site, rig: &Rig) {
    let also = rig.entry.also.as_ref();
    let second = also.filter(|also| also.verdict == site.verdict);
    let wanted = second.map_or(rig.entry.blame.as_ref(), |also| also.blame.as_ref());
    if let Some(wanted) = wanted {
        let right = blame_of(site, wanted, &rig.entry.source);
        right.unwrap_or_else(|error| panic!("{}: {error:#}: {site:#?}", rig.entry.name));
    }
}

/// Whether this site blames what was wanted, and the reason when it does not.
pub fn blame_of(site: &Site, wanted: &Blame, source: &str) -> Result<()> {
    let nobody = site.blame.is_none() && wanted.or_nobody;
    if nobody || site.verdict == "unknown" {
        return Ok(());
    }
    let blame = site.blame.as_ref().context("nobody is blamed")?;
    if wanted.unnamed {
        let offset = blame.function.rsplit_once("+0x").map(|(_, digits)| digits);
        let hex =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        ensure!(
            offset.is_some_and(hex),
            "no symbols, and yet {}",
            blame.function
        );
    } else {
        ensure!(
            Some(&blame.function) == wanted.function.as_ref(),
            "it blames {}, not {:?}",
            blame.function,
            wanted.function
        );
    }
    ensure!(blame.inlined == wanted.inlined, "inlined: {blame:?}");
    if wanted.stack == "another" {
        return Ok(());
    }
    if wanted.stack == "listeners" {
        let listeners = site.listeners.as_ref();
        let blamed = listeners.and_then(|listeners| listeners.blamed.as_ref());
        ensure!(blamed.is_some(), "no listener is blamed: {listeners:?}");
        return source_line(wanted, blame.file.as_deref(), blame.line, source);
    }
    let stacks = site.stacks.named(&wanted.stack);
    let shows = |stack: &Vec<Frame>| in_order(stack, &blame.function, &wanted.callers);
    ensure!(
        stacks.iter().any(shows),
        "stacks.{} does not have it below {:?}",
        wanted.stack,
        wanted.callers
    );
    source_line(wanted, blame.file.as_deref(), blame.line, source)
}

fn in_order(stack: &[Frame], blamed: &str, callers: &[String]) -> bool {
    let mut frames = stack.iter().map(Frame::name);
    let mut wanted = std::iter::once(blamed).chain(callers.iter().map(String::as_str));
    wanted.all(|function| frames.any(|frame| frame == function))
}

fn source_line(wanted: &Blame, file: Option<&str>, line: Option<u32>, source: &str) -> Result<()> {
    let Some(ending) = &wanted.file else {
        return Ok(());
    };
    ensure!(
        file.is_some_and(|file| file.ends_with(ending.as_str())),
        "file {file:?}"
    );
    let path = paths::tests_dir().join("rigs").join(source);
    let text = std::fs::read_to_string(path).expect("read a rig's source");
    let line = line.context("a file without a line")?;
    let shown = text.lines().nth(line as usize - 1).unwrap_or_default();
    let wanted = wanted.line_contains.as_deref().unwrap_or_default();
    ensure!(
        shown.contains(wanted),
        "line {line} reads {shown:?}, not {wanted:?}"
    );
    Ok(())
}
