//! One finding: its head as a line, and behind it evidence, stacks, threads, sockets and what to do.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Trend, own};
use crate::model::{
    quantity::{age, counted, growth},
    report::{Blame, Ended, Holder, Over, Site, Socket},
    stack::Frame,
    untrusted::Untrusted,
};

/// Text that a traced process may have chosen: marks that drive a terminal or reorder text show as escapes.
pub(super) fn shown(text: &str) -> String {
    Untrusted::new(text).to_string()
}

pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn card(site: &Site, trend: &Trend, open: bool) -> Markup {
    let anchor = format!("site-{}", site.id);
    html! {
        details.site.(site.severity.name()) id=(anchor) data-site=(site.id) open[open] {
            summary {
                span.severity { (site.severity.name()) }
                span.verdict { (site.verdict.name()) }
                span.count { (counted(site.count, "socket")) }
                (sparkline(trend.get(&site.id)))
                span.service { (service(site)) }
                @if let Some(blame) = &site.blame { span.function { (place(blame)) } }
                span.confidence { (site.confidence.name()) " confidence" }
                @if let Some(over) = &site.over { span.over { (ended(over)) } }
            }
            div.body {
                p.summary { (shown(&site.summary)) }
                (facts(site))
                h3 { "Evidence" }
                ul.evidence { @for line in &site.evidence { li { (shown(line)) } } }
                h3 { "What to do" }
                p.fix { (shown(&site.advice)) }
                @if let Some(relief) = &site.relief {
                    p.fix { "Until then, this frees the sockets: " code { (shown(relief)) } }
                }
                (stacks(site))
                (holders(&site.stacks.holders, site.blame.as_ref()))
                (sockets(site))
            }
        }
    }
}

fn service(site: &Site) -> String {
    let Some(process) = &site.process else {
        return "held by no process".to_owned();
    };
    match &process.service {
        Some(service) => format!("{service} ({})", process.comm),
        None => process.comm.to_string(),
    }
}

/// `function file:line`
fn place(blame: &Blame) -> String {
    match (&blame.file, blame.line) {
        (Some(file), Some(line)) => format!("{} {file}:{line}", blame.function),
        _ => blame.function.to_string(),
    }
}

fn ended(over: &Over) -> String {
    let how = match over.how {
        Some(Ended::Closed) => "closed by the program",
        Some(Ended::Exit) => "closed by the exit of the process",
        Some(Ended::Reset) => "ended by the peer or the kernel",
        None => "gone",
    };
    let longest = age(over.longest_seconds);
    format!(
        "over: {how} at {}, stuck for up to {longest}",
        clock(over.ended)
    )
}

fn facts(site: &Site) -> Markup {
    let oldest = age(site.oldest_seconds);
    html! {
        dl.facts {
            div { dt { "oldest" } dd { @if site.age_is_lower_bound { "at least " } (oldest) } }
            div { dt { "growth" } dd { (growth(site.growth_per_minute)) } }
            @if let Some(process) = &site.process {
                div { dt { "process" } dd { (process.comm) " [" (process.pid) "]"
                    @if site.processes > 1 { " and " (site.processes - 1) " more" } } }
                @if let Some(exe) = &process.exe { div { dt { "program" } dd { (exe) } } }
                @if let Some(cgroup) = &process.cgroup { div { dt { "cgroup" } dd { (cgroup) } } }
            }
            @if let Some(local) = &site.local { div { dt { "address" } dd { (local) } } }
            @if let Some(blame) = &site.blame {
                div { dt { "function" } dd { (place(blame))
                    @if let Some(module) = &blame.module { " in " (module) } } }
            }
            div { dt { "id" } dd { a href=(format!("/?open={0}#site-{0}", site.id)) { (site.id) } } }
        }
    }
}

