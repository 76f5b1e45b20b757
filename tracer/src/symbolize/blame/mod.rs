//! Which frame of a stack to blame: the first one that a person working on the application wrote.
//! Decides by names alone; what counts as library and runtime code is a table.

mod table;

use crate::model::stack::Frame;
use table::{
    EXACT, FUNCTIONS, HOSTS, JIT, JIT_FILES, JIT_FOLDERS, JIT_FUNCTIONS, MODULES, PACKAGES,
};

/// Code that users do not want to see blamed, beside the built-in table.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whole names of modules, such as `libmycompany.so.2`, and beginnings of names of functions,
    /// such as `mycompany::net::`.
    pub not_blamed: Vec<String>,
}

/// Index of the frame to blame under the built-in policy.
pub fn blamed(frames: &[Frame]) -> Option<usize> {
    Policy::default().blamed(frames)
}

pub fn is_application(frame: &Frame) -> bool {
    Policy::default().is_application(frame)
}

/// Whether a module is library or runtime code as a whole.
pub(super) fn is_library(module: &str) -> bool {
    MODULES.iter().any(|library| is_module(module, library))
}

impl Policy {
    /// The first application frame, innermost first; one of a package that the program was built with
    /// only when there is none of its own, as in a program that was installed as a package. `None` when
    /// there is none: then the caller shows where the first frame is, without calling it guilty.
    pub fn blamed(&self, frames: &[Frame]) -> Option<usize> {
        let application = |frame: &Frame| self.is_application(frame);
        first(frames, |frame| application(frame) && !is_of_package(frame))
            .or_else(|| first(frames, application))
    }

    pub fn is_application(&self, frame: &Frame) -> bool {
        let Some(module) = frame.module.as_deref() else {
            return false;
        };
        if JIT.contains(&module) && !self.spares_module(module) {
            return self.is_application_at_run_time(frame);
        }
        // Not the program's: the vDSO, a language runtime's stubs, an interpreter.
        if module.starts_with('[') || self.spares_module(module) || is_library(module) {
            return false;
        }
        let Some(function) = frame.function.as_deref() else {
            // An interpreter's unnamed code is the interpreter.
            return !HOSTS.iter().any(|host| is_host(module, host));
        };
        if self.spares_function(function) {
            return false;
        }
        let subject = subject(function);
        let host = HOSTS.iter().find(|host| is_host(module, host));
        let runtime = EXACT.contains(&subject)
            || FUNCTIONS.iter().any(|prefix| subject.starts_with(prefix))
            || host.is_some();
        !runtime
    }
}

impl Policy {
    /// Code that a language runtime made, by the runtime's own names: another language than that of
    /// the program's file, so its table does not apply.
    fn is_application_at_run_time(&self, frame: &Frame) -> bool {
        // Without a name it is real, but nobody can look it up by its address.
        let Some(function) = frame.function.as_deref() else {
            return false;
        };
        let file = frame.file.as_deref().unwrap_or_default();
        let library = JIT_FUNCTIONS
            .iter()
            .any(|start| function.starts_with(start))
            || JIT_FILES.iter().any(|start| file.starts_with(start))
            || JIT_FOLDERS.iter().any(|folder| file.contains(folder));
        !library && !self.spares_function(function)
    }

    fn spares_module(&self, module: &str) -> bool {
        self.not_blamed.iter().any(|name| name == module)
    }

    fn spares_function(&self, function: &str) -> bool {
        let mut names = self.not_blamed.iter().filter(|name| !name.is_empty());
        names.any(|start| {
            function.starts_with(start.as_str()) || subject(function).starts_with(start.as_str())
        })
    }
}

/// The first frame that is wanted.
fn first(frames: &[Frame], is_wanted: impl Fn(&Frame) -> bool) -> Option<usize> {
    let mut candidates = frames
        .iter()
        .enumerate()
        .filter(|(_, frame)| is_wanted(frame));
    let (first, frame) = candidates.next()?;
    // The innermost frame holds the system call instruction. Without a name, in a static and
    // stripped program, it is the C library's wrapper and not the code that called it.
    let anonymous_wrapper = first == 0 && frame.function.is_none();
    match candidates.next() {
        Some((next, _)) if anonymous_wrapper => Some(next),
        _ => Some(first),
    }
}

/// `libc` is `libc.so.6` and `libc-2.31.so`, but neither `libcurl.so` nor `libc++.so`.
fn is_module(module: &str, library: &str) -> bool {
    let Some(rest) = module.strip_prefix(library) else {
        return false;
    };
    let mut rest = rest.chars();
    match rest.next() {
        None | Some('.') => true,
        Some('-' | '_') => rest.next().is_some_and(|c| c.is_ascii_digit() || c == 'x'),
        Some(_) => false,
    }
}

