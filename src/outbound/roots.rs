//! Trusted roots: the machine's own, and those that the operator named.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig, RootCertStore};

use crate::config::CaFile;

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

/// The TLS settings for given extra roots: the machine's own, and those of each file.
///
/// # Panics
/// When the TLS library refuses its own protocol versions.
pub fn tls_config<'a>(ca_files: impl IntoIterator<Item = &'a CaFile>) -> ClientConfig {
    let mut roots = MACHINE_ROOTS.clone();
    roots.extend(ca_files.into_iter().flat_map(CaFile::roots));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(clippy::expect_used, reason = "the provider supports the protocol versions that we compile in")]
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3");
    versions.with_root_certificates(roots).with_no_client_auth()
}
