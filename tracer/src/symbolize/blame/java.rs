//! Whose code a method of Java is: by the package of its class, and by the name of what compilers make for calls.

use super::managed::Tier;
use super::table::JIT_FUNCTIONS;
use crate::model::stack::Frame;

pub(super) fn tier(frame: &Frame) -> Tier {
    let function = frame.function.as_deref().unwrap_or_default();
    let of = |start: &&str| function.starts_with(*start);
    if LIBRARIES.iter().any(of) {
        Tier::Library
    } else if JIT_FUNCTIONS.iter().any(of) || is_made_for_a_call(function, frame.file.is_some()) {
        Tier::Runtime
    } else {
        Tier::Own
    }
}

/// The beginning of its classes' names.
pub(super) fn library(function: &str) -> Option<&'static str> {
    let of = LIBRARIES
        .iter()
        .find(|start| function.starts_with(**start))?;
    Some(of.trim_end_matches('.'))
}

/// Groovy has a class for each place that calls a method, `Depot$reserve.call`, without a source file. `JRuby` has a method
/// for each in the caller's class, `app.invokeOther5:pop`.
fn is_made_for_a_call(function: &str, has_file: bool) -> bool {
    let Some((class, method)) = function.rsplit_once('.') else {
        return false;
    };
    let of_groovy = || CALLS.contains(&method) && class.contains('$') && !has_file;
    let of_jruby = || {
        let kind = method.split_once(':').map(|(kind, _)| kind);
        kind.is_some_and(|kind| kind.starts_with("invoke"))
    };
    of_groovy() || of_jruby()
}

/// `org.codehaus.groovy.runtime.callsite.CallSite`.
const CALLS: &[&str] = &[
    "call",
    "callConstructor",
    "callCurrent",
    "callGetProperty",
    "callGroovyObjectGetProperty",
    "callSafe",
    "callStatic",
];

/// Java libraries that make connections for whom they are called by; by the start of their names.
const LIBRARIES: &[&str] = &[
    "com.google.api.client.",
    "com.mongodb.",
    "com.mysql.",
    "com.rabbitmq.client.",
    "com.zaxxer.hikari.",
    "feign.",
    "io.grpc.",
    "io.lettuce.",
    "okhttp3.",
    "org.apache.commons.",
    "org.apache.hc.client5.",
    "org.apache.hc.core5.",
    "org.apache.http.",
    "org.apache.thrift.",
    "org.elasticsearch.client.",
    "org.mariadb.jdbc.",
    "org.postgresql.",
    "org.springframework.web.client.",
    "redis.clients.jedis.",
    "retrofit2.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::JAVA;

    fn method(function: &str, file: Option<&str>) -> Frame {
        Frame {
            module: Some(JAVA.to_owned()),
            function: Some(function.to_owned()),
            file: file.map(str::to_owned),
            ..Frame::default()
        }
    }

    #[test]
    fn classes_are_known_by_the_start_of_their_names() {
        for start in LIBRARIES {
            let function = format!("{start}A.f");
            assert_eq!(library(&function), start.strip_suffix('.'));
            assert_eq!(tier(&method(&function, None)), Tier::Library);
        }
        for start in JIT_FUNCTIONS {
            assert_ne!(tier(&method(&format!("{start}A.f"), None)), Tier::Own);
        }
        assert_eq!(tier(&method("app.Handler.handle", None)), Tier::Own);
    }

    #[test]
    fn what_is_made_for_a_call_is_nobodys_own() {
        for call in CALLS {
            let site = format!("java_util_concurrent_Semaphore$acquire.{call}");
            assert_eq!(tier(&method(&site, None)), Tier::Runtime);
            // Somebody wrote a class within a class.
            assert_eq!(tier(&method(&site, Some("App.java"))), Tier::Own);
        }
        let stub = method("srv.app.invokeOther5:pop", Some("app.rb"));
        assert_eq!(tier(&stub), Tier::Runtime);
        let own = method("srv.app.RUBY$method$wait_for_stock$2", Some("app.rb"));
        assert_eq!(tier(&own), Tier::Own);
        assert_eq!(
            tier(&method("app.Proxy.invoke", Some("Proxy.java"))),
            Tier::Own
        );
    }
}
