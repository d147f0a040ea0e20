//! What went wrong with a call, in words that name the mend. Never the URL: a query may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

/// The step of a control-plane call that failed, and the mend where there is one. `proxy` is where the call went through.
pub(super) fn words(error: &reqwest::Error, place: &str, proxy: Option<&str>, timeout: Duration) -> String {
    if let Some(proxy) = proxy.filter(|_| error.is_connect() && cause::<rustls::Error>(error).is_none()) {
        return no_tunnel(error, place, proxy);
    }
    match () {
        () if error.is_builder() => format!("the address cannot be used: {}", innermost(error)),
        () if error.is_dns() => format!("the name {place} cannot be resolved"),
        () if error.is_timeout() && error.is_connect() => {
            format!("no connection to {place} within {} s", super::CONNECT_TIMEOUT.min(timeout).as_secs())
        }
        () if error.is_timeout() => format!("no answer from {place} within {} s", timeout.as_secs_f32()),
        () if error.is_connect() || cause::<rustls::Error>(error).is_some() => no_connection(error, place),
        () => format!("the answer of {place} broke off: {}", innermost(error)),
    }
}

/// Why a proxy leads to no place. The library's words for it hold neither URL nor password.
fn no_tunnel(error: &reqwest::Error, place: &str, proxy: &str) -> String {
    let what = match () {
        () if error.is_dns() => "its name cannot be resolved".to_owned(),
        () if error.is_timeout() => "no connection in time".to_owned(),
        () if cause(error).map(io::Error::kind) == Some(io::ErrorKind::ConnectionRefused) => {
            "it refuses the connection".to_owned()
        }
        () => innermost(error),
    };
    format!("{place} cannot be reached through the proxy {proxy}: {what}")
}

/// Why no connection to a place came about, TLS included.
pub(crate) fn no_connection(error: &(dyn Error + 'static), place: &str) -> String {
    if let Some(tls) = cause(error) {
        return tls_words(place, tls);
    }
    match cause(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => format!("{place} refuses the connection: nothing listens there"),
        _ => format!("no connection to {place}: {}", innermost(error)),
    }
}

/// The last cause tells what happened; those before it only that something did.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// The first cause of a type.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
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
        AlertReceived(AlertDescription::NoApplicationProtocol) => {
            format!("{place} speaks none of our protocols over TLS: let it offer HTTP/1.1")
        }
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
