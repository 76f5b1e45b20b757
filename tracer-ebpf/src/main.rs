//! The kernel program: a table of entry points. Each calls one hook and accounts for its outcome;
//! what a hook does and which kernel function it sits on is in its own file.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![warn(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    unsafe_op_in_unsafe_fn
)]
#![allow(
    clippy::inline_always,
    reason = "the verifier of old kernels wants straight-line code"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "kernel words are narrowed to what the wire carries"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand contexts over by value"
)]
#![allow(
    clippy::doc_markdown,
    reason = "kernel files and functions are named in prose"
)]

mod choice;
mod closes;
mod current_task;
mod desk;
mod emit;
mod globals;
mod heap;
mod hooks;
mod java;
mod kread;
mod maps;
mod pidns;
mod repeat;
mod runtime;
mod skip;
mod sock;
mod stack;
mod table;
mod tree;
mod v8;
mod visits;
mod walk;

use aya_ebpf::{
    macros::{btf_tracepoint, fexit, tracepoint},
    programs::{BtfTracePointContext, FExitContext, TracePointContext},
};

use crate::{
    hooks::{
        iterators::{IterTaskFile, IterTcp},
        threads::IterTask,
    },
    skip::done,
};

#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
pub fn set_state(ctx: BtfTracePointContext) -> i32 {
    done(hooks::transition::on_set_state(&ctx))
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn destroy(ctx: BtfTracePointContext) -> i32 {
    done(hooks::destroy::on_destroy(&ctx))
}

#[btf_tracepoint(function = "sock_recv_length")]
pub fn recv_length(ctx: BtfTracePointContext) -> i32 {
    done(hooks::io::on_recv_length(&ctx))
}

#[btf_tracepoint(function = "sock_send_length")]
pub fn send_length(ctx: BtfTracePointContext) -> i32 {
    done(hooks::io::on_send_length(&ctx))
}

#[fexit(function = "tcp_recvmsg")]
pub fn recvmsg(ctx: FExitContext) -> i32 {
    done(hooks::io::on_recvmsg(&ctx))
}

#[fexit(function = "inet_csk_accept")]
pub fn accept(ctx: FExitContext) -> i32 {
    done(hooks::accept::on_accept(&ctx))
}

/// Also of accept4.
#[tracepoint(name = "sys_exit_accept", category = "syscalls")]
pub fn exit_accept(ctx: TracePointContext) -> i32 {
    done(hooks::accept::on_exit_accept(&ctx))
}

#[fexit(function = "do_epoll_ctl")]
pub fn epoll_ctl(ctx: FExitContext) -> i32 {
    done(hooks::epoll::on_epoll_ctl(&ctx))
}

#[tracepoint(name = "sys_exit_epoll_ctl", category = "syscalls")]
pub fn exit_epoll_ctl(ctx: TracePointContext) -> i32 {
    done(hooks::epoll::on_exit_epoll_ctl(&ctx))
}

#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    done(hooks::task::on_fork(&ctx))
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(_ctx: BtfTracePointContext) -> i32 {
    done(hooks::task::on_exec())
}

#[btf_tracepoint(function = "sched_process_free")]
pub fn process_free(ctx: BtfTracePointContext) -> i32 {
    done(hooks::task::on_free(&ctx))
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(_ctx: BtfTracePointContext) -> i32 {
    done(hooks::task::on_exit())
}

// aya-ebpf's macro returns 0, after which the kernel tells nothing of the sample.
#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn sample(_ctx: *mut core::ffi::c_void) -> i32 {
    done(hooks::samples::on_sample());
    1
}

// Never attached: a loop as the walks have them. It is loaded before all else, to see whether the kernel's verifier goes
// through such a loop once or through every turn.
#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn turns(ctx: *mut core::ffi::c_void) -> i32 {
    // Any number that the verifier does not know.
    let any = runtime::word(ctx as u64).unwrap_or(0);
    runtime::walk_managed(any, any) as i32
}

// aya-ebpf has no macro for iterators; the section name is all they need.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
pub extern "C" fn iter_tcp(ctx: *mut IterTcp) -> i32 {
    done(hooks::iterators::on_tcp(ctx))
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub extern "C" fn iter_task_file(ctx: *mut IterTaskFile) -> i32 {
    done(hooks::iterators::on_task_file(ctx))
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn iter_task(ctx: *mut IterTask) -> i32 {
    done(hooks::threads::on_task(ctx))
}

// The empty programs are the floor that the benchmark measures against; they tell also whether a hook is to be had.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn empty_set_state(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn empty_destroy(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
pub fn empty_recv_length(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sock_send_length")]
pub fn empty_send_length(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[tracepoint(name = "sys_exit_accept", category = "syscalls")]
pub fn empty_exit_accept(_ctx: TracePointContext) -> i32 {
    0
}

#[fexit(function = "do_epoll_ctl")]
pub fn empty_epoll_ctl(_ctx: FExitContext) -> i32 {
    0
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// On the host this crate only has to compile, for editors and clippy.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
