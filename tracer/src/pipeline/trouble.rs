//! What an error means for a run that should go on for months: does it end the run, or is the step tried
//! again? What is merely not known for lack of one step becomes a warning where it happens.

use rustix::io::Errno;

/// So many inspections in a row may fail before the run is given up.
pub const MAX_RETRIES: u32 = 20;

#[derive(Debug)]
pub enum Trouble {
    /// The tracer is blind, or the user would not get what was asked for.
    Fatal(anyhow::Error),
    /// Memory, descriptors or a system call were not to be had just now.
    Retry(anyhow::Error),
}

impl Trouble {
    /// By what the kernel said, wherever it stands among the causes.
    pub fn of(doing: &'static str, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let for_good = error.chain().any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            let errno = io
                .and_then(Errno::from_io_error)
                .or_else(|| cause.downcast_ref::<Errno>().copied());
            matches!(
                errno,
                Some(Errno::PERM | Errno::ACCESS | Errno::BADF | Errno::NOSYS | Errno::INVAL)
            )
        });
        let error = error.context(doing);
        if for_good {
            Self::Fatal(error)
        } else {
            Self::Retry(error)
        }
    }
}

/// An error that nobody classed has no reason to get better.
impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Fatal(error)
    }
}

/// For runs that end with the first trouble.
impl From<Trouble> for anyhow::Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Fatal(error) | Trouble::Retry(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fatal(errno: Errno) -> bool {
        let io = std::io::Error::from(errno);
        let wrapped = anyhow::Error::from(io).context("read a map");
        matches!(Trouble::of("look", wrapped), Trouble::Fatal(_))
    }

    #[test]
    fn only_what_cannot_get_better_ends_a_run() {
        assert!(is_fatal(Errno::PERM) && is_fatal(Errno::BADF));
        assert!(!is_fatal(Errno::NOMEM) && !is_fatal(Errno::MFILE) && !is_fatal(Errno::INTR));
        let told = Trouble::of("list the sockets", std::io::Error::from(Errno::NOMEM));
        let told = anyhow::Error::from(told).to_string();
        assert!(told.starts_with("list the sockets"), "{told}");
    }
}
