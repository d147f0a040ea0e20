//! `ca_file`: roots of trust besides those of the machine.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::problem::io_message;

/// The root certificates of a PEM file; at least one. Cheap to clone.
#[derive(Clone)]
pub struct CaFile(Arc<[TrustAnchor<'static>]>);

impl CaFile {
    /// Reads the file once, at start.
    ///
    /// # Errors
    /// Why the file is not usable, without its name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let refuse = |error: Error| match error {
            Error::Io(error) => format!("the file cannot be read: {}", io_message(&error)),
            _ => "the file is damaged: it has PEM sections that cannot be read".to_owned(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(refuse)? {
            roots.add(certificate.map_err(refuse)?).or(Err("the file holds a certificate that cannot be a root"))?;
        }
        if roots.is_empty() { Err("the file holds no certificate".to_owned()) } else { Ok(Self(roots.roots.into())) }
    }

    /// The roots.
    pub fn roots(&self) -> impl Iterator<Item = TrustAnchor<'static>> {
        self.0.iter().cloned()
    }
}

impl fmt::Debug for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[certificates: {}]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::CaFile;

    #[test]
    fn a_file_without_valid_root_certificates_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let damaged = good.replacen("MII", "M II*", 1);
        let torn = good.replacen("-----END CERTIFICATE-----", "", 1);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let damage_message = "the file is damaged: it has PEM sections that cannot be read";
        for (text, answer) in [
            (format!("# ours\n{good}{good}"), Ok(2)),
            (String::new(), Err("the file holds no certificate")),
            (key.serialize_pem(), Err("the file holds no certificate")),
            (damaged, Err(damage_message)),
            (torn, Err(damage_message)),
            (nonsense.to_owned(), Err("the file holds a certificate that cannot be a root")),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(CaFile::read(&path).map(|file| file.roots().count()), answer.map_err(str::to_owned), "{text}");
        }
        let absent = CaFile::read(&directory.path().join("x")).unwrap_err();
        assert_eq!(absent, "the file cannot be read: there is no such file or directory");
    }
}
