//! Why a socket is stuck. Pure: reads the tracker, answers with a verdict and the facts behind it.
//!
//! `context` computes once a report who is at work and waiting for what; `rules`, one file a verdict, ask it. The
//! order goes from what the state alone proves to what needs history; the first rule that can prove its case
//! answers. `unknown` is an answer; a guess is not.

mod about_to_be_stuck;
mod asked;
mod context;
mod evidence;
mod explanation;
mod fingerprint;
mod forecast;
mod group;
mod grouping;
mod handed;
mod holdings;
mod in_part;
mod in_use;
mod ledger;
mod left_loop;
mod likeness;
mod listeners;
mod one_function;
mod openers;
mod placeless;
mod read_to_end;
mod relief;
mod report;
mod rules;
mod siblings;
mod site;
mod socket_view;
#[cfg(test)]
mod tests;
mod warnings;
mod watching;

pub use explanation::Explanation;
pub use fingerprint::SCHEME as FINGERPRINT_SCHEME;
pub use group::{EvidenceSource, Group};
pub use holdings::{Holding, Holdings};
pub use ledger::Ledger;
pub use report::{DataRequests, Findings, Style, concerned, data_requests, report};
use rules::Proof;
pub use rules::{Rule, verdict_doc};
pub use socket_view::SocketView;

/// Finds the frame to blame in a stack; the policy of what is application code lies elsewhere.
pub type Blamer<'a> = &'a dyn Fn(&[crate::model::stack::Frame]) -> Option<usize>;
