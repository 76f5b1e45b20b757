//! The part of SARIF 2.1.0 that is written, in its own words (OASIS sarif-schema-2.1.0).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::model::outcome::Fate;
use crate::sink::paths::Place;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    #[serde(flatten)]
    log: Log<'a>,
}

impl<'a> Document<'a> {
    pub(super) fn of(log: Log<'a>) -> Self {
        Self {
            schema: "https://json.schemastore.org/sarif-2.1.0.json",
            version: "2.1.0",
            log,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Log<'a> {
    pub runs: Vec<Run<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run<'a> {
    pub tool: Tool<'a>,
    pub invocations: Vec<Invocation>,
    pub results: Vec<Result>,
    pub column_kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct Tool<'a> {
    pub driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Driver<'a> {
    pub name: &'static str,
    pub version: &'a str,
    pub semantic_version: &'a str,
    pub information_uri: &'static str,
    pub rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub id: &'static str,
    pub short_description: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Invocation {
    pub execution_successful: bool,
    pub tool_execution_notifications: Vec<Notification>,
}

#[derive(Serialize)]
pub(super) struct Notification {
    pub level: Level,
    pub message: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Result {
    pub rule_id: &'static str,
    pub level: Level,
    pub message: Message,
    pub locations: Vec<Location>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code_flows: Vec<CodeFlow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<Stack>,
    pub partial_fingerprints: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suppressions: Vec<Suppression>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Note,
    Warning,
    Error,
}

#[derive(Serialize)]
pub(super) struct Message {
    text: String,
}

impl Message {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location {
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_location: Option<Physical>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    uri: String,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
}

impl Location {
    pub(super) fn of(place: &Place, message: Option<Message>) -> Self {
        Self {
            physical_location: Some(Physical {
                artifact_location: Artifact {
                    uri: uri(&place.file),
                    uri_base_id: "%SRCROOT%",
                },
                region: Region {
                    start_line: place.line,
                },
            }),
            message,
        }
    }

    pub(super) fn only(message: Message) -> Self {
        Self {
            physical_location: None,
            message: Some(message),
        }
    }
}

/// A relative reference (RFC 3986): everything that is not plain is written as `%XX`.
fn uri(file: &str) -> String {
    let mut uri = String::with_capacity(file.len());
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeFlow {
    pub thread_flows: Vec<ThreadFlow>,
}

#[derive(Serialize)]
pub(super) struct ThreadFlow {
    pub locations: Vec<FlowLocation>,
}

#[derive(Serialize)]
pub(super) struct FlowLocation {
    pub location: Location,
}

#[derive(Serialize)]
pub(super) struct Stack {
    pub message: Message,
    pub frames: Vec<Frame>,
}

#[derive(Serialize)]
pub(super) struct Frame {
    pub location: Location,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Suppression {
    kind: &'static str,
    justification: String,
}

impl Suppression {
    /// In a file beside the code, not in it.
    pub(super) fn external(fate: &Fate) -> Self {
        Self {
            kind: "external",
            justification: match fate {
                Fate::Fails => String::new(),
                Fate::Passes(why) => why.because(),
            },
        }
    }
}
