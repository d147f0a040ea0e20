//! A client that has a key, and proves it (RFC 9449).

use http::header::CONTENT_TYPE;
use portcullis::config::{BoundTokens, Config, Dpop, ProofReplay};
use portcullis::keys::Sealer;
use portcullis::keys::dpop::Nonces;
use portcullis::secret::{Sha256, base64url, random};
use serde_json::{Value, json};

use super::gate::{Answer, Given, TestClient, TestGate, VERIFIER, tokens};
use super::provider::{TestAlgorithm, TestKey};

/// What the first upstream of a configuration takes.
pub(crate) fn take(config: &mut Config, tokens: BoundTokens) {
    config.upstreams[0].settings.dpop = Dpop { tokens, replay: ProofReplay::Process };
}

/// A gate whose upstream takes bound tokens and others.
pub(crate) async fn optional() -> TestGate {
    TestGate::with(|config| take(config, BoundTokens::Optional)).await
}

/// The nonce that a gate gives out now.
pub(crate) fn nonce(gate: &TestGate) -> String {
    Nonces::new(&Sealer::new(&gate.config.secrets), gate.origin()).current(gate.clock.now())
}

/// A key pair of a client.
pub(crate) struct Holder(pub(crate) TestKey);

impl Holder {
    pub(crate) fn new() -> Self {
        Self(TestKey::new(TestAlgorithm::Es256, "not looked at"))
    }

    pub(crate) fn jwk(&self) -> Value {
        self.0.jwk()
    }

    /// The thumbprint of the key (RFC 7638 3).
    pub(crate) fn jkt(&self) -> String {
        let jwk = self.jwk();
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        base64url(Sha256::of(members.as_bytes()).as_bytes())
    }

    /// A proof in good order for a request to this path, whose header and claims are then edited.
    pub(crate) fn edited(
        &self,
        gate: &TestGate,
        (method, path): (&str, &str),
        edit: impl FnOnce(&mut Value, &mut Value),
    ) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        let mut claims = json!({
            "jti": base64url(&random::<16>()), "htm": method, "htu": format!("{}{path}", gate.origin()),
            "iat": gate.clock.now().0, "nonce": nonce(gate),
        });
        edit(&mut header, &mut claims);
        self.0.jws(&header, &claims)
    }

    /// A proof for the token endpoint.
    pub(crate) fn for_tokens(&self, gate: &TestGate) -> String {
        self.edited(gate, ("POST", "/token"), |_, _| {})
    }

    /// A proof for a call with this token.
    pub(crate) fn for_call(&self, gate: &TestGate, method: &str, token: &str) -> String {
        self.edited(gate, (method, "/mcp"), |_, claims| claims["ath"] = ath(token))
    }

    /// Signs in and redeems the code with a proof.
    pub(crate) async fn tokens(&self, gate: &TestGate, client: &TestClient) -> Given {
        let code = gate.code(client).await;
        tokens(&redeem(gate, client, &code, &[&self.for_tokens(gate)]).await)
    }

    pub(crate) async fn refresh(&self, gate: &TestGate, client: &TestClient, token: &str) -> Answer {
        refresh(gate, client, token, &[&self.for_tokens(gate)]).await
    }

    /// Calls the first upstream with a bound token.
    pub(crate) async fn call(&self, gate: &TestGate, token: &str) -> Answer {
        call(gate, "POST", token, &[&self.for_call(gate, "POST", token)]).await
    }
}

/// The claim `ath` for a token.
pub(crate) fn ath(token: &str) -> Value {
    json!(base64url(Sha256::of(token.as_bytes()).as_bytes()))
}

/// A token request with these `DPoP` headers.
pub(crate) async fn ask(gate: &TestGate, fields: &[(&str, &str)], proofs: &[&str]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut request = gate.request("POST", "/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    for proof in proofs {
        request = request.header("dpop", *proof);
    }
    gate.send(request, body).await
}

pub(crate) async fn redeem(gate: &TestGate, client: &TestClient, code: &str, proofs: &[&str]) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &client.id),
        ("code", code),
        ("redirect_uri", &client.redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    ask(gate, &fields, proofs).await
}

pub(crate) async fn refresh(gate: &TestGate, client: &TestClient, token: &str, proofs: &[&str]) -> Answer {
    let fields = [("grant_type", "refresh_token"), ("client_id", &client.id), ("refresh_token", token)];
    ask(gate, &fields, proofs).await
}

/// A call of the first upstream under the scheme DPoP, with these `DPoP` headers.
pub(crate) async fn call(gate: &TestGate, method: &str, token: &str, proofs: &[&str]) -> Answer {
    const BODY: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    let mut request = gate.request(method, "/mcp").header("authorization", format!("DPoP {token}"));
    for proof in proofs {
        request = request.header("dpop", *proof);
    }
    if method != "POST" {
        return gate.send(request, "").await;
    }
    let request = request.header(CONTENT_TYPE, "application/json").header("content-length", BODY.len());
    gate.send(request.header("accept", "application/json, text/event-stream"), BODY).await
}
