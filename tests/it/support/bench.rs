//! A gate, a provider that can be made to misbehave, and a browser in between.

use portcullis::config::{Config, IdentityKind, OidcSettings};

use super::browser::{Browser, location, parameter};
use super::gate::{Answer, Given, TestClient, TestGate, tokens};
use super::provider::FakeProvider;

/// The settings of the only provider of a configuration.
pub(crate) fn provider_settings(config: &mut Config) -> &mut OidcSettings {
    match &mut config.identities[0].kind {
        IdentityKind::Oidc(settings) => settings,
        IdentityKind::Local(_) => panic!("there are local users only"),
    }
}

/// A gate in front of a provider that can be made to misbehave, and a browser that begins to sign in there.
pub(crate) struct Bench {
    pub(crate) gate: TestGate,
    pub(crate) provider: FakeProvider,
    pub(crate) client: TestClient,
    pub(crate) browser: Browser,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (gate, provider) = TestGate::with_provider(change).await;
        let client = gate.register().await;
        Self { gate, provider, client, browser: Browser::default() }
    }

    /// Approves; returns the URL at the provider.
    pub(crate) async fn approve(&mut self) -> String {
        let form = self.gate.consent_form(&mut self.browser, &self.client, &[]).await;
        let form = form.with("decision", "approve").with("identity", "keycloak");
        location(&self.browser.submit(&self.gate, &form).await)
    }

    /// Brings an answer of the provider's back.
    pub(crate) async fn back(&mut self, url: &str) -> Answer {
        let path = url.strip_prefix(self.gate.origin()).unwrap_or_else(|| panic!("{url} is not ours")).to_owned();
        self.browser.get(&self.gate, &path).await
    }

    /// The whole way to the client's redirect URI.
    pub(crate) async fn sign_in(&mut self) -> String {
        let url = self.approve().await;
        let answer = self.back(&self.provider.visit(&url)).await;
        location(&answer)
    }

    pub(crate) async fn tokens(&mut self) -> Given {
        let url = self.sign_in().await;
        let code = parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"));
        tokens(&self.gate.redeem(&self.client, &code).await)
    }

    /// An answer that the provider did not send.
    pub(crate) fn error(&self, url: &str, error: &str) -> String {
        let state = parameter(url, "state").unwrap();
        format!("{}/callback/keycloak?error={error}&state={state}&iss={}", self.gate.origin(), self.provider.issuer())
    }
}
