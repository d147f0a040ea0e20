//! What went wrong with a call. Never the URL: a query may hold a secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::diagnosis::Diagnosis;

/// The hint when no connection to a server comes about.
const REACH: &str = "check that the server runs, and that this machine can reach it under that address; behind a company \
     proxy, set `proxy` in [outbound]";
/// The hint when a name cannot be resolved.
const RESOLVE: &str = "check the spelling; where only a company proxy can resolve it, set `proxy` in [outbound]";
/// The hint when the proxy does not lead to the server.
const TUNNEL: &str = "check `proxy` in [outbound]; `no_proxy` there names what is called directly";

/// Which step of a control-plane call failed. `proxy` is the one that the call went through; the time limits are those of
/// the connection and of the whole call.
pub(super) fn diagnose(
    error: &reqwest::Error,
    place: &str,
    proxy: Option<&str>,
    connect_timeout: Duration,
    timeout: Duration,
) -> Diagnosis {
    if let Some(proxy) = proxy.filter(|_| error.is_connect() && cause::<rustls::Error>(error).is_none()) {
        return Diagnosis::new(no_tunnel(error, place, proxy)).with_hint(TUNNEL);
    }
    if error.is_builder() {
        return Diagnosis::new(format!("the address cannot be used: {}", innermost(error)));
    }
    if error.is_dns() {
        return Diagnosis::new(format!("the name {place} cannot be resolved")).with_hint(RESOLVE);
    }
    if error.is_timeout() && error.is_connect() {
        let seconds = connect_timeout.min(timeout).as_secs();
        return Diagnosis::new(format!("no connection to {place} within {seconds} s")).with_hint(REACH);
    }
    if error.is_timeout() {
        let seconds = timeout.as_secs_f32();
        return Diagnosis::new(format!("no answer from {place} within {seconds} s"))
            .with_hint("the server accepts connections: check its port, and its own log");
    }
    if let Some(tls) = cause(error) {
        return tls_diagnosis(place, tls).of_tls();
    }
    if error.is_connect() {
        return Diagnosis::new(connection_words(error, place)).with_hint(REACH);
    }
    Diagnosis::new(format!("the answer of {place} broke off: {}", innermost(error)))
}

/// Why the proxy does not lead to the server. The library's words for it hold neither URL nor password.
fn no_tunnel(error: &reqwest::Error, place: &str, proxy: &str) -> String {
    let what = if error.is_dns() {
        "its name cannot be resolved".to_owned()
    } else if error.is_timeout() {
        "no connection in time".to_owned()
    } else if is_refused(error) {
        "it refuses the connection".to_owned()
    } else {
        innermost(error)
    };
    format!("{place} cannot be reached through the proxy {proxy}: {what}")
}

/// Why no connection to a server came about, TLS included. The hint for a server that cannot be reached depends on what it
/// is, so the caller adds it.
pub(crate) fn no_connection(error: &(dyn Error + 'static), place: &str) -> String {
    match cause(error) {
        Some(tls) => tls_diagnosis(place, tls).to_string(),
        None => connection_words(error, place),
    }
}

fn connection_words(error: &(dyn Error + 'static), place: &str) -> String {
    if is_refused(error) {
        format!("{place} refuses the connection: nothing listens there")
    } else {
        format!("no connection to {place}: {}", innermost(error))
    }
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    cause(error).map(io::Error::kind) == Some(io::ErrorKind::ConnectionRefused)
}

/// The last cause tells what happened; those before it only that something did.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

/// The first cause of a type.
pub(crate) fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn tls_diagnosis(place: &str, error: &rustls::Error) -> Diagnosis {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    let certificate = |what: &str| Diagnosis::new(format!("the certificate of {place} {what}"));
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            certificate("is signed by an authority that is not trusted here")
                .with_hint("name the certificate of that authority in `ca_file`")
        }
        InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            certificate(&format!("is for another name: {error}"))
                .with_hint("call the server by a name in its certificate")
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            certificate("has expired").with_hint("renew it, or correct this machine's clock")
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            certificate("is not valid yet").with_hint("check this machine's clock")
        }
        InvalidCertificate(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            Diagnosis::new(format!("{place} shows the certificate of an authority as its own"))
                .with_hint("give the server a certificate that the authority signed")
        }
        InvalidMessage(_) => {
            Diagnosis::new(format!("{place} does not speak TLS on this port")).with_hint("is the address http?")
        }
        AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Diagnosis::new(format!("{place} speaks none of our protocols over TLS")).with_hint("let it offer HTTP/1.1")
        }
        AlertReceived(alert) => Diagnosis::new(format!("{place} refuses our TLS: {alert:?}")),
        _ => Diagnosis::new(format!("no TLS with {place}: {error}")),
    }
}

/// An error and what caused it, down to the first. An I/O error hides what it wraps from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    })
}
