//! What went wrong with a call, in words that name the mend. Never the URL: a query may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

/// The step that failed, and the mend where there is one.
pub(super) fn words(error: &reqwest::Error, place: &str, timeout: Duration) -> String {
    if error.is_builder() {
        return format!("the address cannot be used: {}", innermost(error));
    }
    if let Some(tls) = causes(error).find_map(tls_error) {
        return tls_words(place, tls);
    }
    if error.is_dns() {
        return format!("the name {place} cannot be resolved");
    }
    if error.is_timeout() {
        return if error.is_connect() {
            format!("no connection to {place} within {} s", super::CONNECT_TIMEOUT.min(timeout).as_secs())
        } else {
            format!("no answer from {place} within {} s", timeout.as_secs_f32())
        };
    }
    let io = causes(error).find_map(io_error);
    match (error.is_connect(), io) {
        (true, Some(io::ErrorKind::ConnectionRefused)) => {
            format!("{place} refuses the connection: nothing listens there")
        }
        (true, _) => format!("no connection to {place}: {}", innermost(error)),
        (false, _) => format!("the answer of {place} broke off: {}", innermost(error)),
    }
}

fn tls_words(place: &str, error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "the certificate of {place} is signed by nobody we know: name the certificate of its authority in `ca_file`"
        ),
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("the certificate of {place} is for another name: {error}")
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {place} has expired")
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            format!("the certificate of {place} is not valid yet: check this machine's clock")
        }
        InvalidCertificate(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!("{place} shows the certificate of an authority as its own: give it one that the authority signed")
        }
        InvalidMessage(_) => format!("{place} does not speak TLS on this port: is the address http?"),
        AlertReceived(alert) => format!("{place} refuses our TLS: {alert:?}"),
        _ => format!("no TLS with {place}: {error}"),
    }
}

/// An error and what caused it, down to the first. An I/O error hides what it wraps from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    })
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref()
}

fn io_error(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}
