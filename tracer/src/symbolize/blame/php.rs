//! Whose code a function of PHP is, by the file it is written in: Composer puts packages into a folder `vendor`. The tables
//! have a test a line.

use super::managed::Tier;

pub(super) fn tier(file: &str) -> Tier {
    match library(file) {
        Some(package) if DRIVERS.contains(&package) => Tier::Runtime,
        Some(_) => Tier::Library,
        None if is_of_composer(file) => Tier::Runtime,
        None => Tier::Own,
    }
}

/// `react/socket` of `/srv/vendor/react/socket/src/Connection.php`, `Twig` of `/usr/share/php/Twig/Parser.php`.
pub(super) fn library(file: &str) -> Option<&str> {
    if let Some((_, below)) = file.rsplit_once(VENDOR)
        && let Some((end, _)) = below.match_indices('/').nth(1)
    {
        return below.get(..end);
    }
    let (_, below) = FOLDERS.iter().find_map(|folder| file.split_once(folder))?;
    let name = below.split('/').next()?;
    Some(name.strip_suffix(".php").unwrap_or(name))
}

/// What lies further out only runs the loop, and has not called what the loop calls.
pub(super) fn is_loop(function: &str) -> bool {
    LOOPS.contains(&function)
}

/// It loads what is asked for: `/srv/vendor/autoload.php`, `/srv/vendor/composer/ClassLoader.php`, `/srv/vendor/bin/server`.
fn is_of_composer(file: &str) -> bool {
    let below = file.rsplit_once(VENDOR).map(|(_, below)| below);
    below.is_some_and(|below| STARTERS.iter().any(|start| below.starts_with(start)))
}

const VENDOR: &str = "/vendor/";

const STARTERS: &[&str] = &["autoload.php", "bin/", "composer/"];

/// Where distributions and PEAR put libraries.
const FOLDERS: &[&str] = &["/usr/share/php/", "/usr/share/pear/", "/usr/local/lib/php/"];

/// Packages that only call what they are given: event loops, servers around handlers, and ways to a handler.
const DRIVERS: &[&str] = &[
    "amphp/amp",
    "cboden/ratchet",
    "evenement/evenement",
    "guzzlehttp/promises",
    "react/event-loop",
    "react/promise",
    "react/stream",
    "revolt/event-loop",
    "symfony/console",
    "symfony/event-dispatcher",
    "symfony/http-kernel",
    "symfony/runtime",
    "workerman/workerman",
];

const LOOPS: &[&str] = &[
    r"Amp\Loop\Driver::run",
    r"React\EventLoop\ExtEvLoop::run",
    r"React\EventLoop\ExtEventLoop::run",
    r"React\EventLoop\ExtUvLoop::run",
    r"React\EventLoop\StreamSelectLoop::run",
    r"Revolt\EventLoop\Internal\AbstractDriver::run",
    r"Workerman\Events\Select::loop",
    r"Workerman\Events\Select::run",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_by_where_it_lies() {
        for (file, expected, name) in [
            ("/srv/app.php", Tier::Own, None),
            ("app.php", Tier::Own, None),
            ("Command line code", Tier::Own, None),
            ("/srv/app.php(12) : eval()'d code", Tier::Own, None),
            ("/srv/vendors/a/b/c.php", Tier::Own, None),
            ("/srv/vendor/app.php", Tier::Own, None),
            (
                "/srv/vendor/react/socket/src/Connection.php",
                Tier::Library,
                Some("react/socket"),
            ),
            (
                "phar:///usr/bin/x.phar/vendor/predis/predis/src/Client.php",
                Tier::Library,
                Some("predis/predis"),
            ),
            (
                "/srv/vendor/a/b/vendor/c/d/e.php(3) : eval()'d code",
                Tier::Library,
                Some("c/d"),
            ),
            (
                "/srv/vendor/composer/ca-bundle/src/CaBundle.php",
                Tier::Library,
                Some("composer/ca-bundle"),
            ),
            ("/usr/share/php/PEAR.php", Tier::Library, Some("PEAR")),
            ("/srv/vendor/composer/ClassLoader.php", Tier::Runtime, None),
        ] {
            assert_eq!(tier(file), expected, "{file}");
            assert_eq!(library(file), name, "{file}");
        }
    }

    #[test]
    fn each_line_of_the_tables_counts() {
        for driver in DRIVERS {
            let file = format!("/srv/vendor/{driver}/src/x.php");
            assert_eq!(tier(&file), Tier::Runtime, "{file}");
        }
        for start in STARTERS {
            let file = format!("/srv/vendor/{start}x.php");
            assert_eq!(tier(&file), Tier::Runtime, "{file}");
        }
        for folder in FOLDERS {
            let file = format!("{folder}Twig/Parser.php");
            assert_eq!(tier(&file), Tier::Library, "{file}");
            assert_eq!(library(&file), Some("Twig"), "{file}");
        }
        for function in LOOPS {
            assert!(is_loop(function));
            assert!(!is_loop(&format!("App\\{function}")));
        }
        assert!(!is_loop("Server::run"));
    }
}
