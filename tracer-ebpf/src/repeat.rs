//! A loop that the verifier goes through once, where the kernel has a helper for that (`bpf_loop`, since 5.17);
//! elsewhere (the object without the feature `helper-loops`) it goes through every turn.

/// What a loop works on.
pub trait Turn {
    /// One turn of it; `true` ends the loop.
    fn turn(&mut self, number: u32) -> bool;
}

/// Turns at most so many times. What a program has on its stack meanwhile and what a turn needs share 512 bytes.
#[cfg(feature = "helper-loops")]
#[inline(always)]
pub fn repeat<T: Turn>(times: u32, state: &mut T) {
    use aya_ebpf::helpers::generated::bpf_loop;

    // SAFETY: the helper calls the function with this state before it returns, and not afterwards.
    unsafe {
        bpf_loop(
            times,
            one_turn::<T> as *mut core::ffi::c_void,
            (&raw mut *state).cast(),
            0,
        )
    };
}

#[cfg(feature = "helper-loops")]
unsafe extern "C" fn one_turn<T: Turn>(number: u64, state: *mut T) -> i64 {
    // SAFETY: what `repeat` has given to the helper.
    i64::from(unsafe { (*state).turn(number as u32) })
}

#[cfg(not(feature = "helper-loops"))]
#[inline(always)]
pub fn repeat<T: Turn>(times: u32, state: &mut T) {
    let mut number = 0;
    while number < times && !state.turn(number) {
        number += 1;
    }
}
