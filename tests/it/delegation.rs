//! The credential that calls carry to the server behind (`[upstream.delegation]`).

mod assertion;
mod exchange;
mod hostile;
mod secret;

use portcullis::config::{Config, CredentialSource, ServerCredential};

/// Gives the first upstream a credential, in `Authorization`.
fn give(config: &mut Config, source: CredentialSource) {
    give_in(config, "authorization", source);
}

/// The same in another header.
fn give_in(config: &mut Config, header: &str, source: CredentialSource) {
    let header = header.parse().unwrap();
    config.upstreams[0].settings.credential = Some(ServerCredential { header, source });
}
