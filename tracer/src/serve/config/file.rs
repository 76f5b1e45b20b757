//! The YAML of the web config file, with the names and defaults of exporter-toolkit. Opens nothing itself.

use std::{collections::BTreeMap, time::Duration};

use hyper::header::HeaderValue;
use serde::Deserialize;

use super::{ClientAuth, Loaded, RateLimit, Tls, tls};

/// A hash of a higher cost would take seconds of a processor for every wrong password.
const MAX_BCRYPT_COST: u32 = 14;

/// The headers that exporter-toolkit lets one set.
const ALLOWED_HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    tls_server_config: Option<TlsServer>,
    http_server_config: Option<HttpServer>,
    rate_limit: Option<Rate>,
    basic_auth_users: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsServer {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    client_ca_file: Option<String>,
    client_auth_type: Option<String>,
    client_allowed_sans: Vec<String>,
    min_version: Option<String>,
    max_version: Option<String>,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpServer {
    /// Known and of no effect: requests are answered by HTTP/1.1, which every client speaks.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rate {
    interval: Option<String>,
    burst: Option<u32>,
}

/// `open` gives the content of a file that is named beside this one.
pub(super) fn parse(
    text: &str,
    open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Loaded, String> {
    let file: File = if text.trim().is_empty() {
        File::default()
    } else {
        // Its errors name line and field, and quote no value but of the wrong type.
        let file: Option<File> = serde_norway::from_str(text).map_err(|error| error.to_string())?;
        file.unwrap_or_default()
    };
    let tls = file
        .tls_server_config
        .and_then(|tls| server(tls, open).transpose());
    let headers = file.http_server_config.unwrap_or_default().headers;
    if let Some(other) = headers
        .keys()
        .find(|name| !ALLOWED_HEADERS.contains(&name.as_str()))
    {
        return Err(format!(
            "http_server_config cannot set the header {other}; it can set {}",
            ALLOWED_HEADERS.join(", ")
        ));
    }
    let is_wrong = |value: &String| HeaderValue::try_from(value).is_err();
    if let Some((name, _)) = headers.iter().find(|(_, value)| is_wrong(value)) {
        return Err(format!(
            "http_server_config: what it says for {name} is no value of a header: it has a line break or a control character"
        ));
    }
    let users = file.basic_auth_users.unwrap_or_default();
    for (name, hash) in &users {
        check_hash(name, hash)?;
    }
    Ok(Loaded {
        tls: tls.transpose()?,
        users,
        headers,
        rate_limit: file.rate_limit.as_ref().map(rate).transpose()?.flatten(),
    })
}

fn check_hash(user: &str, hash: &str) -> Result<(), String> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| {
        format!("the password of user {user} is no bcrypt hash (make one with htpasswd -nBC 10 '')")
    })?;
    if parts.get_cost() > MAX_BCRYPT_COST {
        return Err(format!(
            "the bcrypt hash of user {user} has cost {}: above {MAX_BCRYPT_COST} every request would take seconds",
            parts.get_cost()
        ));
    }
    Ok(())
}

fn rate(rate: &Rate) -> Result<Option<RateLimit>, String> {
    let interval = match rate.interval.as_deref() {
        None | Some("0" | "0s") => return Ok(None),
        Some(text) => crate::options::parse_duration(text)
            .map_err(|reason| format!("rate_limit.interval: {reason}"))?,
    };
    Ok((interval > Duration::ZERO).then_some(RateLimit {
        interval,
        burst: rate.burst.unwrap_or(1).max(1),
    }))
}

/// `None` when nothing of it is set, as exporter-toolkit has it.
fn server(
    tls: TlsServer,
    open: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
) -> Result<Option<Tls>, String> {
    let client_auth = client_auth(tls.client_auth_type.as_deref())?;
    let (tls12, tls13) = tls::versions(tls.min_version.as_deref(), tls.max_version.as_deref())?;
    tls::check_names(&tls.cipher_suites, &tls.curve_preferences)?;
    let mut either = |inline: Option<String>, file: Option<String>, name: &str| match (inline, file)
    {
        (Some(_), Some(_)) => Err(format!("tls_server_config has both {name} and {name}_file")),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(path)) => open(&path).map(Some),
        (None, None) => Ok(None),
    };
    let cert = either(tls.cert, tls.cert_file, "cert")?;
    let key = either(tls.key, tls.key_file, "key")?;
    let client_ca = either(tls.client_ca, tls.client_ca_file, "client_ca")?;
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if client_ca.is_none() && tls.client_auth_type.is_none() => return Ok(None),
        (None, _) => return Err("tls_server_config lacks cert_file".to_owned()),
        (_, None) => return Err("tls_server_config lacks key_file".to_owned()),
    };
    match (client_auth, &client_ca) {
        (ClientAuth::None, Some(_)) => {
            return Err("client_ca_file is of no use without client_auth_type".to_owned());
        }
        (ClientAuth::IfGiven | ClientAuth::Required, None) => {
            return Err("client_auth_type needs client_ca_file".to_owned());
        }
        _ => {}
    }
    Ok(Some(Tls {
        cert,
        key,
        client_ca,
        client_auth,
        client_allowed_sans: tls.client_allowed_sans,
        tls12,
        tls13,
        cipher_suites: tls.cipher_suites,
        curves: tls.curve_preferences,
        prefer_server_order: tls.prefer_server_cipher_suites.unwrap_or(true),
    }))
}

fn client_auth(kind: Option<&str>) -> Result<ClientAuth, String> {
    match kind {
        None | Some("" | "NoClientCert") => Ok(ClientAuth::None),
        Some("VerifyClientCertIfGiven") => Ok(ClientAuth::IfGiven),
        Some("RequireAndVerifyClientCert") => Ok(ClientAuth::Required),
        Some(kind @ ("RequestClientCert" | "RequireAnyClientCert")) => Err(format!(
            "client_auth_type {kind} asks for certificates without checking them, which is not offered: use \
             RequireAndVerifyClientCert or VerifyClientCertIfGiven"
        )),
        Some(other) => Err(format!("client_auth_type {other} is not known")),
    }
}
