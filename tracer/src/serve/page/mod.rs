//! The page for people: the report as a list that works without script, style, mouse or colour. Everything that
//! a traced process chose is text here and never markup: the templates escape what is put into them.

mod history;
mod query;
mod site;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(super) use self::{
    history::{History, Trend},
    query::Query,
};
use super::published::is_over;
use crate::model::report::{HookStatus, Report};

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");
pub(super) const ICON: &str = include_str!("icon.svg");

pub(super) fn render(report: &Report, trend: &Trend, query: &Query, redacted: bool) -> String {
    let fitting = report.sites.iter().filter(|site| query.fits(site));
    let (over, present): (Vec<_>, Vec<_>) = fitting.partition(|site| is_over(site));
    let nothing_present = report.sites.iter().all(is_over);
    let title = format!("{} stuck · sockleak", report.totals.stuck);
    document(
        &title,
        &html! {
            (totals(report))
            (filter(query, present.len() + over.len(), report.sites.len()))
            section #sites aria-label="Findings" {
                @if nothing_present {
                    p.nothing { (nothing(report)) }
                }
                @for site in &present {
                    (site::card(site, trend, query.is_open(&site.id)))
                }
            }
            @if !over.is_empty() {
                section.ended aria-labelledby="ended" {
                    h2 #ended { "Over" }
                    @for site in &over {
                        (site::card(site, trend, query.is_open(&site.id)))
                    }
                }
            }
            (limits(report, redacted))
        },
    )
    .into_string()
}

/// Before the first inspection has ended.
pub(super) fn waiting() -> String {
    document(
        "sockleak",
        &html! { p.nothing { "The first inspection has not ended yet." } },
    )
    .into_string()
}

fn document(title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href="/page.css";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                script src="/page.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the findings" }
                header {
                    h1 { "sockleak" }
                    p #live role="status" { "Reload to see what is new." }
                    nav aria-label="Other forms" {
                        a href="/api/report" { "report as JSON" }
                        " "
                        a href="/metrics" { "metrics" }
                    }
                }
                main #main tabindex="-1" { (main) }
            }
        }
    }
}

fn totals(report: &Report) -> Markup {
    let totals = &report.totals;
    html! {
        dl.totals {
            div { dt { "stuck" } dd { (totals.stuck) } }
            div { dt { "in CLOSE_WAIT" } dd { (totals.close_wait) } }
            div { dt { "hidden" } dd { (totals.hidden) } }
            div { dt { "never accepted" } dd { (totals.unaccepted) } }
        }
        p.when {
            "As of " time datetime=(report.window.end) { (site::clock(report.window.end)) }
            ", watched since " time datetime=(report.window.start) { (site::clock(report.window.start)) }
            ", Linux " (site::shown(&report.host.kernel)) ". "
            @if !report.window.complete {
                strong { "Events were lost and not repaired: what is not here may leak all the same." }
            }
        }
    }
}

fn filter(query: &Query, shown: usize, all: usize) -> Markup {
    html! {
        form.filter method="get" action="/" role="search" {
            label for="q" { "Filter" }
            input #q name="q" type="search" value=(query.text) placeholder="service, function, verdict, port"
                autocomplete="off" maxlength="200";
            button type="submit" { "Show" }
            p #shown role="status" {
                @if query.text.is_empty() { (all) " findings" } @else { (shown) " of " (all) " findings" }
            }
        }
    }
}

fn nothing(report: &Report) -> &'static str {
    if report.window.complete && report.totals.unjudged > 0 {
        "Nothing is stuck now, but sockets were, and gone before they were looked at."
    } else if report.window.complete {
        "Nothing is stuck."
    } else {
        "Nothing was found, but events were lost: this does not prove that nothing leaks."
    }
}

/// What this report knows less than it could.
fn limits(report: &Report, redacted: bool) -> Markup {
    let lacking = report
        .hooks
        .iter()
        .filter(|hook| hook.status != HookStatus::Attached);
    let hooks: Vec<_> = lacking.collect();
    html! {
        @if redacted || !report.warnings.is_empty() || !hooks.is_empty() {
            section.limits aria-labelledby="limits" {
                h2 #limits { "What this page does not show" }
                ul {
                    @if redacted {
                        li {
                            "Remote addresses: they are shown once authentication is configured (--web.config.file), \
                             and on a unix socket."
                        }
                    }
                    @for warning in &report.warnings { li { (site::shown(warning)) } }
                    @for hook in hooks {
                        li {
                            "Hook " (site::shown(&hook.name)) " is " (hook.status.name())
                            @if let Some(reason) = &hook.reason { ": " (site::shown(reason)) }
                        }
                    }
                }
            }
        }
    }
}

/// Markup of this program's own.
fn own(markup: String) -> Markup {
    PreEscaped(markup)
}
