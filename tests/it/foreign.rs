//! Access tokens of other issuers: which open an upstream, and what their holder may do.

mod alone;
mod entra;
mod hostile;
mod opaque;
mod tokens;

use std::sync::Arc;

use portcullis::config::{
    AcceptedIssuer, Accepts, Admission, Config, GroupSources, IssuerKind, TokenIssuer, Verification,
};
use serde_json::{Value, json};

use crate::support::gate::{Answer, TestGate};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, FakeProvider, TestAlgorithm, TestKey};

/// The audience of the first upstream.
const AUDIENCE: &str = "http://127.0.0.1:6749/mcp";

/// A gate whose first upstream accepts the tokens of a provider, and the key that signs them.
struct Bench {
    gate: TestGate,
    provider: FakeProvider,
    key: TestKey,
}

impl Bench {
    /// Its upstream accepts our own tokens as well.
    async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// The same with other settings of the issuer, and then of everything.
    async fn with(change: impl FnOnce(&mut TokenIssuer, &mut Config)) -> Self {
        let (gate, provider) = TestGate::with_provider(|_| {}).await;
        let key = TestKey::new(TestAlgorithm::Es256, "corp");
        provider.rotate(key.clone(), true);
        provider.edit_discovery(|document| {
            let issuer = document["issuer"].as_str().unwrap();
            document["introspection_endpoint"] = json!(format!("{issuer}/introspect"));
        });
        let (mut issuer, mut config) = (issuer_of(&provider), Config::clone(&gate.config));
        change(&mut issuer, &mut config);
        let audiences = issuer.audiences.clone();
        let accepted = AcceptedIssuer::new(Arc::new(issuer), &audiences);
        config.upstreams[0].settings.accepts.foreign.push(accepted);
        let gate = gate.restart_with(|before| *before = config).await;
        Self { gate, provider, key }
    }

    fn header(&self) -> Value {
        json!({"alg": self.key.algorithm_name(), "kid": self.key.kid(), "typ": "JWT"})
    }

    /// What Keycloak writes into an access token.
    fn claims(&self) -> Value {
        let now = self.gate.clock.now().0;
        json!({
            "iss": self.provider.issuer(), "aud": [AUDIENCE, "account"], "sub": "alice-id", "typ": "Bearer", "azp": "vscode",
            "iat": now, "exp": now + 300, "jti": "1", "sid": "s", "scope": "openid email mcp:access",
            "preferred_username": "alice", "email": "alice@example.com", "email_verified": true,
            "groups": ["/eng/core"], "realm_access": {"roles": ["staff"]},
        })
    }

    fn token(&self) -> String {
        self.key.jws(&self.header(), &self.claims())
    }

    /// A token with claims changed; null takes one away.
    fn token_with(&self, changes: &Value) -> String {
        self.key.jws(&self.header(), &edited(self.claims(), changes))
    }

    /// A token with members of the header changed.
    fn token_headed(&self, changes: &Value) -> String {
        self.key.jws(&edited(self.header(), changes), &self.claims())
    }

    async fn call(&self, token: &str) -> Answer {
        self.gate.call(token).await
    }
}

fn edited(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

/// The provider as an issuer of access tokens, with the defaults of `kind = "keycloak"`.
fn issuer_of(provider: &FakeProvider) -> TokenIssuer {
    let issuer = provider.issuer();
    TokenIssuer {
        id: "corp".to_owned(),
        kind: IssuerKind::Keycloak,
        advertised: issuer.clone(),
        discovery: format!("{issuer}/.well-known/openid-configuration").parse().unwrap(),
        issuer,
        jwks_uri: None,
        verification: Verification::Jwt,
        audiences: vec![AUDIENCE.to_owned()],
        scope_claims: vec!["scope".to_owned()],
        scope_prefix: None,
        groups: GroupSources::default(),
        admission: Admission::default(),
        algorithms: ["ES256", "RS256"].map(str::to_owned).to_vec(),
        typ: "jwt".to_owned(),
        tenants: Vec::new(),
        trust_email: false,
        ca_file: None,
    }
}

/// How an issuer is asked about tokens.
fn introspection() -> Verification {
    Verification::Introspection {
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.to_owned().into(),
        endpoint: None,
    }
}

/// No upstream accepts our own tokens.
fn alone(config: &mut Config) {
    for upstream in &mut config.upstreams {
        upstream.settings.accepts = Accepts { own: false, ..upstream.settings.accepts.clone() };
    }
    config.identities.clear();
    config.secrets.keys.clear();
}

/// A refusal of a token, with this `error_description`.
#[track_caller]
fn assert_unfit(answer: &Answer, description: &str, of: &str) {
    let challenge = answer.header("www-authenticate");
    assert_eq!(answer.status, 401, "{of}: {answer:?}");
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{of}: {challenge}");
    assert!(challenge.ends_with(&format!("error_description=\"{description}\"")), "{of}: {challenge}");
}
