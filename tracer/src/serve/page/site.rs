//! One finding: its head as a line, and behind it evidence, stacks, threads, sockets and what to do.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Trend, history::MINUTES, own};
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
                span.confidence { (site.confidence.name()) " confidence" }
                @if let Some(blame) = &site.blame { span.function { (place(blame)) } }
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
                    p.fix { "Until then, ending just what keeps its threads: " code { (shown(relief)) } }
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
        Some(service) if *service != process.comm => format!("{service} ({})", process.comm),
        _ => process.comm.to_string(),
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
    let stacks = &site.stacks;
    let same = stacks.eof.is_some() && stacks.eof == stacks.last_used;
    let shown = [
        ("Where the socket was opened", &stacks.opened),
        (
            if same {
                "Where the end of the stream was read, and where it was used last"
            } else {
                "Where the end of the stream was read"
            },
            &stacks.eof,
        ),
        (
            "Where it was used last",
            if same { &None } else { &stacks.last_used },
        ),
        (
            "Where it was taken out of its event loop",
            &stacks.taken_out,
        ),
        (
            "Where others opened there are closed",
            &stacks.sibling_close,
        ),
    ];
    html! {
        @for (title, frames) in shown {
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
                        @if let Some(samples) = holder.samples {
                            " on CPU (" (counted(u64::from(samples), "sample")) ")"
                        }
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

/// The last hour as a line, empty where nobody was watching yet; in words for who cannot see it.
fn sparkline(counts: Option<&Vec<u64>>) -> Markup {
    let Some((counts, first, now)) = counts.and_then(|counts| {
        let ends = counts.first().zip(counts.last());
        ends.map(|(first, now)| (counts, *first, *now))
    }) else {
        return html! {};
    };
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let height =
        |count: u64| HEIGHT - 2 - usize::try_from(count * (HEIGHT as u64 - 4) / most).unwrap_or(0);
    // The newest minute is at the right end, and every minute has a width.
    let begin = MINUTES.saturating_sub(counts.len());
    let mut points = vec![format!("{},{}", begin * WIDTH / MINUTES, height(first))];
    points.extend(counts.iter().enumerate().map(|(index, count)| {
        let x = (begin + index + 1) * WIDTH / MINUTES;
        format!("{x},{}", height(*count))
    }));
    let words = match counts.len() {
        1 => format!("in the last minute: {now} sockets"),
        minutes => {
            format!("in the last {minutes} minutes: from {first} to {now} sockets, at most {most}")
        }
    };
    own(format!(
        "<svg class=\"trend\" role=\"img\" aria-label=\"{words}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\"><title>{words}</title><polyline points=\"{}\"/></svg>",
        points.join(" ")
    ))
}
