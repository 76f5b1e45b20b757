//! TLS as the web config file asks for it, by rustls: versions 1.2 and 1.3, suites with forward secrecy and
//! authenticated encryption. Everything else that exporter-toolkit knows is refused by name.

use std::sync::Arc;

use tokio_rustls::rustls::{
    CipherSuite, DistinguishedName, NamedGroup, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};

use super::{ClientAuth, Tls};

/// The names of Go's crypto/tls, which are those of the IANA.
const SUITES: [(&str, CipherSuite); 9] = [
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const CURVES: [(&str, NamedGroup); 3] = [
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
    ("X25519", NamedGroup::X25519),
];

/// Whether 1.2 and 1.3 are spoken.
pub(super) fn versions(min: Option<&str>, max: Option<&str>) -> Result<(bool, bool), String> {
    let number = |name: &str, what: &str| match name {
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        "TLS10" | "TLS11" => Err(format!(
            "{what} {name} is not offered: TLS 1.0 and 1.1 are broken (RFC 8996); use TLS12 or TLS13"
        )),
        other => Err(format!(
            "{what} {other} is not known: there are TLS12 and TLS13"
        )),
    };
    let min = min.map_or(Ok(12), |name| number(name, "min_version"))?;
    let max = max.map_or(Ok(13), |name| number(name, "max_version"))?;
    if min > max {
        return Err("min_version is above max_version".to_owned());
    }
    Ok((min == 12, max == 13))
}

/// Everything that the file names must be had; leaving one out silently could leave none in common.
pub(super) fn check_names(suites: &[String], curves: &[String]) -> Result<(), String> {
    if let Some(other) = suites.iter().find(|name| suite(name).is_none()) {
        return Err(format!(
            "cipher suite {other} is not offered: only suites with forward secrecy and authenticated \
             encryption are (no CBC, no RC4, no RSA key exchange)"
        ));
    }
    if let Some(other) = curves.iter().find(|name| curve(name).is_none()) {
        return Err(format!(
            "curve {other} is not offered: there are CurveP256, CurveP384 and X25519"
        ));
    }
    Ok(())
}

/// Go knows the two `ChaCha` suites by a shorter and a longer name.
fn suite(name: &str) -> Option<CipherSuite> {
    let known = |(known, _): &&(&str, CipherSuite)| {
        *known == name || name.strip_suffix("_SHA256") == Some(*known)
    };
    SUITES.iter().find(known).map(|(_, suite)| *suite)
}

fn curve(name: &str) -> Option<NamedGroup> {
    CURVES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, group)| *group)
}

pub(super) fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(provider(tls));
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    versions.extend(tls.tls13.then_some(&TLS13));
    versions.extend(tls.tls12.then_some(&TLS12));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("these TLS settings leave nothing: {error}"))?;
    let chain = certificates(&tls.cert, "cert_file")?;
    let key = PrivateKeyDer::from_pem_slice(&tls.key)
        .map_err(|_| "key_file holds no private key in PEM format".to_owned())?;
    let mut config = match verifier(tls, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(chain, key)
    .map_err(|error| format!("certificate and key cannot be used: {error}"))?;
    config.ignore_client_order = tls.prefer_server_order;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    let suites: Vec<CipherSuite> = tls
        .cipher_suites
        .iter()
        .filter_map(|name| suite(name))
        .collect();
    if !suites.is_empty() {
        // As in Go, the list is about TLS 1.2; the suites of 1.3 are not chosen.
        provider
            .cipher_suites
            .retain(|known| known.version() == &TLS13 || suites.contains(&known.suite()));
    }
    let curves: Vec<NamedGroup> = tls.curves.iter().filter_map(|name| curve(name)).collect();
    if !curves.is_empty() {
        provider
            .kx_groups
            .retain(|group| curves.contains(&group.name()));
        provider
            .kx_groups
            .sort_by_key(|group| curves.iter().position(|name| *name == group.name()));
    }
    provider
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(format!("{what} holds no certificate in PEM format")),
    }
}

fn verifier(
    tls: &Tls,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(ca) = &tls.client_ca else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for one in certificates(ca, "client_ca_file")? {
        roots
            .add(one)
            .map_err(|error| format!("client_ca_file cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let built = match tls.client_auth {
        ClientAuth::IfGiven => builder.allow_unauthenticated().build(),
        ClientAuth::None | ClientAuth::Required => builder.build(),
    };
    let inner = built.map_err(|error| format!("client_ca_file cannot be used: {error}"))?;
    if tls.client_allowed_sans.is_empty() {
        return Ok(Some(inner));
    }
    Ok(Some(Arc::new(OnlyNamed {
        inner,
        names: tls.client_allowed_sans.clone(),
    })))
}

/// Takes certificates that the authority signed, for one of some names.
#[derive(Debug)]
struct OnlyNamed {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for OnlyNamed {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, tokio_rustls::rustls::Error> {
        use tokio_rustls::rustls::{
            CertificateError, Error, client::verify_server_name, pki_types::ServerName,
            server::ParsedCertificate,
        };
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let fits = |name: &String| {
            ServerName::try_from(name.as_str())
                .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
        };
        if self.names.iter().any(fits) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &tokio_rustls::rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
