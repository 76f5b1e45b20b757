use super::*;

/// The example of exporter-toolkit's documentation, with the paths of this test.
const DOCUMENTED: &str = "
tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans:
    - prometheus.example
  min_version: TLS12
  max_version: TLS13
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
  prefer_server_cipher_suites: true
  curve_preferences:
    - CurveP256
    - X25519
http_server_config:
  http2: true
  headers:
    Strict-Transport-Security: max-age=31536000
rate_limit:
  interval: 1s
  burst: 20
basic_auth_users:
  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
";

fn parsed(text: &str) -> Result<Loaded, String> {
    file::parse(text, &mut |path| Ok(path.as_bytes().to_vec()))
}

#[test]
fn the_documented_format_is_read_whole() {
    let loaded = parsed(DOCUMENTED).unwrap();
    let tls = loaded.tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Required);
    assert_eq!(tls.cert, b"server.crt");
    assert!(tls.tls12 && tls.tls13);
    assert_eq!(loaded.rate_limit.unwrap().burst, 20);
    assert!(loaded.authenticates());
    assert_eq!(parsed("").unwrap(), Loaded::default());
    assert_eq!(parsed("# only a remark\n").unwrap(), Loaded::default());
    assert_eq!(
        parsed("tls_server_config: {}\n").unwrap(),
        Loaded::default()
    );
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let tls = |line: &str| format!("tls_server_config:\n  cert_file: a\n  key_file: b\n  {line}\n");
    for (text, words) in [
        (tls("min_version: TLS10"), "min_version TLS10 is not offered"),
        (tls("max_version: TLS11"), "max_version TLS11"),
        (
            tls("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
            "TLS_RSA_WITH_AES_128_CBC_SHA is not offered",
        ),
        (tls("curve_preferences: [CurveP521]"), "curve CurveP521"),
        (tls("client_auth_type: RequireAnyClientCert"), "RequireAnyClientCert"),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "client_ca_file"),
        (tls("nonsense: 1"), "nonsense"),
        ("tls_server_config:\n  cert_file: a\n".to_owned(), "lacks key_file"),
        ("basic_auth_users:\n  bob: plain\n".to_owned(), "no bcrypt hash"),
        (
            "basic_auth_users:\n  bob: $2y$31$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n"
                .to_owned(),
            "cost 31",
        ),
        (
            "http_server_config:\n  headers:\n    Set-Cookie: x\n".to_owned(),
            "cannot set the header Set-Cookie",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: \"DENY\\nX: y\"\n".to_owned(),
            "for X-Frame-Options is no value of a header",
        ),
    ] {
        let error = parsed(&text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_changed_file_is_read_again_and_a_wrong_one_leaves_the_old_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    fs::write(&path, "rate_limit: {interval: 1s, burst: 2}\n").unwrap();
    let mut config = WebConfig::load(Some(&path)).unwrap();
    assert!(!config.refresh().unwrap());
    fs::write(&path, "rate_limit: {interval: 1s, burst: 33}\n").unwrap();
    assert!(config.refresh().unwrap());
    assert_eq!(config.loaded.rate_limit.unwrap().burst, 33);
    fs::write(&path, "rate_limit: {interval: soon}\n").unwrap();
    let error = config.refresh().unwrap_err().to_string();
    assert!(error.contains("rate_limit.interval"), "{error}");
    assert_eq!(config.loaded.rate_limit.unwrap().burst, 33);
    assert!(!config.refresh().unwrap());
    assert!(config.wrong.as_ref().unwrap().contains("stay in force"));
    // Mended, with what is in force.
    fs::write(&path, "rate_limit: {interval: 1s, burst: 33}\n").unwrap();
    assert!(!config.refresh().unwrap());
    assert_eq!(config.wrong, None);
    fs::remove_file(&path).unwrap();
    assert!(config.refresh().is_err());
}

#[test]
fn certificates_that_do_not_fit_are_found_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    fs::write(
        &path,
        "tls_server_config: {cert_file: c.pem, key_file: k.pem}\n",
    )
    .unwrap();
    let missing = WebConfig::load(Some(&path)).err().unwrap().to_string();
    assert!(missing.contains("c.pem cannot be read"), "{missing}");
    fs::write(folder.path().join("c.pem"), "no certificate").unwrap();
    fs::write(folder.path().join("k.pem"), "secret of nobody").unwrap();
    let wrong = WebConfig::load(Some(&path)).err().unwrap().to_string();
    assert!(wrong.contains("cert_file holds no certificate"), "{wrong}");
    assert!(!wrong.contains("secret"), "{wrong}");
}

#[test]
fn damaged_files_are_read() {
    crate::damaged::run("web-config", 3000, |bytes| {
        let _ = parsed(&String::from_utf8_lossy(bytes));
    });
}
