//! The kernel's type information with nothing in it but what programs attach to, under the same ids: aya reads all
//! that it is given, and of a whole kernel that takes longer than everything else until the tracer is ready.

use super::{
    btf::{Btf, KIND_FUNC, KIND_PTR, KIND_TYPEDEF, MAGIC},
    hooks::{HOOKS, Kind},
};

const HEADER: u32 = 24;

/// BTF in which every type but the wanted typedefs and functions is a pointer to nothing.
pub fn pruned(btf: &Btf<'_>, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut types = Vec::new();
    let mut strings = vec![0];
    for (kind, name) in btf.kinds() {
        let is_kept = matches!(kind, KIND_TYPEDEF | KIND_FUNC) && is_wanted(btf.name(name));
        let (name_at, kind) = if is_kept {
            let at = strings.len() as u32;
            strings.extend_from_slice(btf.name(name));
            strings.push(0);
            (at, kind)
        } else {
            (0, KIND_PTR)
        };
        // Name, kind, and the type that it refers to: none.
        for word in [name_at, kind << 24, 0] {
            types.extend_from_slice(&word.to_ne_bytes());
        }
    }
    let mut data = Vec::with_capacity(HEADER as usize + types.len() + strings.len());
    data.extend_from_slice(&MAGIC.to_ne_bytes());
    // Version, flags.
    data.extend_from_slice(&[1, 0]);
    let lengths = [types.len() as u32, types.len() as u32, strings.len() as u32];
    for word in [HEADER, 0].into_iter().chain(lengths) {
        data.extend_from_slice(&word.to_ne_bytes());
    }
    data.extend(types);
    data.extend(strings);
    data
}

/// What this tracer attaches to, as the kernel calls it (`kernel/bpf/bpf_iter.c`, `include/trace/bpf_probe.h`).
pub fn is_attached_to(name: &[u8]) -> bool {
    name.starts_with(b"bpf_iter_")
        || HOOKS.iter().any(|hook| match hook.kind {
            Kind::TpBtf => name.strip_prefix(b"btf_trace_") == Some(hook.target.as_bytes()),
            Kind::Fexit => name == hook.target.as_bytes(),
            Kind::Syscall => false,
        })
}

#[cfg(test)]
mod tests {
    use aya::{Btf as AyaBtf, Endianness};
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::probe::host::VMLINUX;

    #[test]
    fn ids_are_those_of_the_whole() {
        let Ok(data) = std::fs::read(VMLINUX) else {
            return;
        };
        let whole = AyaBtf::parse(&data, Endianness::default()).unwrap();
        let little = pruned(&Btf::parse(&data).unwrap(), is_attached_to);
        let little = AyaBtf::parse(&little, Endianness::default()).unwrap();
        for (name, kind) in [
            ("btf_trace_inet_sock_set_state", BtfKind::Typedef),
            ("btf_trace_sched_process_exit", BtfKind::Typedef),
            ("inet_csk_accept", BtfKind::Func),
            ("bpf_iter_tcp", BtfKind::Func),
        ] {
            assert_eq!(
                little.id_by_type_name_kind(name, kind).unwrap(),
                whole.id_by_type_name_kind(name, kind).unwrap()
            );
        }
        assert!(
            little
                .id_by_type_name_kind("tcp_close", BtfKind::Func)
                .is_err()
        );
    }
}
