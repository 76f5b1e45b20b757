//! Every release of Ruby at hand, asked itself what it executes just before it waits.

use std::path::PathBuf;
use std::process::Command;

use super::program::{Blocked, SYS_PPOLL, Workshop};
use super::{Symbolizer, functions, managed};
use crate::model::stack::RUBY;

/// Writes label, file and line of each of its frames to a file, and waits on the same line. C functions are told at
/// the place they are called from, so no other method may be called on the line of its own caller.
const PROGRAM: &str = r#"# encoding: utf-8
require "socket"
require "fiber"

OURS, THEIRS = UNIXSocket.pair

def tell(out)
  all = caller_locations(1)
  told = all.each_with_index.reject do |at, number|
    outer = all[number + 1]
    outer && [at.path, at.lineno] == [outer.path, outer.lineno] && !at.label.include?(" in ")
  end
  File.open(out + ".part", "w") do |file|
    part = false
    told.each do |at, _|
      # Told as one with what it is a part of, as since 3.4.
      next part = false if part
      part = at.label.match?(/\A(rescue|ensure) in /)
      # Since 3.4 with the class.
      label = at.label.sub(/\S+[#.](?=[^#.]+\z)/, "").sub(/\A(rescue|ensure) in /, "")
      file.puts [label, at.path, at.lineno].join("\t")
    end
  end
  File.rename(out + ".part", out)
end

module Shop
  class Handler
    def gérer(depth)
      if depth > 0
        gérer(
          depth - 1
        )
      else
        tell(ARGV[0]); OURS.recv(1)
      end
    end

    define_method(:defined) do |n|
      gérer(n)
    end

    def self.build
      [1].each do |one|
        [[one]].each_with_index do |inner, _|
          inner.inject(0) do |_, x|
            raise "a"
          rescue
            new.defined(x)
          ensure
            x
          end
        end
      end
    end
  end
end

LONG

class Object
  instance_eval <<~CODE, "<made>", 70
    def made
      yield

    end
  CODE
end

# Other threads, so that there is something to tell apart.
5.times do
  Thread.new do
    THEIRS.recv(1)
  end
end
Thread.pass
if ARGV[1]
  Fiber.new do
    far(1)
  end.resume
else
  far(1)
end
"#;

/// A method of many instructions, with one line to each few.
fn program() -> String {
    use std::fmt::Write as _;

    let mut long = String::from("def far(n)\n  all = []\n");
    for number in 0..400 {
        let _ = writeln!(long, "  all << n + {number} if n > {number}");
    }
    long.push_str("  Object.made do\n    Shop::Handler.build\n  end\n");
    for number in 0..100 {
        let _ = writeln!(long, "  all << n + {number}");
    }
    long.push_str("end\n");
    PROGRAM.replace("LONG\n", &long)
}

/// The distribution's, and any that are named beside.
fn rubies() -> Vec<PathBuf> {
    let beside = std::env::var("SOCKLEAK_TEST_RUBY").unwrap_or_default();
    let mut found: Vec<PathBuf> = beside.split(':').map(PathBuf::from).collect();
    found.push(PathBuf::from("/usr/bin/ruby"));
    found.retain(|ruby| ruby.is_file());
    found
}

#[test]
fn a_waiting_thread_of_every_release_is_named_as_it_names_itself() {
    let rubies = rubies();
    assert!(!rubies.is_empty(), "no ruby at all");
    for ruby in rubies {
        for more in [&[][..], &["in a fiber"]] {
            let shop = Workshop::new();
            let (script, out) = (shop.path("serveur_é.rb"), shop.path("told"));
            std::fs::write(&script, program()).unwrap();
            let mut command = Command::new(&ruby);
            command.arg(&script).arg(&out).args(more);
            let blocked = Blocked::run(command.env("LANG", "C.UTF-8"), SYS_PPOLL);
            let told = std::fs::read_to_string(out).unwrap();
            let line = |line: &str| {
                let mut parts = line.split('\t').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                (next(), next(), next().parse().unwrap())
            };
            let told: Vec<(String, String, u32)> = told.lines().map(line).collect();
            let found = Symbolizer::new().resolve(&blocked.present().view());
            let mut executed = managed(&found, RUBY);
            // What the virtual machine has of its own in Ruby is told as C functions are.
            executed.retain(|(_, file, _)| !file.starts_with("<internal:"));
            assert_eq!(executed, told, "{} {found:#?}", ruby.display());
            assert!(told.len() > 10, "{told:?}");
            assert!(!found.stack.truncated, "{}", ruby.display());
            assert_eq!(found.warnings, [], "{}", ruby.display());
            let names = functions(&found.stack.frames);
            assert!(names.len() < told.len() + 6, "{names:?}");
        }
    }
}
