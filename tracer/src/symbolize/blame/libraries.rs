//! Libraries that are compiled into programs, by the crate or namespace that their functions' names begin with: without
//! lines no file tells whose they are. They are blamed alone only.

/// Order does not matter.
const NAMESPACES: &[&str] = &[
    // Rust: servers
    "actix_http::",
    "actix_rt::",
    "actix_server::",
    "actix_service::",
    "actix_web::",
    "axum::",
    "axum_core::",
    "gotham::",
    "jsonrpsee_core::",
    "jsonrpsee_server::",
    "poem::",
    "rocket::",
    "rocket_http::",
    "rouille::",
    "salvo_core::",
    "tarpc::",
    "tide::",
    "tiny_http::",
    "tonic::",
    "tower_http::",
    "warp::",
    // Rust: clients
    "attohttpc::",
    "isahc::",
    "minreq::",
    "reqwest::",
    "surf::",
    "ureq::",
    "async_nats::",
    "lapin::",
    "lettre::",
    "mongodb::",
    "mysql_async::",
    "mysql_common::",
    "paho_mqtt::",
    "postgres::",
    "rdkafka::",
    "rumqttc::",
    "tokio_postgres::",
    "sqlx_core::",
    "sqlx_mysql::",
    "sqlx_postgres::",
    "tiberius::",
    // Rust: pools and protocols
    "bb8::",
    "deadpool::",
    "deadpool_runtime::",
    "r2d2::",
    "async_tungstenite::",
    "tokio_tungstenite::",
    "tungstenite::",
    "http_body_util::",
    "quinn::",
    "russh::",
    "ssh2::",
    // C++
    "boost::",
    "cpr::",
    "crow::",
    "drogon::",
    "grpc::",
    "grpc_core::",
    "httplib::",
    "restinio::",
    "trantor::",
];

/// What `subject` says whose code it is begins with one of these.
pub(super) fn is_of_one(subject: &str) -> bool {
    NAMESPACES.iter().any(|start| subject.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::stack::Frame, symbolize::blame::blamed};

    #[test]
    fn a_namespace_is_told_from_one_that_begins_alike() {
        for name in NAMESPACES {
            assert!(is_of_one(&format!("{name}connect")), "{name}");
        }
        for own in [
            "axum_shop::serve",
            "shop::reqwest::get",
            "boosted::run",
            "fetch",
        ] {
            assert!(!is_of_one(own), "{own}");
        }
    }

    #[test]
    fn functions_of_a_library_are_blamed_only_alone() {
        let frame = |function: &str| Frame {
            module: Some("shop".to_owned()),
            function: Some(function.to_owned()),
            ..Frame::default()
        };
        let library = frame("<ureq::stream::DeadlineStream as std::io::BufRead>::fill_buf");
        let own = frame("shop::fetch_stock");
        assert_eq!(blamed(&[library.clone(), own]), Some(1));
        assert_eq!(blamed(&[library]), Some(0));
    }
}
