//! The page of `sockleak serve` in a real browser: how it looks, how it is used, and what hostile names do to it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::browser::Page;
use tests::exporter::Exporter;
use tests::rig::Rig;
use tests::{manifest, process, skip};

const COMM: &str = "c-eof-ignored-d";
const FUNCTION: &str = "handle_client_and_forget";
/// Leaks one connection under a name that a page must not take for markup.
const PROGRAM: &str = "
import socket, time
open('/proc/self/comm', 'w').write('<script>x=1//')
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(8)
client = socket.create_connection(server.getsockname())
kept, _ = server.accept()
client.close()
time.sleep(120)
";
/// A folder: set by who wants to look at the page.
const PICTURES: &str = "SOCKLEAK_PICTURES";
const WIDTHS: [u32; 3] = [360, 768, 1280];
/// Text whose contrast with what is behind it is below 4.5, by WCAG 2's formula; backgrounds here are opaque.
const PALE: &str = r"(() => {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    throw new Error('nothing behind');
  };
  const pale = [];
  let looked = 0;
  for (const element of document.body.querySelectorAll('*')) {
    const speaks = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    if (!speaks || !element.checkVisibility()) continue;
    looked += 1;
    const [one, other] = [getComputedStyle(element).color, null].map((color) => light(color ? rgb(color) : behind(element)));
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) pale.push(element.outerHTML.slice(0, 120) + ' ' + contrast);
  }
  return looked < 20 ? ['looked at ' + looked + ' texts only'] : pale;
})()";
/// Controls and pictures without a name for who cannot see them.
const NAMELESS: &str = "Array.from(document.querySelectorAll('input, button, a, summary, svg, nav, section, table'))
  .filter((one) => !(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label')))
  .map((one) => one.outerHTML.slice(0, 120))";

#[test]
fn the_page_is_readable_and_usable_in_a_browser() {
    let name = "the_page_is_readable_and_usable_in_a_browser";
    if !skip::require_root(name) || !skip::require_program(name, "chromium") {
        return;
    }
    let exporter = Exporter::start(&[]);
    let _hostile = Background(
        Command::new("python3")
            .args(["-c", PROGRAM])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start the hostile program"),
    );
    let url = format!("http://{}/", exporter.address);
    // What else leaks on this machine is not shown.
    let only = format!("{url}?q={COMM}");
    let mut page = Page::open(&only);
    page.wait_for("document.getElementById('live').textContent === 'Live.'");

    // A leak shows without anybody reloading.
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored-debug"));
    page.wait_for(&format!(
        "document.querySelector('.site .function')?.textContent.includes('{FUNCTION}')"
    ));
    page.wait_for(&format!(
        "document.querySelector('.site .count').textContent === '{} sockets'",
        rig.stuck
    ));
    uses_the_keyboard(&mut page);
    looks_right_everywhere(&mut page);
    filters(&mut page);

    page.go(&url);
    page.wait_for("document.body.textContent.includes('<script>x=1')");
    assert_eq!(
        page.eval("document.querySelectorAll('body script').length"),
        0
    );

    page.runs_scripts(false);
    page.go(&only);
    // The address of the first site, without any script.
    assert!(
        page.eval("document.querySelector('.site .function').textContent")
            .to_string()
            .contains("eof_ignored.c:")
    );
    assert_eq!(
        page.eval("document.getElementById('live').textContent"),
        "Reload to see what is new."
    );
    page.runs_scripts(true);
    page.go(&only);
    page.wait_for("document.getElementById('live').textContent === 'Live.'");
    let complaints = std::mem::take(&mut page.complaints);
    assert!(complaints.is_empty(), "{complaints:#?}");

    assert_eq!(exporter.running.stop().code(), 0);
    page.wait_for("document.getElementById('live').textContent.includes('connection is lost')");
    // What is known stays on the screen.
    page.wait_for(&format!("document.body.textContent.includes('{FUNCTION}')"));
}

fn uses_the_keyboard(page: &mut Page) {
    // The worst finding comes after the link past the header, two links, the field and its button.
    for _ in 0..6 {
        page.presses("Tab", 9, "");
    }
    page.wait_for("document.activeElement.matches('.site:first-of-type > summary')");
    page.presses("Enter", 13, "\r");
    page.wait_for("document.querySelector('.site').open && location.search.includes('open=')");
    page.reload();
    page.wait_for("document.querySelector('.site').open");
    page.wait_for("document.getElementById('live').textContent === 'Live.'");
    for part in [
        "Evidence",
        "What to do",
        "Where the end of the stream was read",
    ] {
        page.wait_for(&format!(
            "document.querySelector('.site').innerText.includes('{part}')"
        ));
    }
    page.wait_for("document.querySelector('.site .stack .blamed') !== null");
    page.wait_for("document.querySelectorAll('.site tbody tr').length > 0");
}

fn looks_right_everywhere(page: &mut Page) {
    for (width, scheme) in WIDTHS
        .into_iter()
        .flat_map(|width| [(width, "light"), (width, "dark")])
    {
        page.looks(width, scheme);
        let wide = page.eval("document.documentElement.scrollWidth - innerWidth");
        assert!(
            wide.as_f64().is_some_and(|wide| wide <= 0.0),
            "{width}: {wide} too wide"
        );
        if let Some(folder) = std::env::var_os(PICTURES) {
            let file = Path::new(&folder).join(format!("page-{width}-{scheme}.png"));
            fs::write(file, page.picture()).expect("write a picture");
        }
        let faint = page.eval(PALE);
        assert_eq!(faint, serde_json::json!([]), "{width} {scheme}");
        let nameless = page.eval(NAMELESS);
        assert_eq!(nameless, serde_json::json!([]), "{width} {scheme}");
    }
    // The two schemes are two.
    let back = "getComputedStyle(document.body).backgroundColor";
    let dark = page.eval(back);
    page.looks(WIDTHS[0], "light");
    assert_ne!(page.eval(back), dark);
}

fn filters(page: &mut Page) {
    page.eval("document.getElementById('q').select()");
    page.types("no such words");
    page.wait_for(
        "document.querySelectorAll('.site').length === 0 && location.search.includes('q=no')",
    );
    page.wait_for("document.activeElement.id === 'q' && document.getElementById('q').value === 'no such words'");
    page.eval("document.getElementById('q').select()");
    page.types("forget eof-ign");
    page.wait_for(&format!(
        "document.querySelectorAll('.site').length > 0 &&
         Array.from(document.querySelectorAll('.site')).every((site) => site.textContent.includes('{FUNCTION}'))"
    ));
    page.reload();
    page.wait_for("document.getElementById('q').value === 'forget eof-ign'");
}

/// A process of a test's own; killed when dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        process::signal(&self.0, Signal::KILL);
        process::wait(&mut self.0, Duration::from_secs(10));
    }
}
