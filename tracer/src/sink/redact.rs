//! `--redact-addrs`: takes remote addresses out of a report before any sink sees it. Ports and local
//! addresses stay.

use std::net::{IpAddr, SocketAddr};

use crate::model::endpoint::{Endpoint, Peer, Remote};
use crate::model::report::{Report, Site};
use crate::model::untrusted::Untrusted;

const REDACTED: &str = "redacted";

/// Also cleans the sentences: evidence may name the peer a thread waits for.
pub fn redact_remote_addresses(report: &mut Report) {
    for site in &mut report.sites {
        redact_site(site);
    }
    let endangered = report.about_to_be_stuck.iter_mut();
    for socket in endangered.flat_map(|entry| &mut entry.sockets) {
        socket.remote = Remote::redacted(socket.remote);
    }
    for text in &mut report.warnings {
        redact_text(text, &|_| false);
    }
    for reason in report
        .hooks
        .iter_mut()
        .filter_map(|hook| hook.reason.as_mut())
    {
        redact_text(reason, &|_| false);
    }
}

fn redact_site(site: &mut Site) {
    let mut keep: Vec<IpAddr> = site.local.iter().map(Endpoint::ip).collect();
    for socket in &mut site.sockets {
        keep.push(socket.local.ip());
        socket.remote = Remote::redacted(socket.remote);
    }
    // One entry says that there are peers; their number would be a hint of its own worth nothing.
    if !site.peers.is_empty() {
        site.peers = vec![Peer::Redacted];
    }
    if let Some(upstream) = &mut site.upstream {
        let port = upstream.address.rsplit(':').next().unwrap_or_default();
        upstream.address = format!("{REDACTED}:{port}");
    }
    // It is made of addresses.
    site.relief = None;
    redact_sentences(site, &|ip| keep.contains(&ip));
}

/// For files that leave the machine: every address in a sentence but those of the machine itself to itself.
pub fn redact_all_but_loopback(site: &mut Site) {
    site.relief = None;
    redact_sentences(site, &|ip| ip.is_loopback() || ip.is_unspecified());
}

/// The same for a text of ours.
pub fn without_addresses(mut text: String) -> String {
    redact_text(&mut text, &|ip| ip.is_loopback() || ip.is_unspecified());
    text
}

fn redact_sentences(site: &mut Site, keep: &dyn Fn(IpAddr) -> bool) {
    let waits = site.stacks.holders.iter_mut();
    let waits = waits.filter_map(|holder| Some(&mut holder.waits_for.as_mut()?.text));
    let sentences = [&mut site.summary, &mut site.advice];
    for text in site.evidence.iter_mut().chain(sentences).chain(waits) {
        redact_text(text, keep);
    }
    // Java servers call a thread by the client that it serves.
    let holders = site.stacks.holders.iter_mut();
    for name in holders.filter_map(|holder| holder.name.as_mut()) {
        let mut text = name.raw().to_owned();
        redact_text(&mut text, keep);
        *name = Untrusted::new(text);
    }
}

/// Replaces every word that reads as an address. Too much is better than too little here: a version
/// number of four parts disappears as well.
fn redact_text(text: &mut String, keep: &dyn Fn(IpAddr) -> bool) {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(may_be_in_address) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|c| !may_be_in_address(c)).unwrap_or(tail.len());
        let (word, after) = tail.split_at(end);
        out.push_str(before);
        out.push_str(&redact_word(word, keep));
        rest = after;
    }
    out.push_str(rest);
    *text = out;
}

/// Letters beyond hex count too: the `::ba` within `foo::bar` is no address.
fn may_be_in_address(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | ':' | '[' | ']' | '_')
}

fn redact_word(word: &str, keep: &dyn Fn(IpAddr) -> bool) -> String {
    // A sentence may end right after the address.
    let bare = word.trim_end_matches(['.', ':']);
    let tail = word.get(bare.len()..).unwrap_or_default();
    let kept = |ip: IpAddr| keep(ip.to_canonical());
    if let Ok(address) = bare.parse::<SocketAddr>() {
        if !kept(address.ip()) {
            return format!("{REDACTED}:{}{tail}", address.port());
        }
    } else if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>()
        && !kept(ip)
    {
        return format!("{REDACTED}{tail}");
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::report::{Upstream, WaitKind, WaitsFor},
        sink::samples,
    };

    #[test]
    fn no_remote_address_survives_anywhere() {
        for (name, mut report) in samples::all() {
            for site in &mut report.sites {
                site.upstream = Some(Upstream {
                    address: "10.0.0.9:5432".to_owned(),
                    silent_seconds: 31.0,
                    connections: 12,
                });
                site.relief = Some("ss -K dst 10.0.0.9".to_owned());
            }
            let sites = report.sites.iter_mut();
            for holder in sites.flat_map(|site| &mut site.stacks.holders) {
                holder.waits_for = Some(WaitsFor {
                    kind: WaitKind::Upstream,
                    text: "an answer of 10.0.0.9:5432".to_owned(),
                });
                holder.name = Some(Untrusted::new("RMI TCP Connection(2)-192.0.2.77"));
            }
            redact_remote_addresses(&mut report);
            let json = serde_json::to_string(&report).unwrap();
            for peer in ["10.0.0.9", "192.0.2.77", "2001:db8::9", "203.0.113.4"] {
                assert!(!json.contains(peer), "{name} still names {peer}");
            }
        }
    }

    #[test]
    fn sentences_lose_addresses_and_nothing_else() {
        let keep = ["10.0.0.5".parse().unwrap()];
        let mut text = "fd 93 to 10.0.0.9:5432, then [2001:db8::9]:80 (2001:db8::9). At \
                        10.0.0.5:11112: std::io::add foo::bar added 12:30:05"
            .to_owned();
        redact_text(&mut text, &|ip| keep.contains(&ip));
        assert_eq!(
            text,
            "fd 93 to redacted:5432, then redacted:80 (redacted). At 10.0.0.5:11112: \
             std::io::add foo::bar added 12:30:05"
        );
    }
}
