//! Identity providers, against one that can be made to misbehave.

mod discovery;
mod id_token;
mod products;
mod renewal;
mod several;
mod sign_in;
mod userinfo;

use portcullis::clock::{Clock, Timestamp};
use portcullis::config::OidcSettings;
use portcullis::identity::{Begin, Exchange, ExchangeError, Identities, Oidc, Provider, SignInMethod, SignedIn};
use portcullis::oauth::pkce::CodeVerifier;
use portcullis::telemetry::metrics::Metrics;
use url::Url;

use crate::support::config;
use crate::support::provider::FakeProvider;

const NOW: i64 = 1_800_000_000;
const CALLBACK: &str = "https://mcp.example.com/callback/keycloak";
const NONCE: &str = "our-nonce";
const STATE: &str = "r_1.proof";

/// One provider and one of us.
struct Bench {
    provider: FakeProvider,
    identities: Identities,
    clock: Clock,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut OidcSettings)) -> Self {
        let clock = Clock::manual(Timestamp(NOW));
        let provider = FakeProvider::start(&clock).await;
        Self::around(provider, clock, edit)
    }

    fn around(provider: FakeProvider, clock: Clock, edit: impl FnOnce(&mut OidcSettings)) -> Self {
        let mut settings = provider.settings();
        edit(&mut settings);
        let mut identity = provider.identity();
        identity.kind = portcullis::config::IdentityKind::Oidc(Box::new(settings));
        let identities = Identities::new(&config(vec![identity]), &clock, &Metrics::default().providers);
        Self { provider, identities, clock }
    }

    fn us(&self) -> &Provider {
        self.identities.get("keycloak").unwrap()
    }

    fn oidc(&self) -> &Oidc {
        match self.us().sign_in_method() {
            SignInMethod::Redirect(oidc) => oidc,
            SignInMethod::Password(_) => panic!("a provider of our own"),
        }
    }

    fn verifier() -> CodeVerifier {
        CodeVerifier::from_bits(&[9; 32])
    }

    fn authorization_url(&self, offline: bool) -> Result<String, ExchangeError> {
        self.oidc().authorization_url(&Begin {
            state: STATE,
            nonce: NONCE,
            code_challenge: &Self::verifier().challenge(),
            redirect_uri: CALLBACK,
            offline,
            client: None,
        })
    }

    /// The code that the provider returns.
    async fn code(&self, offline: bool) -> String {
        self.us().prepare().await.unwrap();
        let callback = self.provider.visit(&self.authorization_url(offline).unwrap());
        let callback = Url::parse(&callback).unwrap();
        let code = callback.query_pairs().find(|(name, _)| name == "code").expect("a code");
        code.1.into_owned()
    }

    async fn exchange(&self, code: &str, offline: bool) -> Result<SignedIn, ExchangeError> {
        let exchange =
            Exchange { code, code_verifier: &Self::verifier(), nonce: NONCE, redirect_uri: CALLBACK, offline };
        self.oidc().exchange(&exchange).await
    }

    /// The whole round, asking for what discovery and standing allow.
    async fn sign_in(&self) -> Result<SignedIn, ExchangeError> {
        self.us().prepare().await?;
        let offline = self.us().asks_offline();
        let code = self.code(offline).await;
        self.exchange(&code, offline).await
    }
}

/// The words of a refusal that will not pass by itself.
fn refused<T: std::fmt::Debug>(result: Result<T, ExchangeError>) -> String {
    match result {
        Err(ExchangeError::Refused(words)) => words,
        other => panic!("not refused: {other:?}"),
    }
}

/// The words of a refusal that will pass.
fn unavailable<T: std::fmt::Debug>(result: Result<T, ExchangeError>) -> String {
    match result {
        Err(ExchangeError::Unavailable(words)) => words,
        other => panic!("not unavailable: {other:?}"),
    }
}
