//! Which identity providers a page offers: those that can sign the user in now.

use futures_util::future::join_all;

use super::fault::{Fault, Trouble};
use crate::identity::{ExchangeError, Identities, Provider};
use crate::oauth::scope::ScopeSet;

/// Finds the providers that a page offers. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct ProviderChoices(pub(in crate::issuer) Identities);

/// One button of a page that leads to a sign-in.
#[derive(Debug)]
pub struct ProviderChoice {
    /// The value of the button.
    pub id: String,
    /// What people call the provider.
    pub name: String,
    /// What the provider is asked for; empty for users of our own.
    pub scope: ScopeSet,
}

impl ProviderChoices {
    /// The providers that can be reached. `refresh` says whether a client will get a refresh token.
    ///
    /// # Errors
    /// When none can be reached.
    pub(super) async fn reachable(&self, refresh: bool) -> Result<Vec<ProviderChoice>, Fault> {
        let asked = self.0.iter().map(async |provider| (provider, provider.is_reachable().await));
        let asked: Vec<(&Provider, Result<(), ExchangeError>)> = join_all(asked).await;
        let reachable = asked.iter().filter(|(_, answer)| answer.is_ok());
        let choices: Vec<_> = reachable.map(|(provider, _)| choice(provider, refresh)).collect();
        if !choices.is_empty() {
            return Ok(choices);
        }
        let names: Vec<_> = asked.iter().map(|(provider, _)| provider.name()).collect();
        let unreachable = asked.iter().filter_map(|(provider, answer)| Some((provider, answer.as_ref().err()?)));
        let causes: Vec<_> = unreachable.map(|(provider, error)| format!("{}: {error}", provider.name())).collect();
        Err(Fault::new(Trouble::ProviderUnavailable { provider: names.join(", ") }, causes.join("; ")))
    }
}

fn choice(provider: &Provider, refresh: bool) -> ProviderChoice {
    ProviderChoice {
        id: provider.id().to_string(),
        name: provider.name().to_owned(),
        scope: provider.requested_scopes(provider.asks_offline() && refresh),
    }
}
