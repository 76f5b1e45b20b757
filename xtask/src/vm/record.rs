//! What a guest tells the host: one JSON line a step, on a serial line of its own, so that the
//! kernel's messages cannot get in between.

use serde::{Deserialize, Serialize};

/// The rigs a guest leaks with, by their names in the manifest of rigs.
pub const RIGS: &[&str] = &[
    "c-eof-ignored",
    "c-lost-reference",
    "c-never-read",
    "c-never-accepted",
    "c-idle-pool",
    "c-hidden-closed-reset",
];
/// The rig that makes traffic for `trace`, and how many connections it makes.
pub const TRACED: (&str, usize) = ("c-eof-ignored", 3);

pub const DOCTOR: &str = "doctor";
pub const WATCH: &str = "watch";
pub const SNAPSHOT: &str = "snapshot";
pub const TRACE: &str = "trace";
/// The last line of a guest that came to the end of its scenario.
pub const END: &str = "end";

/// A program the guest ran, to its end or, for a rig, until its sockets were stuck.
#[derive(Debug, Serialize, Deserialize)]
pub struct Step {
    /// One of the names above, or that of a rig.
    pub name: String,
    /// `None` for what was not waited for.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A step by its name.
pub fn find<'a>(steps: &'a [Step], name: &str) -> Option<&'a Step> {
    steps.iter().find(|step| step.name == name)
}

/// The port a rig said it uses: `pid 71 port 40123 stuck 5`.
pub fn port(rig: &Step) -> Option<u16> {
    let mut words = rig.stdout.split_whitespace();
    words.find(|word| *word == "port")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rig_says_its_port() {
        let step = |stdout: &str| Step {
            name: "c-eof-ignored".into(),
            code: None,
            stdout: stdout.into(),
            stderr: String::new(),
        };
        assert_eq!(port(&step("pid 71 port 40123 stuck 5\n")), Some(40123));
        assert_eq!(port(&step("pid 71\n")), None);
    }
}
