//! The name of the system call a thread is in, to be shown to people.

use syscalls::Sysno;

/// Its number on this architecture; -1 outside of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall(pub i32);

impl Syscall {
    pub fn name(self) -> Option<&'static str> {
        let known = Sysno::new(usize::try_from(self.0).ok()?)?;
        Some(known.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_have_their_names_and_what_is_none_has_none() {
        let names = [45, 202, 450, -1, i32::MAX].map(|number| Syscall(number).name());
        let known = ["recvfrom", "futex", "set_mempolicy_home_node"].map(Some);
        assert_eq!(names.get(..3), Some(known.as_slice()));
        assert_eq!(names.get(3..), Some([None, None].as_slice()));
    }
}
