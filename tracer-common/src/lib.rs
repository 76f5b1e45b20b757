//! The wire contract between the kernel program and the CLI: what is in the ring buffers, the maps,
//! the iterator streams and the load-time globals. Both sides compile this file, so a disagreement
//! does not compile.
#![no_std]
#![forbid(unsafe_code)]
#![allow(
    clippy::inline_always,
    reason = "the verifier of old kernels wants straight-line code"
)]

pub mod config;
pub mod counter;
pub mod endpoint;
pub mod event;
pub mod item;
pub mod layout;
pub mod made_by;
pub mod runtime;
pub mod stack_key;
pub mod state;
pub mod table;
pub mod thread;
pub mod unwind;

#[cfg(feature = "user")]
pub mod decode;

/// On the user side every wire type can be read from bytes; the kernel side needs only the layout.
#[cfg(feature = "user")]
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
    };
}
#[cfg(not(feature = "user"))]
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident : $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
    };
}
pub(crate) use wire;
