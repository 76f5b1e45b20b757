//! A real browser without a window, driven over a pipe by the `DevTools` protocol: what a page is once its
//! styles and scripts have run, and what happens when somebody uses it.
use crate::process;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// The browser takes commands on descriptor 3 and answers on 4, each message ended by a zero.
const PIPES: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
];

/// One page in a browser of its own; gone when dropped.
#[derive(Debug)]
pub struct Page {
    browser: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Value,
    number: u64,
    /// What the page or the browser complained about.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Page {
    pub fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser");
        let mut browser = Command::new("sh")
            .args(["-c", PIPES, "sh", "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the browser");
        let answers = BufReader::new(browser.stdout.take().expect("its answers"));
        let (send, messages) = channel();
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON of the browser");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut page = Self {
            commands: browser.stdin.take().expect("its commands"),
            browser,
            messages,
            session: Value::Null,
            number: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        page.session = page.call("Target.attachToTarget", &attach)["sessionId"].take();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, &json!({}));
        }
        page.go(url);
        page
    }

    /// Returns once everything is loaded.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    pub fn reload(&mut self) {
        self.eval("void (window.isOld = true)");
        self.call("Page.reload", &json!({}));
        self.wait_for("!window.isOld && document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].take()
    }

    pub fn wait_for(&mut self, condition: &str) {
        let until = std::time::Instant::now() + PATIENCE;
        while self.eval(condition) != Value::Bool(true) {
            if std::time::Instant::now() > until {
                let shown = self.eval("document.body.innerText");
                panic!("never true: {condition}\n{shown}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn looks(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Of the whole page, as PNG, for people to look at.
    pub fn picture(&mut self) -> Vec<u8> {
        let whole = json!({"captureBeyondViewport": true});
        let answer = self.call("Page.captureScreenshot", &whole);
        let text = answer["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(text).expect("base64")
    }

    pub fn runs_scripts(&mut self, runs: bool) {
        let value = json!({"value": !runs});
        self.call("Emulation.setScriptExecutionDisabled", &value);
    }

    /// As somebody at a keyboard does.
    pub fn types(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    pub fn presses(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let number = self.number;
        let mut command = json!({"id": number, "method": method, "params": parameters});
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        let text = format!("{command}\0");
        self.commands
            .write_all(text.as_bytes())
            .expect("command the browser");
        loop {
            let mut message = self
                .messages
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == number {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.complaints.extend(complaint(&message));
        }
    }
}

/// Errors of the script, and what the policies of the page refused.
fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    let said = match message["method"].as_str()? {
        "Runtime.exceptionThrown" => &parameters["exceptionDetails"],
        "Page.javascriptDialogOpening" => parameters,
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => &parameters["entry"],
        _ => return None,
    };
    Some(said.to_string())
}

impl Drop for Page {
    fn drop(&mut self) {
        // It ends with its processes; a signal would end only the first.
        let close = format!("{}\0", json!({"id": 0, "method": "Browser.close"}));
        if self.commands.write_all(close.as_bytes()).is_err() {
            process::signal(&self.browser, Signal::KILL);
        }
        process::wait(&mut self.browser, PATIENCE);
    }
}
