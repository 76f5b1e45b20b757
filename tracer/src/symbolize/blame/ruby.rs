//! Whose code a method of Ruby is, by the file it is written in. The tables have a test a line.

use super::managed::Tier;

pub(super) fn tier(file: &str) -> Tier {
    let file = evaluated(file);
    if let Some(name) = package(file) {
        return if DRIVERS.contains(&name) && !is_of_many(file) {
            Tier::Runtime
        } else {
            Tier::Library
        };
    }
    // Code of which nobody says from where it was evaluated.
    let of_nobody = ["<internal:", "(eval", "(erb)"]
        .iter()
        .any(|start| file.starts_with(start));
    if of_nobody || is_standard(file) || is_starter(file) {
        Tier::Runtime
    } else {
        Tier::Own
    }
}

/// Its name without a version.
pub(super) fn library(file: &str) -> Option<&str> {
    package(evaluated(file))
}

/// What lies further out only runs the loop, and has not called what the loop calls.
pub(super) fn is_loop(file: &str, label: &str) -> bool {
    // `block (2 levels) in run`
    let label = label.rsplit(" in ").next().unwrap_or_default();
    // Since 3.4 with the class.
    let method = label.rsplit(['#', '.']).next().unwrap_or_default();
    let here = |(end, name): &(&str, &str)| *name == method && file.ends_with(end);
    LOOPS.iter().any(here)
}

/// `(eval at /srv/app.rb:5)` is as that file; earlier releases say `(eval)`.
fn evaluated(file: &str) -> &str {
    let inner = file.strip_prefix("(eval at ").unwrap_or(file);
    inner.rsplit_once(':').map_or(
        file,
        |(path, _)| {
            if inner.len() < file.len() { path } else { file }
        },
    )
}

/// What is installed as a package: `…/gems/rack-proxy-0.7.4/lib/…`, `/usr/lib/ruby/vendor_ruby/rack.rb`.
fn package(file: &str) -> Option<&str> {
    if let Some((_, below)) = file.rsplit_once("/gems/")
        && let Some((folder, _)) = below.split_once('/')
        && let Some(name) = without_version(folder)
    {
        return Some(name);
    }
    let (_, below) = FOLDERS.iter().find_map(|folder| file.rsplit_once(folder))?;
    // `/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/nio4r_ext.so`
    let below = match below.split_once('/') {
        Some((version, rest)) if is_version(version) => rest,
        _ => below,
    };
    let name = below.split('/').next()?;
    Some(name.strip_suffix(".rb").unwrap_or(name))
}

/// `puma-5.6.5` and `json-2.9.1-java`; of a repository `rack-proxy-1a2b3c4d5e6f`.
fn without_version(folder: &str) -> Option<&str> {
    let dashes = folder.match_indices('-').map(|(at, _)| at);
    let mut named = dashes.filter_map(|at| Some((folder.get(..at)?, folder.get(at + 1..)?)));
    let is_commit = |rest: &str| rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_hexdigit());
    named
        .find(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()) || is_commit(rest))
        .map(|(name, _)| name)
}

/// `/usr/lib/ruby/3.1.0/set.rb`, `/usr/lib/x86_64-linux-gnu/ruby/3.1.0/socket.rb`
fn is_standard(file: &str) -> bool {
    file.match_indices("/ruby/").any(|(at, separator)| {
        let (above, below) = file.split_at(at);
        let folder = below.get(separator.len()..).unwrap_or_default();
        let folder = folder.split('/').next().unwrap_or_default();
        format!("{above}/").contains("/lib/") && is_version(folder)
    })
}

/// `/usr/lib/ruby/vendor_ruby/rack/proxy.rb`: where the distribution puts files of many packages into one folder.
fn is_of_many(file: &str) -> bool {
    MANY.iter()
        .any(|(folder, of)| file.contains(folder) && file.contains(of))
}

