//! `ca_file`: roots that are trusted besides the machine's own.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::problem::io_words;

/// The certificates of a PEM file, each of which can be a root; at least one. Cheap to clone.
#[derive(Clone)]
pub struct CaFile(Arc<[TrustAnchor<'static>]>);

impl CaFile {
    /// Reads the file, once: what becomes of it afterwards changes nothing.
    ///
    /// # Errors
    /// Says what the file is instead of one of certificates; the words do not name it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let refuse = |error: Error| match error {
            Error::Io(error) => format!("the file cannot be read: {}", io_words(&error)),
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
    fn only_a_file_of_certificates_is_a_file_of_roots() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let damaged = good.replacen("MII", "M II*", 1);
        let torn = good.replacen("-----END CERTIFICATE-----", "", 1);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let words_of_damage = "the file is damaged: it has PEM sections that cannot be read";
        for (text, answer) in [
            (format!("# ours\n{good}{good}"), Ok(2)),
            (String::new(), Err("the file holds no certificate")),
            (key.serialize_pem(), Err("the file holds no certificate")),
            (damaged, Err(words_of_damage)),
            (torn, Err(words_of_damage)),
            (nonsense.to_owned(), Err("the file holds a certificate that cannot be a root")),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(CaFile::read(&path).map(|file| file.roots().count()), answer.map_err(str::to_owned), "{text}");
        }
        let absent = CaFile::read(&directory.path().join("x")).unwrap_err();
        assert_eq!(absent, "the file cannot be read: there is no such file or directory");
    }
}