/// `python` is `python`, `python3`, `python3.11`, but not `pythonic-server`.
fn is_host(module: &str, host: &str) -> bool {
    let rest = module.strip_prefix(host);
    rest.is_some_and(|rest| {
        rest.chars()
            .all(|c| c.is_ascii_digit() || c == '.' || c == 'm')
    })
}

/// Made from a file that the language's package manager keeps.
fn is_of_package(frame: &Frame) -> bool {
    let file = frame.file.as_deref().unwrap_or_default();
    PACKAGES.iter().any(|folder| file.contains(folder))
}

/// The part of a name that says whose code it is. Rust writes `<alloc::vec::Vec<T> as
/// core::ops::Drop>::drop` for code of the type before `as`; where that is any type at all, as in `<&mut
/// T as tokio::io::AsyncRead>::poll_read`, of the trait after it.
fn subject(function: &str) -> &str {
    let inner = function.trim_start_matches(['<', '&', '*', '[']);
    let inner = inner.strip_prefix("mut ").unwrap_or(inner);
    match inner.split_once(" as ") {
        Some((one, of)) if one.len() == 1 => of,
        _ => inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Frame {
        Frame {
            module: Some(module.to_owned()),
            function: (function != "?").then(|| function.to_owned()),
            ..Frame::default()
        }
    }

    #[test]
    fn code_of_packages_is_blamed_only_without_code_of_the_programs_own() {
        let of = |file: &str, function| Frame {
            file: Some(file.to_owned()),
            ..frame("app", function)
        };
        let cargo = "/home/me/.cargo/registry/src/index-1949cf8c6b5b557f/pool-1.2.0/src/lib.rs";
        let go = "/home/me/go/pkg/mod/github.com/you/pool@v1.2.0/pool.go";
        for file in [cargo, go] {
            let package = of(file, "pool::get");
            let own = of("/home/me/server/src/main.rs", "server::handle");
            assert_eq!(blamed(&[package.clone(), own]), Some(1));
            assert_eq!(blamed(&[package]), Some(0));
        }
    }

    #[test]
    fn libraries_and_runtimes_are_not_applications() {
        for (module, function) in [
            ("libc.so.6", "recv"),
            ("libc.so.6", "?"),
            ("libc-2.31.so", "__libc_recv"),
            ("ld-musl-x86_64.so.1", "recvfrom"),
            ("ld-linux-x86-64.so.2", "_dl_start"),
            ("libpthread.so.0", "accept"),
            ("[vdso]", "__vdso_gettimeofday"),
            ("[anon]", "?"),
            ("libstdc++.so.6", "std::thread::join()"),
            ("libssl.so.3", "SSL_read"),
            ("libuv.so.1", "uv__read"),
            ("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault"),
            ("python3.11", "sock_recv"),
            ("python3.11", "?"),
            ("libjvm.so", "JavaThread::run()"),
            ("libnio.so", "Java_sun_nio_ch_SocketDispatcher_read0"),
            (
                "node",
                "node::LibuvStreamWrap::OnUvRead(long, uv_buf_t const*)",
            ),
            ("app", "std::net::tcp::TcpStream::read"),
            ("app", "<std::net::TcpStream as std::io::Read>::read"),
            ("app", "<&std::net::TcpStream as std::io::Read>::read"),
            (
                "app",
                "<&mut tokio::net::TcpStream as tokio::io::AsyncRead>::poll_read",
            ),
            ("app", "<&mut T as tokio::io::AsyncWrite>::poll_write"),
            ("app", "core::ops::function::FnOnce::call_once"),
            ("app", "tokio::runtime::task::raw::poll"),
            ("app", "internal/poll.(*FD).Read"),
            ("app", "net.(*conn).Read"),
            ("app", "runtime.goexit"),
            ("app", "crypto/tls.(*Conn).Read"),
            ("app", "internal/runtime/syscall/linux.Syscall6"),
            ("app", "net/http/httputil.(*ReverseProxy).copyBuffer"),
            ("app", "encoding/json.(*Decoder).refill"),
            ("app", "bufio.(*Reader).fill"),
            ("app", "_cgo_171e95bb935e_Cfunc_c_read"),
            ("app", "__libc_start_main"),
            ("app", "_start"),
            ("app", "recv"),
            ("server", "evbuffer_read"),
        ] {
            assert!(
                !is_application(&frame(module, function)),
                "{module} {function}"
            );
        }
    }

    #[test]
    fn what_people_write_is_an_application() {
        for (module, function) in [
            ("app", "main"),
            ("app", "?"),
            ("app", "handle_client"),
            ("app", "stdlib_like::read"),
            ("app", "main.(*Server).serve"),
            ("app", "example.com/net/http.(*T).run"),
            ("app", "networking::poll"),
            ("app", "recv_request"),
            ("app", "<app::Conn as std::io::Read>::read"),
            ("app", "<app::Conn as core::future::Future>::poll"),
            ("libcurl.so.4", "curl_easy_perform"),
            ("libc++app.so", "?"),
            ("pythonic-server", "run"),
            ("libmine.so", "net_read"),
        ] {
            assert!(
                is_application(&frame(module, function)),
                "{module} {function}"
            );
        }
        assert!(!is_application(&Frame::default()));
    }

    #[test]
    fn code_made_at_run_time_is_told_by_name_and_file() {
        for (function, file, application) in [
            ("?", "", false),
            ("handle", "/srv/app.js", true),
            ("onread", "node:internal/stream_base_commons", false),
            ("next", "/srv/node_modules/express/lib/router.js", false),
            ("Server.read_all", "/srv/app.py", true),
            ("recv", "/usr/lib/python3.12/ssl.py", false),
            (
                "get",
                "/srv/lib/python3.12/site-packages/requests/api.py",
                false,
            ),
            ("_find_and_load", "<frozen importlib._bootstrap>", false),
            ("io.example.Pool.take", "", true),
            ("java.net.Socket.read", "", false),
        ] {
            let frame = Frame {
                file: (!file.is_empty()).then(|| file.to_owned()),
                ..frame("[jit]", function)
            };
            assert_eq!(is_application(&frame), application, "{function} {file}");
        }
        assert!(!is_application(&frame("[runtime]", "Builtin:Call")));
    }

    /// The workers of the JDK's HTTP server, as a thread dump has them.
    #[test]
    fn the_handler_is_blamed_and_not_the_servers_below_and_above_it() {
        let java = |function| frame("[java]", function);
        let stack = [
            frame("libc.so.6", "write"),
            frame("libnio.so", "Java_sun_nio_ch_SocketDispatcher_write0"),
            java("sun.nio.ch.SocketDispatcher.write0"),
            java("sun.nio.ch.SocketChannelImpl.write"),
            java("sun.net.httpserver.Request$WriteStream.write"),
            java("java.io.BufferedOutputStream.write"),
            java("com.sun.net.httpserver.HttpExchange.getResponseBody"),
            java("com.example.metrics.MetricsHandler.handle"),
            java("com.sun.net.httpserver.Filter$Chain.doFilter"),
            java("java.util.concurrent.ThreadPoolExecutor$Worker.run"),
        ];
        assert_eq!(blamed(&stack), Some(7));
        assert_eq!(blamed(&stack[8..]), None);
        for library in [
            "org.eclipse.jetty.io.SocketChannelEndPoint.flush",
            "org.apache.tomcat.util.net.NioEndpoint$Poller.run",
            "org.apache.catalina.core.StandardWrapperValve.invoke",
            "org.springframework.web.servlet.DispatcherServlet.doDispatch",
            "io.netty.channel.nio.NioEventLoop.run",
            "jdk.proxy2.$Proxy12.read",
        ] {
            assert!(!is_application(&java(library)), "{library}");
        }
        for own in [
            "io.prometheus.client.exporter.HTTPServer$HTTPMetricHandler.handle",
            "Blocked$MetricsHandler.handle",
            "javassist.Loader.run",
            "org.apache.kafka.common.network.Selector.poll",
        ] {
            assert!(is_application(&java(own)), "{own}");
        }
    }

    #[test]
    fn the_innermost_application_frame_is_blamed() {
        let stack = [
            frame("libc.so.6", "recv"),
            frame("app", "std::net::TcpStream::read"),
            frame("app", "app::read_request"),
            frame("app", "app::main"),
        ];
        assert_eq!(blamed(&stack), Some(2));
        assert_eq!(blamed(&stack[..2]), None);
        assert_eq!(blamed(&[]), None);
    }

    #[test]
    fn a_static_stripped_programs_system_call_wrapper_is_passed_over() {
        let stack = [frame("app", "?"), frame("app", "?"), frame("app", "?")];
        assert_eq!(blamed(&stack), Some(1));
        assert_eq!(blamed(&stack[..1]), Some(0));
        assert_eq!(blamed(&[frame("app", "f"), frame("app", "g")]), Some(0));
    }

    #[test]
    fn users_can_add_to_the_table() {
        let names = ["pool::", "", "libours.so.2", "app.lib.Pool."];
        let policy = Policy {
            not_blamed: names.map(str::to_owned).to_vec(),
        };
        let stack = [
            frame("libours.so.2", "take_one"),
            frame("app", "pool::take"),
            frame("app", "<pool::Guard as app::Take>::take"),
            frame("[jit]", "app.lib.Pool.take"),
            frame("libours.so.20", "serve"),
        ];
        assert_eq!(policy.blamed(&stack), Some(4));
        assert_eq!(blamed(&stack), Some(0));
    }
}
