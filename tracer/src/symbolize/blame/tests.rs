//! Whom the tables blame, by the names that real stacks have.

use super::*;

mod interpreters;
mod made;

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
    let crystal = "/usr/lib/crystal/lib/io/buffered.cr";
    let header = "/usr/include/boost/beast/core/basic_stream.hpp";
    for file in [cargo, go, crystal, header] {
        let package = of(file, "pool::get");
        let own = of("/home/me/server/src/main.rs", "server::handle");
        assert_eq!(blamed(&[package.clone(), own]), Some(1));
        assert_eq!(blamed(&[package]), Some(0));
    }
}

#[test]
fn what_the_system_keeps_for_all_is_blamed_only_alone() {
    let library = Frame {
        of_system: true,
        ..frame("libQt5Core.so.5.15.8", "QSemaphore::acquire(int)")
    };
    let own = frame("app", "Server::takeQuota()");
    assert_eq!(blamed(&[library.clone(), own]), Some(1));
    assert_eq!(blamed(&[library]), Some(0));
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
        (
            "app",
            "parking_lot_core::thread_parker::imp::ThreadParker::futex_wait",
        ),
        ("app", "parking_lot::condvar::Condvar::wait_until_internal"),
        ("app", "async_task::raw::RawTask<F,T,S,M>::run"),
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
        ("app", "unix_read"),
        ("app", "caml_thread_start"),
        ("app", "Unix.read"),
        ("app", "Stdlib.Buffer.add_channel"),
        ("libpypy3.9-c.so", "?"),
        ("mono-sgen", "?"),
        ("mono-sgen", "mono_jit_exec"),
        ("libmonosgen-2.0.so.1", "?"),
        ("sbcl", "?"),
        ("server", "evbuffer_read"),
        (
            "server",
            "asio::detail::epoll_reactor::run(long, asio::detail::op_queue<asio::detail::scheduler_operation>&)",
        ),
        (
            "server",
            "boost::asio::detail::scheduler::run(boost::system::error_code&)",
        ),
        ("server", "folly::EventBase::loopBody(int)"),
        ("server", "seastar::reactor::run()"),
        ("server", "Poco::Net::SocketReactor::run()"),
        ("liblua5.3.so.0", "lua_pcallk"),
        ("libluajit-5.1.so.2", "lj_vm_call"),
        ("libtcl8.6.so", "TcpInputProc"),
        ("libguile-3.0.so.1", "scm_call_n"),
        ("libR.so", "Rf_eval"),
        ("lua5.3", "?"),
        ("tclsh8.6", "main"),
        ("guile", "main"),
        ("R", "main"),
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
        ("luanti", "Server::handle"),
        ("Rserver", "accept_one"),
        ("guile-like", "run"),
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
        (
            "(wrapper managed-to-native) System.Net.Sockets.Socket:Accept_internal (intptr,int&,bool)",
            "",
            false,
        ),
        ("System.Net.Sockets.Socket:Accept ()", "", false),
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
fn a_library_is_blamed_rather_than_nobody_and_a_loop_never() {
    let of = |file: &str, function| Frame {
        file: Some(file.to_owned()),
        ..frame("[python]", function)
    };
    let [recv, extension] = [frame("libc.so.6", "recv"), frame("_speed.so", "read_fast")];
    let library = of(
        "/v/lib/python3.11/site-packages/redis/connection.py",
        "read",
    );
    let own = of("/srv/app.py", "handle");
    let event_loop = of(
        "/usr/lib/python3.11/asyncio/base_events.py",
        "BaseEventLoop._run_once",
    );
    let standard = of(
        "/usr/lib/python3.11/asyncio/selector_events.py",
        "_read_ready",
    );
    let main = of("/srv/app.py", "main");
    let stack = [recv, extension, standard, library, own, event_loop, main];
    assert_eq!(blamed(&stack), Some(4));
    assert_eq!(blamed(&stack[..4]), Some(3));
    assert_eq!(blamed(&stack[..3]), None, "not the extension");
    assert_eq!(
        blamed(&stack[5..]),
        None,
        "who runs the loop has not called it"
    );
    assert_eq!(blamed(&stack[6..]), Some(0));
}

#[test]
fn of_php_its_functions_are_meant_and_never_what_they_are_built_on() {
    let of = |file: &str, function| Frame {
        file: Some(file.to_owned()),
        ..frame("[php]", function)
    };
    let [recv, extension] = [frame("libc.so.6", "recv"), frame("redis.so", "redis_read")];
    let driver = of(
        "/srv/vendor/react/stream/src/DuplexResourceStream.php",
        "React\\Stream\\DuplexResourceStream::handleData",
    );
    let library = of(
        "/srv/vendor/predis/predis/src/Client.php",
        "Predis\\Client::read",
    );
    let own = of("/srv/src/Shop.php", "App\\Shop::ask");
    let event_loop = of(
        "/srv/vendor/react/event-loop/src/StreamSelectLoop.php",
        "React\\EventLoop\\StreamSelectLoop::run",
    );
    let main = of("/srv/server.php", "{main}");
    let embedding = frame("server", "serve");
    let stack = [
        recv, extension, driver, library, own, event_loop, main, embedding,
    ];
    assert_eq!(blamed(&stack), Some(4));
    assert_eq!(blamed(&stack[..4]), Some(3));
    assert_eq!(blamed(&stack[..3]), None, "not the extension module");
    assert_eq!(
        blamed(&stack[5..]),
        None,
        "who runs the loop has not called it"
    );
    assert_eq!(blamed(&stack[6..]), Some(0));
    assert_eq!(Policy::library(&stack[3]).as_deref(), Some("predis/predis"));
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
        ..Policy::default()
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

/// `-X perf` tells the same functions, without the interpreter's structures.
#[test]
fn a_perf_map_of_python_is_blamed_as_its_structures_are() {
    let listed = |function: &str, file: &str| Frame {
        file: Some(file.to_owned()),
        ..frame("[jit]", function)
    };
    let loops = "/usr/lib/python3.12/asyncio";
    let events = listed("Handle._run", &format!("{loops}/events.py"));
    let run_once = listed(
        "BaseEventLoop._run_once",
        &format!("{loops}/base_events.py"),
    );
    let module = listed("<module>", "/srv/app/client.py");
    assert_eq!(
        blamed(&[events.clone(), run_once.clone(), module.clone()]),
        None
    );
    let handler = listed("on_data", "/srv/app/client.py");
    assert_eq!(blamed(&[handler, events, run_once, module]), Some(0));
    let library = listed(
        "Redis.get",
        "/srv/venv/lib/python3.12/site-packages/redis/client.py",
    );
    assert_eq!(blamed(std::slice::from_ref(&library)), Some(0));
    let own = listed("Shop.ask", "/srv/app/shop.py");
    assert_eq!(blamed(&[library, own]), Some(1));
}

#[test]
fn a_module_is_spared_by_its_name_without_version_and_suffix() {
    let policy = Policy {
        not_blamed: vec!["libcurl".to_owned(), String::new()],
        ..Policy::default()
    };
    assert!(policy.spares_module("libcurl.so.4.8.0") && policy.spares_module("libcurl"));
    assert!(!policy.spares_module("libcurl-gnutls.so.4") && !policy.spares_module("app"));
}

#[test]
fn what_ocamls_loops_read_with_is_not_blamed() {
    let libraries = [
        "lwt_unix_bytes_read",
        "Lwt_io.read_line",
        "Cohttp.Request.read",
        "Cohttp_lwt_unix.Io.fun",
    ];
    let mut frames: Vec<Frame> = libraries.map(|name| frame("shop", name)).to_vec();
    assert_eq!(blamed(&frames), None);
    frames.push(frame("shop", "Shop.serve"));
    assert_eq!(blamed(&frames), Some(libraries.len()));
}
