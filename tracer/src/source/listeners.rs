//! Who listens to the stuck sockets of programs for Node.js.

use super::wait::kind_of;
use crate::{
    model::{
        input::Process,
        listeners::{Heard, SocketListeners, WhyUnheard},
        wait::FileKind,
    },
    symbolize::{MAX_ASKED, Symbolizer},
};

/// Of sockets by descriptor and inode; `None` for other programs.
pub fn read(
    process: &Process,
    sockets: &[(u32, u64)],
    symbolizer: &mut Symbolizer,
) -> Option<Vec<SocketListeners>> {
    let asked = sockets.get(..MAX_ASKED).unwrap_or(sockets);
    let descriptors: Vec<i32> = asked.iter().map(|(fd, _)| *fd as i32).collect();
    let found = symbolizer.listeners(process.key(), &descriptors)?;
    let rest = std::iter::repeat(Heard::Unknown(WhyUnheard::TooMany));
    let told = sockets.iter().zip(found.into_iter().chain(rest));
    let one = |((fd, inode), heard): (&(u32, u64), Heard)| {
        // It had the number before, so it had it all the time.
        let still = kind_of(process.pid, process.pid, *fd as i32) == FileKind::Socket(*inode);
        SocketListeners {
            inode: *inode,
            heard: if still {
                heard
            } else {
                Heard::Unknown(WhyUnheard::Moved)
            },
        }
    };
    Some(told.map(one).collect())
}
