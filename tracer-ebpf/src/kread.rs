//! Typed kernel reads: the one place that adds an offset from BTF to a pointer.
//!
//! `Typed` reads are plain loads from pointers the verifier knows the type of (tracepoint arguments,
//! helper results and what is loaded through them). `Probed` reads go through a helper and work for
//! any address.

use core::{ffi::c_void, marker::PhantomData};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use crate::globals::Offset;

/// A pointer to a kernel structure, and how it may be read.
pub struct Ptr<M> {
    at: *const u8,
    mode: PhantomData<M>,
}

impl<M> Clone for Ptr<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Ptr<M> {}

pub struct Typed;
pub struct Probed;

pub trait Mode: Sized {
    /// # Safety
    /// `at` must be a pointer the mode may read `T` from.
    unsafe fn read<T: Copy + Default>(at: *const u8) -> T;
}

impl Mode for Typed {
    #[inline(always)]
    unsafe fn read<T: Copy + Default>(at: *const u8) -> T {
        // SAFETY: the verifier rejects the program unless `at` is a typed kernel pointer; such loads
        // are fault-handled by the kernel and give zero. Volatile keeps them as they are written.
        unsafe { at.cast::<T>().read_volatile() }
    }
}

impl Mode for Probed {
    // Without a look at the outcome, because a branch for each read makes the verifier follow 2^n
    // paths: the iterator over files was beyond the limit of 5.10.
    #[inline(always)]
    unsafe fn read<T: Copy + Default>(at: *const u8) -> T {
        let mut value = T::default();
        // SAFETY: the helper checks the address, and clears the destination when it cannot read
        // (kernel/trace/bpf_trace.c:bpf_probe_read_kernel_common).
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, at.cast()) };
        value
    }
}

impl<M: Mode> Ptr<M> {
    pub const NULL: Self = Self {
        at: core::ptr::null(),
        mode: PhantomData,
    };

    #[inline(always)]
    pub fn new(at: *const c_void) -> Self {
        Self {
            at: at.cast(),
            mode: PhantomData,
        }
    }

    #[inline(always)]
    pub fn addr(self) -> u64 {
        self.at as u64
    }

    #[inline(always)]
    pub fn raw(self) -> *const c_void {
        self.at.cast()
    }

    #[inline(always)]
    pub fn is_null(self) -> bool {
        self.at.is_null()
    }

    /// The field at `offset`; zero where the running kernel has no such field.
    #[inline(always)]
    pub fn field<T: Copy + Default>(self, offset: &impl Offset) -> T {
        let Some(offset) = offset.get() else {
            return T::default();
        };
        // SAFETY: the offset is this kernel's own for the structure behind `at`.
        let at = unsafe { self.at.add(offset as usize) };
        // SAFETY: as above; the mode says how the address may be read.
        unsafe { M::read(at) }
    }

    /// The structure that the pointer at `offset` points to; may be null.
    #[inline(always)]
    pub fn follow(self, offset: &impl Offset) -> Self {
        let Some(offset) = offset.get() else {
            return Self::NULL;
        };
        // SAFETY: as in `field`.
        let at = unsafe { self.at.add(offset as usize) };
        // SAFETY: as in `field`; reading as a pointer keeps the type the verifier tracks.
        let target = unsafe { M::read::<Address>(at) };
        Self::new(target.0)
    }

    #[inline(always)]
    pub fn probed(self) -> Ptr<Probed> {
        Ptr::new(self.at.cast())
    }
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct Address(*const c_void);

impl Default for Address {
    fn default() -> Self {
        Self(core::ptr::null())
    }
}

impl<M: Mode> Ptr<M> {
    /// Four consecutive words, for IPv6 addresses: typed loads take at most eight bytes at once.
    #[inline(always)]
    pub fn words(self, offset: &impl Offset) -> [u32; 4] {
        let Some(offset) = offset.get() else {
            return [0; 4];
        };
        let mut words = [0u32; 4];
        let mut i = 0;
        while i < 4 {
            // SAFETY: the field holds four words, so each lies inside it.
            let at = unsafe { self.at.add(offset as usize + i * 4) };
            // SAFETY: as in `field`.
            words[i] = unsafe { M::read(at) };
            i += 1;
        }
        words
    }

    /// The 16 bytes of a task's name.
    #[inline(always)]
    pub fn comm(self, offset: &impl Offset) -> [u8; 16] {
        let words = self.words(offset);
        // SAFETY: both are 16 bytes of plain data.
        unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
    }
}

impl Ptr<Probed> {
    /// The word at the pointer itself.
    #[inline(always)]
    pub fn word(self) -> u64 {
        // SAFETY: the helper checks the address.
        unsafe { Probed::read(self.at) }
    }
}
