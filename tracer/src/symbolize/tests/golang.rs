//! Go programs as the Go toolchain builds them.

use super::program::{Blocked, SYS_READ, Workshop};
use super::{follows, functions, named, resolve};

/// Waits on the main thread, in the only way Go has of blocking there: standard input is a pipe that
/// the runtime does not poll.
const GO: &str = r#"
package main

import (
	"bufio"
	"os"
	"runtime"
)

type server struct{ total int }

func init() { runtime.LockOSThread() }

func (s *server) request(in *bufio.Reader) string {
	line, _ := in.ReadString('\n')
	return line
}

//go:noinline
func (s *server) handle(in *bufio.Reader) {
	s.total += len(s.request(in))
}

func main() {
	s := &server{}
	s.handle(bufio.NewReader(os.Stdin))
	os.Exit(s.total & 1)
}
"#;

fn go(shop: &Workshop, options: &[&str]) -> std::path::PathBuf {
    std::fs::write(shop.path("main.go"), GO).unwrap();
    let mut arguments = vec!["build", "-o", "gopher"];
    arguments.extend(options);
    arguments.push("main.go");
    shop.run("go", &arguments);
    shop.path("gopher")
}

#[test]
fn every_build_names_the_functions_with_file_and_line() {
    let shop = Workshop::new();
    for options in [
        &[][..],
        &["-ldflags=-s -w"],
        &["-buildmode=pie", "-ldflags=-s -w"],
        // Deeper, since nothing is inlined.
        &["-gcflags=all=-l", "-ldflags=-s -w"],
    ] {
        let found = resolve(&Blocked::start(&go(&shop, options), SYS_READ));
        let frames = &found.stack.frames;
        assert!(
            follows(frames, "main.(*server).handle", "main.main"),
            "{options:?} {found:#?}"
        );
        assert!(
            follows(frames, "runtime.main", "runtime.goexit"),
            "{found:#?}"
        );
        let request = named(&found, "main.(*server).request");
        assert_eq!(request.line, Some(15), "{options:?} {found:#?}");
        assert!(request.file.as_deref().unwrap().ends_with("main.go"));
        assert_eq!(named(&found, "main.main").line, Some(26));
        assert!(
            functions(frames).contains(&"internal/poll.(*FD).Read"),
            "{found:#?}"
        );
        assert!(!found.stack.truncated, "{found:#?}");
        assert_eq!(found.warnings, []);
        let blamed = crate::symbolize::blame::blamed(frames).unwrap();
        assert_eq!(
            frames[blamed].function.as_deref(),
            Some("main.(*server).request")
        );
    }
}
