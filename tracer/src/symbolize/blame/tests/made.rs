//! Code that a runtime made and nobody named.

use super::*;

#[test]
fn what_unnamed_code_of_a_runtime_calls_or_is_called_by_is_the_runtimes() {
    let stack = [
        frame("libc.so.6", "recvfrom"),
        frame("vm", "vm_socket_read"),
        frame("[jit]", "?"),
        frame("vm", "vm_main"),
    ];
    assert_eq!(blamed(&stack), None);
    let named = |function| Frame {
        file: Some("/srv/app.x".to_owned()),
        ..frame("[jit]", function)
    };
    let [read, native, unnamed, main] = stack;
    let listed = [
        read.clone(),
        native.clone(),
        named("App.handle"),
        unnamed,
        main.clone(),
    ];
    assert_eq!(blamed(&listed), Some(2));
    // Nothing was made at run time: the program is its own.
    assert_eq!(blamed(&[read, native, main]), Some(1));
}
