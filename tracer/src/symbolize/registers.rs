//! What differs between machines when a stack is walked.

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use framehop::UnwindRegsNative;

    use crate::symbolize::StackCopy;
    use crate::symbolize::code::{CodeIndex, CopiedStack};
    use crate::symbolize::go::Leave;
    use crate::symbolize::search::{self, Caller};
    use crate::symbolize::signal;
    use crate::symbolize::unwind::Step;

    pub(in crate::symbolize) fn new(copy: &StackCopy<'_>) -> UnwindRegsNative {
        UnwindRegsNative::new(copy.pc, copy.sp, copy.fp)
    }

    pub(in crate::symbolize) fn set_frame_pointer(regs: &mut UnwindRegsNative, value: u64) {
        regs.set_bp(value);
    }

    /// Leaves a function without tables where frame pointers are no rule.
    pub(in crate::symbolize) fn search(
        code: &CodeIndex,
        stack: &CopiedStack<'_>,
        here: u64,
        regs: &mut UnwindRegsNative,
    ) -> Option<Step> {
        let found = search::caller(code, stack, here, regs.sp(), regs.bp());
        // Frame pointers were weighed already: framehop is not to follow them after all.
        found
            .map(|caller| enter(&caller, regs))
            .or(Some(Step::Lost))
    }

    /// Leaves code that a runtime made.
    pub(in crate::symbolize) fn leave_jit_code(
        code: &CodeIndex,
        stack: &CopiedStack<'_>,
        regs: &mut UnwindRegsNative,
    ) -> Option<Step> {
        let found = search::jit_caller(code, stack, regs.sp(), regs.bp());
        found
            .map(|caller| enter(&caller, regs))
            .or(Some(Step::Lost))
    }

    pub(in crate::symbolize) use signal::is_return as is_signal_return;

    /// Leaves a signal handler.
    pub(in crate::symbolize) fn interrupted(
        stack: &CopiedStack<'_>,
        regs: &mut UnwindRegsNative,
    ) -> Option<Step> {
        let found = signal::interrupted(stack, regs.sp())?;
        regs.set_ip(found.pc);
        regs.set_sp(found.sp);
        regs.set_bp(found.fp);
        Some(Step::Interrupted { address: found.pc })
    }

    /// Go's system calls are made in assembly without a frame: their frame pointer is the caller's
    /// and would skip it.
    pub(in crate::symbolize) fn leaf(
        code: &CodeIndex,
        stack: &CopiedStack<'_>,
        regs: &mut UnwindRegsNative,
        called: bool,
    ) -> Option<Step> {
        if called {
            return None;
        }
        let found = search::leaf_caller(code, stack, regs.sp(), regs.bp())?;
        Some(enter(&found, regs))
    }

    /// Leaves a Go function by what its own table says; Go saves the frame pointer next to the
    /// return address wherever it makes room on the stack.
    pub(in crate::symbolize) fn leave_go(
        leave: Leave,
        stack: &CopiedStack<'_>,
        regs: &mut UnwindRegsNative,
    ) -> Option<Step> {
        let depth = match leave {
            Leave::Depth(depth) => depth,
            Leave::Outermost => return Some(Step::Outermost),
            Leave::Unknown => return Some(Step::Lost),
        };
        let slot = regs.sp().checked_add(depth)?;
        let Some(return_address) = stack.read(slot) else {
            return Some(Step::Lost);
        };
        let saved = slot.checked_sub(8).filter(|_| depth > 0);
        let caller = Caller {
            return_address,
            sp: slot.checked_add(8)?,
            fp: saved.and_then(|at| stack.read(at)).unwrap_or(regs.bp()),
            searched: false,
        };
        Some(enter(&caller, regs))
    }

    fn enter(caller: &Caller, regs: &mut UnwindRegsNative) -> Step {
        regs.set_ip(caller.return_address);
        regs.set_sp(caller.sp);
        regs.set_bp(caller.fp);
        Step::Return {
            address: caller.return_address,
            searched: caller.searched,
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use framehop::UnwindRegsNative;
    use framehop::aarch64::PtrAuthMask;

    use crate::symbolize::StackCopy;
    use crate::symbolize::code::{Code, CodeIndex, CopiedStack};
    use crate::symbolize::go::Leave;
    use crate::symbolize::unwind::Step;

    /// Signed return addresses carry their signature above the 48 bits of a user address.
    pub(in crate::symbolize) fn new(copy: &StackCopy<'_>) -> UnwindRegsNative {
        let mask = PtrAuthMask(u64::MAX >> 16);
        UnwindRegsNative::new_with_ptr_auth_mask(mask, copy.lr, copy.sp, copy.fp)
    }

    pub(in crate::symbolize) fn set_frame_pointer(regs: &mut UnwindRegsNative, value: u64) {
        regs.set_fp(value);
    }

    /// Go keeps frame pointers here too, and framehop follows them.
    pub(in crate::symbolize) fn leave_go(
        _: Leave,
        _: &CopiedStack<'_>,
        _: &mut UnwindRegsNative,
    ) -> Option<Step> {
        None
    }

    /// The return address of a leaf is in a register, and framehop knows.
    pub(in crate::symbolize) fn search(
        _: &CodeIndex,
        _: &CopiedStack<'_>,
        _: u64,
        _: &mut UnwindRegsNative,
    ) -> Option<Step> {
        None
    }

    /// The chain of frame pointers is all there is.
    pub(in crate::symbolize) fn leave_jit_code(
        _: &CodeIndex,
        _: &CopiedStack<'_>,
        _: &mut UnwindRegsNative,
    ) -> Option<Step> {
        None
    }

    /// Handlers return to the vDSO, whose tables describe it.
    pub(in crate::symbolize) fn is_signal_return(_: &Code, _: u64) -> bool {
        false
    }

    pub(in crate::symbolize) fn interrupted(
        _: &CopiedStack<'_>,
        _: &mut UnwindRegsNative,
    ) -> Option<Step> {
        None
    }

    pub(in crate::symbolize) fn leaf(
        _: &CodeIndex,
        _: &CopiedStack<'_>,
        _: &mut UnwindRegsNative,
        _: bool,
    ) -> Option<Step> {
        None
    }
}
