//! One request and its answer: who may ask, for what, and in which form.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    auth::Outcome,
    connection::Via,
    encoded::{Edition, Encoded},
    negotiate,
    state::{Settings, State},
};
use crate::serve::page::{self, Query};

pub(super) type Body = BoxBody<Bytes, Infallible>;
type Answer = Response<Body>;

/// Nothing but what this server itself sends, no frames, nothing inline.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Proxies close connections on which nothing is said for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn answer(request: Request<Incoming>, state: &Arc<State>, via: Via) -> Answer {
    let settings = state.settings();
    let mut answer = match refusal(&request, &settings, via).await {
        Some(refused) => refused,
        None => route(&request, state, &settings, via).await,
    };
    if request.method() == Method::HEAD {
        *answer.body_mut() = full(Bytes::new());
    }
    harden(answer.headers_mut(), &settings);
    answer
}

async fn refusal(request: &Request<Incoming>, settings: &Settings, via: Via) -> Option<Answer> {
    if !settings.allows_another() {
        return Some(plain(StatusCode::TOO_MANY_REQUESTS, "Too many requests.\n"));
    }
    if !says_one_host(request) {
        return Some(plain(
            StatusCode::BAD_REQUEST,
            "One Host header is needed.\n",
        ));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return Some(answer);
    }
    if via == Via::Unix {
        return None;
    }
    if !settings.setup.web.authenticates() && !is_for_us(request, &settings.setup.hosts) {
        return Some(plain(
            StatusCode::MISDIRECTED_REQUEST,
            "This host is not known by that name. Use its address or host name, or start sockleak with \
             --web.allowed-host NAME.\n",
        ));
    }
    match settings.users.allow(request.headers()).await {
        Outcome::Allowed => None,
        Outcome::Busy => Some(plain(StatusCode::SERVICE_UNAVAILABLE, "Busy.\n")),
        Outcome::Denied => {
            let mut answer = plain(StatusCode::UNAUTHORIZED, "Unauthorized.\n");
            let realm = HeaderValue::from_static("Basic realm=\"sockleak\", charset=\"UTF-8\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            Some(answer)
        }
    }
}

/// RFC 9112, 3.2; HTTP/1.0 may say none.
fn says_one_host<T>(request: &Request<T>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

/// A page of another origin can make a browser ask here by a name of its own that leads to this address.
fn is_for_us(request: &Request<Incoming>, hosts: &[String]) -> bool {
    let said = request.headers().get(header::HOST);
    match said.map(HeaderValue::to_str) {
        Some(Ok(said)) => is_known(said, hosts),
        Some(Err(_)) => false,
        // HTTP/1.0, and no browser.
        None => request
            .uri()
            .host()
            .is_none_or(|host| is_known(host, hosts)),
    }
}

fn is_known(said: &str, hosts: &[String]) -> bool {
    let name = match said.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => said.rsplit_once(':').map_or(said, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || hosts.contains(&name)
}

async fn route(
    request: &Request<Incoming>,
    state: &Arc<State>,
    settings: &Settings,
    via: Via,
) -> Answer {
    let redacted = via == Via::Tcp && !settings.setup.web.authenticates();
    let gzip = negotiate::takes_gzip(request.headers());
    match request.uri().path() {
        "/-/healthy" if state.is_alive() => plain(StatusCode::OK, "Healthy.\n"),
        "/-/healthy" => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "The tracer does not answer.\n",
        ),
        "/-/ready" if state.is_alive() && state.edition().is_some() => {
            plain(StatusCode::OK, "Ready.\n")
        }
        "/-/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "Not ready.\n"),
        "/metrics" => {
            let format = negotiate::format(request.headers());
            let Some(edition) = state.edition() else {
                return early();
            };
            encoded(edition.metrics(format).await, format.content_type(), gzip)
        }
        "/api/report" => match state.edition() {
            Some(edition) => encoded(edition.json(redacted).await, "application/json", gzip),
            None => early(),
        },
        "/api/events" => events(state),
        "/" => page(request, state.edition().as_deref(), redacted),
        "/page.css" => text(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
        "/page.js" => text(
            StatusCode::OK,
            "text/javascript; charset=utf-8",
            page::SCRIPT,
        ),
        "/icon.svg" => text(StatusCode::OK, "image/svg+xml", page::ICON),
        _ => plain(StatusCode::NOT_FOUND, "Not found.\n"),
    }
}

fn early() -> Answer {
    plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "The first inspection has not ended yet.\n",
    )
}

fn page(request: &Request<Incoming>, edition: Option<&Edition>, redacted: bool) -> Answer {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let html = match edition {
        Some(edition) => page::render(edition.report(redacted), &edition.trend, &query, redacted),
        None => page::waiting(),
    };
    text(StatusCode::OK, "text/html; charset=utf-8", html)
}

/// Tells of each new report; a client that does not keep up misses some, and holds up nobody.
fn events(state: &Arc<State>) -> Answer {
    let Ok(permit) = Arc::clone(&state.subscribers).try_acquire_owned() else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many pages are open.\n",
        );
    };
    let mut editions = state.editions();
    let (mut send, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        let _permit = permit;
        editions.mark_changed();
        loop {
            let chunk = tokio::select! {
                changed = editions.changed() => match changed {
                    Ok(()) => editions.borrow_and_update().as_deref().map(event),
                    Err(_) => return,
                },
                () = tokio::time::sleep(HEARTBEAT) => Some(Bytes::from_static(b": still here\n\n")),
            };
            if let Some(chunk) = chunk
                && send.send_data(chunk).await.is_err()
            {
                return;
            }
        }
    });
    let mut answer = Response::new(body.boxed());
    let kind = HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn event(edition: &Edition) -> Bytes {
    let report = &edition.published.report;
    format!(
        "event: report\nid: {}\ndata: {{\"end\":\"{}\",\"sites\":{},\"stuck\":{},\"complete\":{}}}\n\n",
        edition.number,
        report.window.end,
        report.sites.len(),
        report.totals.stuck,
        report.window.complete
    )
    .into()
}

