//! Every release of PHP at hand, asked itself what it executes just before it waits.

use std::path::PathBuf;
use std::process::Command;

use super::program::{Blocked, SYS_RECVFROM, Workshop};
use super::{Symbolizer, functions, managed};
use crate::model::stack::PHP;

/// Writes function, file and line of each of its frames to a file, and waits on the same line.
const PROGRAM: &str = r#"<?php
namespace Shop;

[$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);

function tell(string $out): void
{
    $trace = debug_backtrace();
    $told = '';
    foreach ($trace as $number => $call) {
        if (!isset($call['file'])) {
            continue; // PHP itself has called it.
        }
        $in = $trace[$number + 1] ?? ['function' => 'include'];
        $class = isset($in['class']) ? strstr($in['class'] . "\0", "\0", true) . '::' : '';
        $outside = ['include', 'require', 'eval'];
        $name = in_array($in['function'], $outside) ? '{main}' : $class . $in['function'];
        $told .= implode("\t", [$name, $call['file'], $call['line']]) . "\n";
    }
    file_put_contents("$out.part", $told);
    rename("$out.part", $out);
}

trait Waits
{
    public static function waits(): void
    {
        tell($GLOBALS['argv'][1]); stream_socket_recvfrom($GLOBALS['ours'], 1);
    }
}

final class Handler
{
    use Waits;

    public function __call($name, $arguments)
    {
        self::waits();
    }

    public function gérer(int $depth): void
    {
        if ($depth > 0) {
            $this->gérer(
                $depth - 1
            );
        } else {
            (fn () => $this->missing(
                1
            ))();
        }
    }

    public function __destruct()
    {
        $this->gérer(3);
    }
}

function each()
{
    yield 1;
    array_map(
        function ($one) {
            $handler = new Handler();
            $handler = null;
        },
        [1]
    );
    yield 2;
}

$made = new class {
    public function __invoke(): void
    {
        foreach (each() as $one) {
            LONG
        }
    }
};

function far($made): void
{
    $made = eval('return function () use ($made) {

        call_user_func($made);
    };');
    $made();
}

if (isset($argv[2])) {
    (new \Fiber(function () use ($made) {
        far($made);
    }))->start();
} else {
    include $argv[1] . '.inc';
}
"#;

/// A function of many instructions, with one line to each few.
fn program() -> String {
    use std::fmt::Write as _;

    let mut long = String::new();
    for number in 0..400 {
        let _ = writeln!(long, "            $all[] = $one + {number};");
    }
    PROGRAM.replace("LONG\n", &long)
}

/// The distribution's, and any that are named beside.
fn releases() -> Vec<PathBuf> {
    let beside = std::env::var("SOCKLEAK_TEST_PHP").unwrap_or_default();
    let mut found: Vec<PathBuf> = beside.split(':').map(PathBuf::from).collect();
    found.push(PathBuf::from("/usr/bin/php"));
    found.retain(|php| php.is_file());
    found
}

#[test]
fn what_every_release_executes_is_named_as_it_names_itself() {
    let releases = releases();
    assert!(!releases.is_empty(), "no php at all");
    for php in releases {
        for more in [&[][..], &["in a fiber"]] {
            let shop = Workshop::new();
            let (script, out) = (shop.path("serveur_é.php"), shop.path("told"));
            std::fs::write(&script, program()).unwrap();
            let included = "<?php\nnamespace Shop;\n\nfar($made);\n";
            std::fs::write(shop.path("told.inc"), included).unwrap();
            let mut command = Command::new(&php);
            command.arg(&script).arg(&out).args(more);
            let blocked = Blocked::run(&mut command, SYS_RECVFROM);
            let told = std::fs::read_to_string(out).unwrap();
            let line = |line: &str| {
                let mut parts = line.split('\t').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                (next(), next(), next().parse().unwrap())
            };
            let told: Vec<(String, String, u32)> = told.lines().map(line).collect();
            let found = Symbolizer::new().resolve(&blocked.present().view());
            assert_eq!(managed(&found, PHP), told, "{} {found:#?}", php.display());
            assert!(told.len() > 12, "{told:?}");
            assert!(!found.stack.truncated, "{}", php.display());
            assert_eq!(found.warnings, [], "{}", php.display());
            let names = functions(&found.stack.frames);
            assert!(names.len() < told.len() + 6, "{names:?}");
        }
    }
}