fn stacks(site: &Site) -> Markup {
    let stacks = [
        ("Where the socket was opened", &site.stacks.opened),
        ("Where the end of the stream was read", &site.stacks.eof),
        ("Where it was used last", &site.stacks.last_used),
        (
            "Where others opened there are closed",
            &site.stacks.sibling_close,
        ),
    ];
    html! {
        @for (title, frames) in stacks {
            @if let Some(frames) = frames {
                h3 { (title) }
                (stack(frames, site.blame.as_ref()))
            }
        }
    }
}

fn stack(frames: &[Frame], blame: Option<&Blame>) -> Markup {
    html! {
        ol.stack {
            @for frame in frames {
                @let name = frame.function.clone().unwrap_or_else(|| frame.place());
                @let blamed = blame.is_some_and(|blame| blame.function.raw() == name);
                li.blamed[blamed] {
                    code { (shown(&name)) }
                    " " span.where { (location(frame)) }
                    @if frame.inlined { " " span.where { "(inlined)" } }
                    @if blamed { " " span.mark { "← blamed" } }
                }
            }
        }
    }
}

fn location(frame: &Frame) -> String {
    match (&frame.file, frame.line, &frame.module) {
        (Some(file), Some(line), _) => shown(&format!("{file}:{line}")),
        (_, _, Some(module)) if frame.function.is_some() => shown(module),
        _ => String::new(),
    }
}

fn holders(holders: &[Holder], blame: Option<&Blame>) -> Markup {
    html! {
        @if !holders.is_empty() {
            h3 { "What the threads of its holders do" }
            @for holder in holders {
                details.thread {
                    summary {
                        (holder.called()) " [" (holder.tid) "]"
                        @if let Some(syscall) = &holder.syscall { " in " (shown(syscall)) }
                        @if let Some(since) = holder.since_seconds { " for " (age(since)) }
                    }
                    (stack(&holder.stack, blame))
                }
            }
        }
    }
}

fn sockets(site: &Site) -> Markup {
    html! {
        @if !site.sockets.is_empty() {
            h3 { "Sockets, oldest first" }
            div.wide tabindex="0" role="region" aria-label="Sockets" {
                table {
                    thead { tr {
                        th scope="col" { "age" } th scope="col" { "local" } th scope="col" { "remote" }
                        th scope="col" { "state" } th scope="col" { "Recv-Q" } th scope="col" { "fd" }
                    } }
                    tbody { @for socket in &site.sockets { (row(socket)) } }
                }
            }
            @if site.sockets_omitted > 0 { p { "and " (site.sockets_omitted) " more" } }
        }
    }
}

fn row(socket: &Socket) -> Markup {
    html! {
        tr {
            td { @if socket.age_is_lower_bound { "≥ " } (age(socket.age_seconds)) }
            td { (socket.local) }
            td { (socket.remote) }
            td { (socket.state) }
            td { @if let Some(queued) = socket.recv_q { (queued) } }
            td { @for (index, fd) in socket.fds.iter().enumerate() {
                @if index > 0 { ", " } (fd.pid) ":" (fd.fd)
            } }
        }
    }
}

const WIDTH: usize = 120;
const HEIGHT: usize = 24;

/// The last hour as a line; in words for who cannot see it.
fn sparkline(counts: Option<&Vec<u64>>) -> Markup {
    let Some(counts) = counts else {
        return html! {};
    };
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let last = counts.len().saturating_sub(1).max(1);
    let points: Vec<String> = counts
        .iter()
        .enumerate()
        .map(|(index, count)| {
            let x = index * WIDTH / last;
            let y = HEIGHT - 2 - (*count as usize * (HEIGHT - 4)) / most as usize;
            format!("{x},{y}")
        })
        .collect();
    let first = counts.first().copied().unwrap_or(0);
    let now = counts.last().copied().unwrap_or(0);
    let words = format!("in the last hour: from {first} to {now} sockets, at most {most}");
    own(format!(
        "<svg class=\"trend\" role=\"img\" aria-label=\"{words}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\"><title>{words}</title><polyline points=\"{}\"/></svg>",
        points.join(" ")
    ))
}
