//! Whom we believe: the machine's own roots, and those that the operator named.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Read once: it is a file of 300 KB, and every provider and upstream has a client of its own.
static MACHINE_ROOTS: LazyLock<RootCertStore> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for cause in &found.errors {
        tracing::warn!(%cause, "some of this machine's root certificates cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!("this machine has no root certificates (package ca-certificates): only `ca_file` is trusted");
    }
    tracing::debug!(usable, unusable, "root certificates");
    roots
});

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct CaFileError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub cause: String,
}

/// The TLS settings for given extra roots: the machine's own, and those of each PEM file.
///
/// # Errors
/// When a file cannot be read or holds no certificate.
///
/// # Panics
/// When the TLS library refuses its own protocol versions.
pub fn tls_config(ca_files: &[PathBuf]) -> Result<ClientConfig, CaFileError> {
    let mut roots = MACHINE_ROOTS.clone();
    for file in ca_files {
        add(&mut roots, file).map_err(|cause| CaFileError { path: file.display().to_string(), cause })?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(clippy::expect_used, reason = "the provider supports the protocol versions that we compile in")]
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3");
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), String> {
    let pem = std::fs::read(file).map_err(|cause| format!("cannot be read: {cause}"))?;
    let mut any = false;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| format!("is no PEM file: {cause}"))?;
        roots.add(certificate).map_err(|cause| format!("holds a certificate that cannot be used: {cause}"))?;
        any = true;
    }
    if any {
        Ok(())
    } else {
        Err("holds no certificate: a PEM file with `-----BEGIN CERTIFICATE-----` is expected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::tls_config;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (path, cause) in [
            (dir.path().join("absent.pem"), "cannot be read: No such file"),
            (file("empty.pem", ""), "holds no certificate"),
            (file("key.pem", key), "holds no certificate"),
            (file("broken.pem", broken), "holds a certificate that cannot be used"),
            (file("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "is no PEM file"),
        ] {
            let error = tls_config(std::slice::from_ref(&path)).unwrap_err();
            assert_eq!(PathBuf::from(&error.path), path);
            assert!(error.cause.starts_with(cause), "{error}");
        }
    }

    #[test]
    fn every_certificate_of_a_file_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem();
        let path = dir.path().join("two.pem");
        std::fs::write(&path, format!("# ours\n{}{}", pem("a"), pem("b"))).unwrap();
        assert!(tls_config(&[path]).is_ok());
    }
}
