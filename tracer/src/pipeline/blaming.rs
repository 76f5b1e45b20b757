//! Whom to blame, with what the user added to the built-in table.

use crate::options::Options;
use crate::symbolize::blame::Policy;

pub fn policy(options: &Options) -> Policy {
    Policy {
        not_blamed: options.not_blame.clone(),
    }
}
