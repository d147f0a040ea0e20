//! `ca_file` at the top level: whom we believe besides the machine's own roots.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};

use super::problem::io_words;

/// How we reach providers and upstreams.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// PEM certificates that are trusted besides the machine's own.
    pub ca_file: Option<PathBuf>,
}

/// Whether a file holds PEM certificates that can be roots; the error says what it is instead.
pub(super) fn check_roots(path: &Path) -> Result<(), String> {
    let refuse = |error: Error| match error {
        Error::Io(error) => format!("the file cannot be read: {}", io_words(&error)),
        _ => "the file is damaged: it has PEM sections that cannot be read".to_owned(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(refuse)? {
        roots.add(certificate.map_err(refuse)?).or(Err("the file holds a certificate that cannot be a root"))?;
    }
    if roots.is_empty() { Err("the file holds no certificate".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::check_roots;

    #[test]
    fn only_a_file_of_certificates_is_a_file_of_roots() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let damaged = good.replacen("MII", "M II*", 1);
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, answer) in [
            (format!("{good}{good}"), Ok(())),
            (String::new(), Err("the file holds no certificate")),
            (key.serialize_pem(), Err("the file holds no certificate")),
            (damaged, Err("the file is damaged: it has PEM sections that cannot be read")),
            (nonsense.to_owned(), Err("the file holds a certificate that cannot be a root")),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(check_roots(&path), answer.map_err(str::to_owned));
        }
        assert_eq!(
            check_roots(&directory.path().join("x")),
            Err("the file cannot be read: there is no such file or directory".to_owned())
        );
    }
}