fn encoded(encoded: Option<&Encoded>, content_type: &'static str, gzip: bool) -> Answer {
    let Some(encoded) = encoded else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "It cannot be encoded.\n");
    };
    let bytes = if gzip { &encoded.gzip } else { &encoded.plain };
    let mut answer = text(StatusCode::OK, content_type, bytes.clone());
    let vary = HeaderValue::from_static("accept, accept-encoding");
    answer.headers_mut().insert(header::VARY, vary);
    if gzip {
        let coding = HeaderValue::from_static("gzip");
        answer
            .headers_mut()
            .insert(header::CONTENT_ENCODING, coding);
    }
    answer
}

fn plain(status: StatusCode, words: &'static str) -> Answer {
    text(status, "text/plain; charset=utf-8", words)
}

fn text(status: StatusCode, content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(content.into()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn full(content: Bytes) -> Body {
    Full::new(content).boxed()
}

fn harden(headers: &mut HeaderMap, settings: &Settings) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in &settings.setup.web.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_said_and_none_only_by_the_oldest() {
        let says = |version, hosts: &[&str]| {
            let request = Request::builder().version(version);
            let request = hosts
                .iter()
                .fold(request, |all, host| all.header(header::HOST, *host));
            says_one_host(&request.body(()).unwrap())
        };
        assert!(says(Version::HTTP_11, &["a"]) && says(Version::HTTP_10, &[]));
        for hosts in [&[][..], &["a", "a"], &["a", "b"]] {
            assert!(!says(Version::HTTP_11, hosts), "{hosts:?}");
        }
        assert!(!says(Version::HTTP_10, &["a", "b"]));
    }

    #[test]
    fn addresses_and_own_names_are_known_and_others_are_not() {
        let own = ["web-1.example".to_owned(), "web-1".to_owned()];
        for said in [
            "127.0.0.1:10435",
            "127.0.0.1",
            "[::1]:10435",
            "[::1]",
            "10.1.2.3:80",
            "localhost:10435",
            "LOCALHOST",
            "web-1",
            "Web-1.Example.:10435",
        ] {
            assert!(is_known(said, &own), "{said}");
        }
        for said in [
            "",
            "evil.example",
            "evil.example:10435",
            "localhost.evil.example",
            "web-10",
        ] {
            assert!(!is_known(said, &own), "{said}");
        }
    }
}