fn is_version(text: &str) -> bool {
    text.contains('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// The program by which a server is started: `/usr/bin/puma`.
fn is_starter(file: &str) -> bool {
    let parts = file.rsplit_once('/');
    parts.is_some_and(|(folder, name)| {
        folder.ends_with("bin") && (DRIVERS.contains(&name) || STARTERS.contains(&name))
    })
}

const FOLDERS: &[&str] = &["/vendor_ruby/", "/site_ruby/"];

const MANY: &[(&str, &str)] = &[("/vendor_ruby/", "/rack/"), ("/site_ruby/", "/rack/")];

/// Packages that only call what they are given: event loops, servers around handlers, and frameworks' ways to a handler. By
/// the names of packages and of the files that the distribution installs.
const DRIVERS: &[&str] = &[
    "async",
    "bundler",
    "celluloid",
    "celluloid-io",
    "concurrent",
    "concurrent-ruby",
    "em",
    "eventmachine",
    "falcon",
    "io-event",
    "nio",
    "nio4r",
    "phusion_passenger",
    "puma",
    "rack",
    "rackup",
    "rubygems",
    "thin",
    "unicorn",
    "webrick",
    "websocket",
    "websocket-driver",
    // frameworks
    "action_controller",
    "action_dispatch",
    "action_view",
    "actionpack",
    "actionview",
    "active_support",
    "activesupport",
    "mustermann",
    "rails",
    "railties",
    "sidekiq",
    "sinatra",
];

/// Programs that come with Ruby and start others.
const STARTERS: &[&str] = &["bundle", "bundler", "gem", "irb", "rake", "ruby"];

/// By the end of the file, and the method.
const LOOPS: &[(&str, &str)] = &[
    ("/async/scheduler.rb", "run"),
    ("/async/reactor.rb", "run"),
    ("/eventmachine.rb", "run"),
    ("/eventmachine.rb", "run_machine"),
    ("/em/pure_ruby.rb", "run"),
    ("/puma/reactor.rb", "select_loop"),
    ("/puma/server.rb", "handle_servers"),
    ("/puma/thread_pool.rb", "spawn_thread"),
    ("/thin/backends/base.rb", "start"),
    ("/unicorn/http_server.rb", "worker_loop"),
    ("/webrick/server.rb", "start"),
    ("/webrick/server.rb", "start_thread"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_by_where_it_lies() {
        for (file, expected) in [
            ("/srv/app.rb", Tier::Own),
            ("config.ru", Tier::Own),
            ("/srv/gems/lib/app.rb", Tier::Own),
            ("/srv/app/bin/server", Tier::Own),
            ("(eval at /srv/app.rb:12)", Tier::Own),
            ("/usr/bin/puma", Tier::Runtime),
            ("<internal:io>", Tier::Runtime),
            ("(eval)", Tier::Runtime),
            ("/usr/lib/ruby/3.1.0/net/http.rb", Tier::Runtime),
            (
                "/usr/lib/x86_64-linux-gnu/ruby/3.1.0/socket.rb",
                Tier::Runtime,
            ),
            ("/srv/ruby/3.1.0/app.rb", Tier::Own),
            (
                "/usr/lib/ruby/vendor_ruby/rack/http_streaming_response.rb",
                Tier::Library,
            ),
            ("/opt/ruby/lib/ruby/3.3.0/socket.rb", Tier::Runtime),
            (
                "/usr/lib/ruby/vendor_ruby/rubygems/core_ext/kernel_require.rb",
                Tier::Runtime,
            ),
            ("/usr/lib/ruby/vendor_ruby/puma/server.rb", Tier::Runtime),
            (
                "(eval at /usr/lib/ruby/vendor_ruby/sinatra/base.rb:1)",
                Tier::Runtime,
            ),
            (
                "/usr/lib/ruby/vendor_ruby/faye/rack_adapter.rb",
                Tier::Library,
            ),
            (
                "/var/lib/gems/3.1.0/gems/rack-proxy-0.7.4/lib/rack/proxy.rb",
                Tier::Library,
            ),
            (
                "/app/vendor/bundle/ruby/3.3.0/gems/pg-1.5.4-x86_64-linux/lib/pg.rb",
                Tier::Library,
            ),
            (
                "/v/bundler/gems/redis-client-0123456789ab/lib/redis_client.rb",
                Tier::Library,
            ),
        ] {
            assert_eq!(tier(file), expected, "{file}");
        }
    }

    #[test]
    fn libraries_have_their_names_without_versions() {
        for (file, name) in [
            (
                "/g/gems/rack-proxy-0.7.4/lib/rack/proxy.rb",
                Some("rack-proxy"),
            ),
            (
                "/g/bundler/gems/redis-client-0123456789ab/lib/redis_client.rb",
                Some("redis-client"),
            ),
            ("/usr/lib/ruby/vendor_ruby/faye.rb", Some("faye")),
            (
                "/usr/lib/x86_64-linux-gnu/ruby/vendor_ruby/3.1.0/pg/connection.rb",
                Some("pg"),
            ),
            ("/srv/app.rb", None),
        ] {
            assert_eq!(library(file), name, "{file}");
        }
    }

    #[test]
    fn each_line_of_the_tables_counts() {
        for driver in DRIVERS {
            assert_eq!(
                tier(&format!("/g/gems/{driver}-1.2.3/lib/x.rb")),
                Tier::Runtime
            );
            assert_eq!(
                tier(&format!("/usr/lib/ruby/vendor_ruby/{driver}.rb")),
                Tier::Runtime
            );
            assert_eq!(tier(&format!("/usr/local/bin/{driver}")), Tier::Runtime);
        }
        for folder in FOLDERS {
            assert_eq!(tier(&format!("/usr/lib{folder}x/y.rb")), Tier::Library);
        }
        for (folder, of) in MANY {
            assert_eq!(tier(&format!("/usr/lib{folder}{of}y.rb")), Tier::Library);
        }
        for starter in STARTERS {
            assert_eq!(tier(&format!("/usr/bin/{starter}")), Tier::Runtime);
        }
        for (end, method) in LOOPS {
            for label in [
                method.to_string(),
                format!("block (2 levels) in {method}"),
                format!("A::B#{method}"),
            ] {
                assert!(is_loop(&format!("/g{end}"), &label), "{label}");
            }
            assert!(!is_loop(&format!("/g{end}"), "other"));
        }
        assert!(!is_loop("/srv/app.rb", "run"));
    }
}
