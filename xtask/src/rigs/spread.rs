//! Runs of rigs, some at a time: a rig mostly waits.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::Result;

/// How many rounds of how many rigs, and how many of these runs at a time
#[derive(clap::Args)]
pub struct Spread {
    /// Run each rig this many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Run so many at a time, each under a tracer of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,
}

impl Spread {
    /// Runs all of them, and hands over what came out in the order in which they ended, with each one's number.
    pub fn run<T: Send>(
        &self,
        names: &[String],
        one: impl Fn(&str) -> Result<T> + Sync,
        mut take: impl FnMut(usize, &str, Result<T>),
    ) {
        let left = (0..self.rounds).flat_map(|_| names).zip(1..);
        let left = Mutex::new(left);
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            let (done, outcomes) = mpsc::channel();
            for _ in 0..self.jobs {
                let (next, one, done) = (&next, &one, done.clone());
                scope.spawn(move || {
                    while let Some((name, number)) = next() {
                        if done.send((number, name, one(name))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            for (number, name, outcome) in outcomes {
                take(number, name, outcome);
            }
        });
    }
}
