//! `sockleak serve`: a run without an end, whose reports go to the process that answers requests.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    figures::Figures,
    pace::{Pace, TICK},
    session::Session,
    supervisor,
};
use crate::{
    diagnose::Findings,
    exit::{self, Explained},
    model::input::Warning,
    options::{Options, Web},
    probe::{attach::Wanted, host::Host},
    serve::{
        config::WebConfig,
        link::{Publisher, open_to_all},
        listen,
    },
    sink::redact,
};

/// Shown to be alive at least this often, if only by figures about itself.
const REFRESH: Duration = Duration::from_secs(15);

pub async fn run(options: &Options, web: &Web, host: &Host) -> anyhow::Result<u8> {
    let began = Instant::now();
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let config = WebConfig::load(web.config_file.as_deref())?;
    // With the user's own rights, before they are given up.
    let listeners = listen::open(&web.listen)?;
    let names: Vec<String> = listeners
        .iter()
        .map(|listener| listener.name.clone())
        .collect();
    let open = open_to_all(&listeners);
    let unprotected = !open.is_empty() && !config.loaded.authenticates();
    let mut session = Session::start(options, host, &Wanted::asked(options))?;
    let hosts = known_as(&web.allowed_hosts);
    let publisher = Publisher::start(listeners, config, hosts, web.max_sites)
        .map_err(|error| no_server(&error))?;
    if unprotected {
        tracing::warn!(
            "everybody who can reach {} can see what leaks on this host, without remote addresses: \
             --web.config.file adds TLS and passwords",
            open.join(", ")
        );
    }
    let mut figures = Figures::new(host);
    let mut pace = Pace::new(&session);
    session.reconcile()?;
    let mut latest = pace.begin(&mut session, began)?;
    publish(
        &mut figures,
        latest.as_ref(),
        &mut session,
        &pace,
        &publisher,
    );
    // For whom starts it by hand; a closed stderr must not end the run.
    let _ = writeln!(io::stderr(), "answers requests on {}", names.join(", "));
    supervisor::ready(&names);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut handed_over = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let found = pace.tick(&mut session)?;
                publisher.alive();
                supervisor::alive();
                let warnings = publisher.take_warnings().into_iter();
                session.warn(warnings.map(|text| Warning::new("serving", &"", text)))?;
                let news = found.is_some();
                latest = found.or(latest);
                if news || handed_over.elapsed() >= REFRESH {
                    publish(&mut figures, latest.as_ref(), &mut session, &pace, &publisher);
                    handed_over = Instant::now();
                }
            }
            () = session.copies() => session.drain()?,
            _ = hang_up.recv() => publisher.reload(),
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    supervisor::stopping();
    Ok(exit::DONE)
}

fn publish(
    figures: &mut Figures,
    findings: Option<&Findings>,
    session: &mut Session<'_>,
    pace: &Pace,
    publisher: &Publisher,
) {
    let Some(findings) = findings else {
        return;
    };
    let mut all = figures.of(findings, session, pace, publisher.restarts());
    if session.options.redact_addrs {
        redact::redact_remote_addresses(&mut all.report);
    }
    publisher.publish(all);
}

/// The names that requests may call this host by: its own, whole and short, and what the user allows.
fn known_as(allowed: &[String]) -> Vec<String> {
    let own = rustix::system::uname();
    let own = own.nodename().to_string_lossy().to_ascii_lowercase();
    let short = own.split('.').next().unwrap_or_default().to_owned();
    let allowed = allowed.iter().map(|name| name.to_ascii_lowercase());
    let names = [own, short].into_iter().chain(allowed);
    names.filter(|name| !name.is_empty()).collect()
}

fn no_server(error: &io::Error) -> Explained {
    Explained::new(
        format!("the process that answers requests cannot be started: {error}"),
        "this program cannot execute itself: /proc is not mounted, or a limit of processes is reached",
        "mount /proc, or raise the limit (TasksMax= of the unit)",
    )
}
