//! What must be said of the rigs that leaked in the guest.

use serde_json::Value;

use super::super::expected;
use super::super::kernel::Kernel;
use super::super::record::{self, RIGS, Step, TRACED};
use super::super::report::{Manifest, Report, Rig, Site};
use super::{Check, check};

/// The step that says which port the traced rig used.
const TRACED_STEP: &str = "traced";

/// One check a rig: the verdict, the count, and the blamed function where this kernel shows it.
pub fn watched(
    kernel: &Kernel,
    steps: &[Step],
    manifest: &Manifest,
    report: &Report,
) -> Vec<Check> {
    let of = |name: &&str| {
        let outcome = rig(manifest, name).and_then(|rig| {
            let site = site_of(steps, rig, report)?;
            blamed(kernel, rig, site)
        });
        check(&format!("watch: {name}"), outcome)
    };
    RIGS.iter().map(of).collect()
}

/// Without history: every stuck socket is there, whatever the verdict.
pub fn in_snapshot(steps: &[Step], manifest: &Manifest, report: &Report) -> Result<String, String> {
    let mut sockets = 0;
    for name in RIGS {
        let rig = rig(manifest, name)?;
        let port = port(steps, name)?;
        let found: usize = report.on_port(port).iter().map(|site| site.count).sum();
        if found != rig.count {
            return Err(format!("{name}: {found} sockets, not {}", rig.count));
        }
        sockets += found;
    }
    Ok(format!("{sockets} sockets found"))
}

/// What `trace` exits with when it knows that it did not see everything.
const INCOMPLETE: i32 = 125;

/// Every connection's way into `CLOSE_WAIT`, and the process that opened it; or the admission that
/// the kernel skipped some, which on an emulated machine is no failure.
pub fn traced(steps: &[Step], name: &str) -> Result<String, String> {
    let step = record::find(steps, name).ok_or("the guest did not run it")?;
    let admission = step.stderr.lines().find(|line| line.contains("lost"));
    match (step.code, admission) {
        (Some(0), _) => {}
        (Some(INCOMPLETE), Some(admission)) => {
            let words = admission.trim_start_matches("sockleak: ");
            return Ok(format!("{words}, and said so"));
        }
        (code, _) => return Err(format!("it ended with {code:?}: {}", step.stderr)),
    }
    let port = format!(":{}", port(steps, TRACED_STEP)?);
    let (mut lines, mut entered, mut opened) = (0, 0, 0);
    for line in step.stdout.lines() {
        let event: Value =
            serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let here = |key: &str| text(key).ends_with(&port);
        lines += 1;
        entered += usize::from(here("local") && text("new") == "close_wait");
        let connects = here("remote") && text("old") == "close" && text("new") == "syn_sent";
        opened += usize::from(connects && event.get("pid").is_some_and(Value::is_u64));
    }
    let wanted = TRACED.1;
    if (entered, opened) == (wanted, wanted) {
        return Ok("complete".to_owned());
    }
    Err(format!(
        "{entered} into CLOSE_WAIT and {opened} opened by a named process, of {wanted} each, in \
         {lines} lines: {}",
        step.stderr
    ))
}

fn rig<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Rig, String> {
    let found = manifest.rigs.iter().find(|rig| rig.name == name);
    found.ok_or_else(|| format!("the manifest has no rig {name}"))
}

fn port(steps: &[Step], name: &str) -> Result<u16, String> {
    let step = record::find(steps, name).ok_or("the guest did not run it")?;
    record::port(step).ok_or_else(|| format!("it said no port: {}{}", step.stdout, step.stderr))
}

/// All sockets of the rig are in one site with the right verdict, each with an identity. A socket one
/// of whose events was missed may stand by itself; the most complete site is then the one to look at.
fn site_of<'r>(steps: &[Step], rig: &Rig, report: &'r Report) -> Result<&'r Site, String> {
    let sites = report.on_port(port(steps, &rig.name)?);
    let all = || {
        let found: Vec<String> = sites.iter().map(|site| shown(site)).collect();
        format!("{} sites: {}", sites.len(), found.join("; "))
    };
    let sockets: usize = sites.iter().map(|site| site.count).sum();
    let right = |site: &&Site| rig.verdicts.contains(&site.verdict);
    let split = sites.len() as u64 > 1 + report.window.events.lost;
    if sockets != rig.count || split || !sites.iter().all(right) {
        return Err(all());
    }
    let mut ids = sites.iter().flat_map(|site| &site.sockets);
    if ids.any(|socket| socket.cookie == "0x0") {
        return Err("a socket without a cookie".to_owned());
    }
    let most = sites.iter().max_by_key(|site| site.count);
    most.copied().ok_or_else(all)
}

fn blamed(kernel: &Kernel, rig: &Rig, site: &Site) -> Result<String, String> {
    let stacks = expected::has_hook_stacks(kernel.version);
    let accepted = rig.direction == "accepted";
    if stacks && accepted && !opened_by(site, "serve_connection", "accept_and_drop") {
        return Err("no stack says who accepted the connections".to_owned());
    }
    let found = if site.count == rig.count {
        shown(site)
    } else {
        format!("{} (of {} sockets)", shown(site), rig.count)
    };
    let Some(blame) = &rig.blame else {
        return Ok(found);
    };
    // Threads that wait now are looked at from outside, on every kernel.
    let visible = stacks || blame.stack == "holders";
    let named = site.blame.as_ref().map(|blame| &blame.function);
    let right = if visible {
        named == blame.function.as_ref()
    } else {
        named.is_none()
    };
    if right { Ok(found) } else { Err(found) }
}

/// The function that calls `accept()` in the rigs has one of two names.
fn opened_by(site: &Site, one: &str, other: &str) -> bool {
    site.stacks.opened.iter().flatten().any(|frame| {
        let function = frame.function.as_deref();
        function == Some(one) || function == Some(other)
    })
}

fn shown(site: &Site) -> String {
    let blame = site.blame.as_ref();
    let who = blame.map_or("no code named", |blame| blame.function.as_str());
    format!("{} × {}, {who}", site.count, site.verdict)
}
