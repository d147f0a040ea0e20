//! Callers without a user at a browser: clients that act for themselves, API keys, and identity assertions.

mod api_keys;
mod assertions;
mod client_credentials;

use portcullis::config::{Bounds, Config, ConfiguredClient};
use portcullis::oauth::client_metadata::AuthMethod;
use portcullis::oauth::scope::ScopeSet;
use portcullis::storage::GrantFilter;

use crate::support::gate::{Answer, TestGate, upstream};

/// The secret of every confidential client here.
const SECRET: &str = "a-secret-of-thirty-two-characters";

/// A confidential client of the configuration that may do nothing for itself.
fn confidential(id: &str) -> ConfiguredClient {
    ConfiguredClient {
        device: false,
        client_id: id.to_owned(),
        name: None,
        redirect_uris: Vec::new(),
        client_secret: Some(SECRET.to_owned().into()),
        keys: None,
        auth_method: AuthMethod::ClientSecretPost,
        machine: None,
        dpop_bound: false,
        introspects: Vec::new(),
    }
}

/// The same, that may act for itself at these upstreams.
fn machine(id: &str, upstreams: &[&str]) -> ConfiguredClient {
    ConfiguredClient { machine: Some(bounds(upstreams, None)), ..confidential(id) }
}

fn bounds(upstreams: &[&str], scopes: Option<&str>) -> Bounds {
    Bounds {
        upstreams: upstreams.iter().map(|id| (*id).to_owned()).collect(),
        scopes: scopes.map(|scopes| ScopeSet::parse(scopes).unwrap()),
    }
}

/// Adds an upstream at `/{id}` that answers as the first one does.
fn add_upstream(config: &mut Config, id: &str) {
    let url = match &config.upstreams[0].settings.reach {
        portcullis::config::Reach::Http(http) => http.url.to_string(),
    };
    config.upstreams.push(upstream(&config.public_url, id, &url));
}

/// A token request of a confidential client.
async fn ask(gate: &TestGate, client: &str, fields: &[(&str, &str)]) -> Answer {
    let own = [("client_id", client), ("client_secret", SECRET)];
    gate.post_form("/token", &own.iter().chain(fields).copied().collect::<Vec<_>>()).await
}

/// How many grants live.
async fn live_grants(gate: &TestGate) -> usize {
    gate.app.store().list_grants(&GrantFilter::default(), None, gate.clock.now(), 1000).await.unwrap().len()
}
