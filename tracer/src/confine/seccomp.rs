//! Filters of system calls: what is not on the list is refused with EPERM, so that what a library merely
//! tries does not end the process. Which calls those are, the process that is confined says.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// A system call, allowed if one of the rules holds; without rules always.
pub(crate) type Rule = (libc::c_long, Vec<SeccompRule>);

pub(crate) fn program(rules: Vec<Rule>) -> Option<BpfProgram> {
    let filter = SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into().ok()?,
    );
    filter.ok()?.try_into().ok()
}

/// Memory may be had, but no code may be made in it.
pub(crate) fn no_code(argument: u8) -> Option<SeccompRule> {
    let equal = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, 0);
    SeccompRule::new(vec![condition.ok()?]).ok()
}

pub(crate) fn exactly(argument: u8, value: u64) -> Option<SeccompRule> {
    let condition =
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    SeccompRule::new(vec![condition.ok()?]).ok()
}
