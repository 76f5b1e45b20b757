//! What a kernel of a given version should allow. The tool itself never decides by version; this is
//! the independent opinion that its findings are compared with.

/// A hook as the report names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    pub name: &'static str,
    pub kind: &'static str,
    pub status: &'static str,
}

const fn hook(name: &'static str, kind: &'static str, status: &'static str) -> Hook {
    Hook { name, kind, status }
}

/// What the hooks are for, in the words of the matrix, and which of them serve it.
pub struct Purpose {
    pub name: &'static str,
    pub hooks: Vec<Hook>,
}

pub fn purposes(version: (u32, u32)) -> Vec<Purpose> {
    let purpose = |name, hooks: &[Hook]| Purpose {
        name,
        hooks: hooks.to_vec(),
    };
    // The tracepoints at the socket layer came in 6.3.
    let at_socket_layer = version >= (6, 3);
    let reads = if at_socket_layer {
        hook("sock_recv_length", "tp_btf", "attached")
    } else {
        hook("tcp_recvmsg", "fexit", "degraded")
    };
    let writes = if at_socket_layer {
        hook("sock_send_length", "tp_btf", "attached")
    } else {
        hook("sock_send_length", "tp_btf", "unavailable")
    };
    // bpf_get_func_ret, by which the result of a function is read whatever its arguments: 5.17.
    let accepts: &[Hook] = if version >= (5, 17) {
        &[hook("inet_csk_accept", "fexit", "attached")]
    } else {
        &[
            hook("sys_exit_accept", "tracepoint", "degraded"),
            hook("sys_exit_accept4", "tracepoint", "degraded"),
        ]
    };
    let loops = if version >= (5, 17) {
        hook("do_epoll_ctl", "fexit", "standby")
    } else {
        hook("sys_exit_epoll_ctl", "tracepoint", "standby")
    };
    let mut purposes = vec![
        purpose(
            "state changes",
            &[hook("inet_sock_set_state", "tp_btf", "attached")],
        ),
        purpose(
            "end of a socket",
            &[hook("tcp_destroy_sock", "tp_btf", "attached")],
        ),
        purpose("reads", &[reads]),
        purpose("writes", &[writes]),
        purpose("accepts", accepts),
        purpose(
            "processes",
            &[
                hook("sched_process_fork", "tp_btf", "attached"),
                hook("sched_process_exec", "tp_btf", "attached"),
                hook("sched_process_exit", "tp_btf", "attached"),
            ],
        ),
    ];
    if has_hook_stacks(version) {
        purposes.push(purpose("event loops", &[loops]));
    }
    purposes
}

/// The kernel tells how many instructions the verifier went through (5.16).
pub const TELLS_VERIFIED: (u32, u32) = (5, 16);

/// Loaded where it can be, and attached only to threads that run.
pub const SAMPLES: &str = "sample";

/// How many it may go through for one program: what it takes on the kernel that needs most, and a tenth. The limit is
/// a million (`kernel/bpf/verifier.c:BPF_COMPLEXITY_LIMIT_INSNS`); time at the start is what grows before.
pub fn most_verified(program: &str, version: (u32, u32)) -> u64 {
    // The verifier of 6.19 goes on through turns of `bpf_loop` that are no different; that before and that after do not. It is
    // given the object without that helper, of which it follows every turn, but remembers little. That of 7.0 has some of it left.
    let (walks, samples, turns) = match version {
        (6, 19) => (78_200, 27_800, 3_400),
        (7, 0) => (35_000, 8_800, 2_010),
        _ => (24_100, 4_200, 2_010),
    };
    match program {
        // They walk stacks, and the frames of runtimes.
        "set_state" => walks + 12_500,
        "recv_length" | "send_length" | "exit_accept" | "accept" | "recvmsg" | "epoll_ctl"
        | "exit_epoll_ctl" => walks,
        "destroy" => 6_000,
        SAMPLES => samples,
        // One loop alone: what it takes decides which object is loaded (`tracer/src/probe/turns.rs`).
        "turns" => turns,
        _ => 2_050,
    }
}

/// Stacks of the hooks come with `bpf_task_pt_regs`, 5.15. The stacks of waiting threads come from
/// the task iterator, before 5.15 with the registers in /proc.
pub fn has_hook_stacks(version: (u32, u32)) -> bool {
    version >= (5, 15)
}
