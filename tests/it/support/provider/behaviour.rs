//! What the fake provider does unless a test tells it otherwise.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis::clock::Clock;
use portcullis::oauth::pkce::{CodeChallenge, CodeVerifier};
use portcullis::secret::{Sha256, base64url};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use url::Url;

use super::signing::{TestAlgorithm, TestKey, encryption_key};
use super::{CLIENT_ID, CLIENT_SECRET, Call, EXCHANGE_AUDIENCE, OfflineRefusal, Reply, SESSION_IDLE};

type Edit = Box<dyn Fn(&mut Value) + Send>;
type TokenEdit = Box<dyn Fn(&mut Value, &mut Value) + Send>;

pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) issuer: String,
    /// The first signs, all are published.
    pub(super) keys: Vec<TestKey>,
    /// Signs instead of the first, and is not published.
    pub(super) impostor: Option<TestKey>,
    pub(super) edit_discovery: Edit,
    pub(super) edit_jwks: Edit,
    pub(super) edit_id_token: TokenEdit,
    pub(super) token_replies: VecDeque<Reply>,
    /// While its sender lives, the token endpoint does not answer.
    pub(super) held: Option<(watch::Receiver<()>, Arc<Notify>)>,
    pub(super) user: Value,
    pub(super) client_secret: Option<String>,
    pub(super) offline_refusal: Option<OfflineRefusal>,
    pub(super) ended: bool,
    /// The session of the browser that signs in next (`sid`).
    pub(super) session: String,
    /// The sessions that have ended, and those whose offline access has.
    pub(super) ended_sessions: HashSet<String>,
    pub(super) ended_offline: HashSet<String>,
    /// As Dex: one refresh token for each user, and `invalid_request` for a dead one.
    pub(super) one_token_per_user: bool,
    /// As Google: a refresh token can be used again.
    pub(super) keeps_used_tokens: bool,
    /// What the userinfo endpoint says; `None`: there is no such endpoint.
    pub(super) userinfo: Option<Value>,
    codes: HashMap<String, Signed>,
    refresh_tokens: HashMap<String, Signed>,
    /// Whose each access token is.
    access_tokens: HashMap<String, String>,
    pub(super) revoked: Vec<String>,
    /// What is said of tokens (RFC 7662); others are not active.
    pub(super) introspected: HashMap<String, Value>,
    /// What it says to every such question instead, with 400.
    pub(super) introspection_refusal: Option<Value>,
    /// While its sender lives, such questions are not answered.
    pub(super) held_questions: Option<watch::Receiver<()>>,
    pub(super) calls: Vec<Call>,
    counter: u64,
}

#[derive(Clone)]
struct Signed {
    user: Value,
    nonce: Option<String>,
    challenge: Option<String>,
    redirect_uri: String,
    scope: String,
    /// The browser's session, in which the user signed in.
    session: String,
}

pub(super) async fn serve_connection<S>(stream: TokioIo<S>, state: Arc<Mutex<State>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    let _closed = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let form: HashMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let call = Call { path: head.uri.path().to_owned(), headers: head.headers, form };
    let (reply, released, questions) = {
        let mut state = state.lock().unwrap();
        state.calls.push(call.clone());
        let released = state.held.clone().filter(|_| call.path.ends_with("/token"));
        let path = call.path.strip_prefix("/realms/mcp").unwrap_or_default();
        let reply = match (head.method, path) {
            (Method::GET, "/.well-known/openid-configuration") => Some(json_answer(200, &state.discovery())),
            (Method::GET, "/certs") => Some(json_answer(200, &state.jwks())),
            (Method::GET, "/auth") => {
                let url = format!("http://provider{}", head.uri);
                Some(redirect(&state.authorize(&Url::parse(&url).unwrap())))
            }
            (Method::POST, "/token") => state.token(&call),
            (Method::GET, "/userinfo") => Some(state.userinfo(&call)),
            (Method::POST, "/revoke") => Some(state.revoke(&call)),
            (Method::POST, "/introspect") => Some(state.introspect(&call)),
            _ => Some(json_answer(404, &json!({"error": "Realm does not exist"}))),
        };
        let questions = state.held_questions.clone().filter(|_| call.path.ends_with("/introspect"));
        (reply, released, questions)
    };
    if let Some(mut questions) = questions {
        // an error: the sender is gone
        drop(questions.changed().await);
    }
    if let Some((mut released, reached)) = released {
        reached.notify_one();
        // an error: the sender is gone
        drop(released.changed().await);
    }
    match reply {
        Some(reply) => Ok(reply),
        None => std::future::pending().await,
    }
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    body_answer(StatusCode::from_u16(status).unwrap(), "application/json", body.to_string())
}

fn body_answer(status: StatusCode, media_type: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", media_type);
    response.header("cache-control", "no-store").body(Full::from(body)).unwrap()
}

fn redirect(location: &str) -> Response<Full<Bytes>> {
    Response::builder().status(302).header("location", location).body(Full::default()).unwrap()
}

impl State {
    pub(super) fn new(clock: &Clock, issuer: String) -> Self {
        Self {
            clock: clock.clone(),
            issuer,
            keys: vec![TestKey::new(TestAlgorithm::Es256, "first")],
            impostor: None,
            edit_discovery: Box::new(|_| {}),
            edit_jwks: Box::new(|_| {}),
            edit_id_token: Box::new(|_, _| {}),
            token_replies: VecDeque::new(),
            held: None,
            user: json!({"sub": "alice-id", "preferred_username": "alice", "name": "Alice A",
                         "email": "alice@example.com", "email_verified": true, "groups": ["/eng/core"]}),
            client_secret: Some(CLIENT_SECRET.to_owned()),
            offline_refusal: None,
            ended: false,
            session: "0gJ1".to_owned(),
            ended_sessions: HashSet::new(),
            ended_offline: HashSet::new(),
            one_token_per_user: false,
            keeps_used_tokens: false,
            userinfo: None,
            codes: HashMap::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: HashMap::new(),
            revoked: Vec::new(),
            introspected: HashMap::new(),
            introspection_refusal: None,
            held_questions: None,
            calls: Vec::new(),
            counter: 0,
        }
    }

    fn next(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}-{}", self.counter)
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/auth"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/certs"),
            "revocation_endpoint": at("/revoke"),
            "scopes_supported": ["openid", "offline_access", "profile", "email", "groups"],
            "response_types_supported": ["code", "none", "id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256", "HS256"],
            "token_endpoint_auth_methods_supported":
                ["private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        if self.userinfo.is_some() {
            document["userinfo_endpoint"] = json!(at("/userinfo"));
        }
        (self.edit_discovery)(&mut document);
        document
    }

    fn userinfo(&self, call: &Call) -> Response<Full<Bytes>> {
        let bearer = call.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match &self.userinfo {
            Some(claims) if bearer.starts_with("Bearer the-access-token-of-the-provider-") => json_answer(200, claims),
            _ => json_answer(401, &json!({"error": "invalid_token"})),
        }
    }

    /// As Keycloak publishes it: the key for encryption first.
    fn jwks(&self) -> Value {
        let mut keys = vec![encryption_key()];
        keys.extend(self.keys.iter().map(TestKey::jwk));
        let mut document = json!({ "keys": keys });
        (self.edit_jwks)(&mut document);
        document
    }

    pub(super) fn authorize(&mut self, url: &Url) -> String {
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let get = |name: &str| query.get(name).cloned();
        let mut callback = Url::parse(&get("redirect_uri").expect("a redirect_uri")).unwrap();
        let scope = get("scope").unwrap_or_default();
        let refused = self.offline_refusal == Some(OfflineRefusal::AtAuthorize) && scope.contains("offline_access");
        {
            let issuer = self.issuer.clone();
            let code = self.next("code");
            let mut pairs = callback.query_pairs_mut();
            if refused {
                pairs.append_pair("error", "invalid_scope");
                pairs.append_pair("error_description", &format!("Invalid scopes: {scope}"));
            } else {
                pairs.append_pair("code", &code);
                let signed = Signed {
                    user: self.user.clone(),
                    nonce: get("nonce"),
                    challenge: get("code_challenge"),
                    redirect_uri: get("redirect_uri").unwrap(),
                    scope,
                    session: self.session.clone(),
                };
                self.codes.insert(code, signed);
            }
            if let Some(state) = get("state") {
                pairs.append_pair("state", &state);
            }
            pairs.append_pair("iss", &issuer);
        }
        callback.into()
    }

    fn token(&mut self, call: &Call) -> Option<Response<Full<Bytes>>> {
        match self.token_replies.pop_front() {
            Some(Reply::Hang) => None,
            Some(Reply::Body(status, media_type, body)) => Some(body_answer(status, media_type, body)),
            Some(Reply::Edited(edit)) => {
                let (status, mut body) = self.well_behaved(call);
                edit(&mut body);
                Some(json_answer(status, &body))
            }
            None => {
                let (status, body) = self.well_behaved(call);
                Some(json_answer(status, &body))
            }
        }
    }

    fn well_behaved(&mut self, call: &Call) -> (u16, Value) {
        let error = |status, error: &str, description: &str| {
            (status, json!({"error": error, "error_description": description}))
        };
        if !self.knows_client(call) {
            return error(401, "unauthorized_client", "Invalid client or Invalid client credentials");
        }
        let get = |name: &str| call.form.get(name).map(String::as_str).unwrap_or_default();
        match get("grant_type") {
            "authorization_code" => {
                let Some(signed) = self.codes.remove(get("code")) else {
                    return error(400, "invalid_grant", "Code not valid");
                };
                if signed.redirect_uri != get("redirect_uri") {
                    return error(400, "invalid_grant", "Incorrect redirect_uri");
                }
                let proved = signed.challenge.as_deref().is_none_or(|challenge| {
                    let challenge = CodeChallenge::parse(challenge).unwrap();
                    CodeVerifier::parse(get("code_verifier")).is_some_and(|verifier| verifier.proves(&challenge))
                });
                if !proved {
                    return error(400, "invalid_grant", "PKCE verification failed: Code mismatch");
                }
                let offline = signed.scope.contains("offline_access");
                if offline && self.offline_refusal == Some(OfflineRefusal::AtToken) {
                    return error(400, "not_allowed", "Offline tokens not allowed for the user or client");
                }
                (200, self.tokens(&signed))
            }
            "refresh_token" => match self.refresh_tokens.remove(get("refresh_token")) {
                Some(signed) if !self.ended && !self.has_ended(&signed) => {
                    if self.keeps_used_tokens {
                        self.refresh_tokens.insert(get("refresh_token").to_owned(), signed.clone());
                    }
                    // Today's user, and no nonce.
                    let user = if self.user["sub"] == signed.user["sub"] { self.user.clone() } else { signed.user };
                    (200, self.tokens(&Signed { user, nonce: None, ..signed }))
                }
                _ if self.one_token_per_user => error(400, "invalid_request", "Refresh token is invalid"),
                _ => error(400, "invalid_grant", "Session not active"),
            },
            "urn:ietf:params:oauth:grant-type:token-exchange" => self.exchange(call),
            _ => error(400, "unsupported_grant_type", "Unsupported grant_type"),
        }
    }

    fn has_ended(&self, signed: &Signed) -> bool {
        let ended = if signed.scope.contains("offline_access") { &self.ended_offline } else { &self.ended_sessions };
        ended.contains(&signed.session)
    }

    /// As Keycloak makes it, before an edit of its header and claims.
    pub(super) fn logout_token(&mut self, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let (now, jti) = (self.clock.now().0, self.next("logout"));
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "sub": self.user["sub"], "sid": self.session, "typ": "Logout",
            "jti": jti, "iat": now, "exp": now + 120,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        let key = self.impostor.as_ref().unwrap_or(&self.keys[0]);
        let mut header = json!({"alg": key.algorithm_name(), "typ": "logout+jwt", "kid": key.kid()});
        edit(&mut header, &mut claims);
        key.jws(&header, &claims)
    }

    /// As Keycloak's standard exchange: of a token of its own, for a client that it knows.
    fn exchange(&mut self, call: &Call) -> (u16, Value) {
        let get = |name: &str| call.form.get(name).map(String::as_str).unwrap_or_default();
        let error = |status, error: &str, text: &str| (status, json!({"error": error, "error_description": text}));
        if get("audience") != EXCHANGE_AUDIENCE {
            return error(400, "invalid_client", "Audience not found");
        }
        let Some(sub) = self.access_tokens.get(get("subject_token")).cloned() else {
            return error(400, "invalid_request", "Invalid token");
        };
        let token = self.next(&format!("exchanged-for-{sub}"));
        (
            200,
            json!({"access_token": token, "token_type": "Bearer", "expires_in": 300,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "scope": get("scope")}),
        )
    }

    fn knows_client(&self, call: &Call) -> bool {
        let basic = call.headers.get("authorization").and_then(|value| value.to_str().ok());
        let shown = basic.and_then(|value| value.strip_prefix("Basic ")).map(|value| {
            let pair = String::from_utf8(data_encoding::BASE64.decode(value.as_bytes()).unwrap()).unwrap();
            let (id, secret) = pair.split_once(':').unwrap();
            let decode = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
            (decode(id).unwrap_or_default(), decode(secret))
        });
        let (id, secret) = shown.unwrap_or_else(|| {
            (call.form.get("client_id").cloned().unwrap_or_default(), call.form.get("client_secret").cloned())
        });
        id == CLIENT_ID && secret == self.client_secret
    }

    fn tokens(&mut self, signed: &Signed) -> Value {
        let refresh_token = self.next("provider-refresh-token");
        if self.one_token_per_user {
            self.refresh_tokens.retain(|_, other| other.user["sub"] != signed.user["sub"]);
        }
        self.refresh_tokens.insert(refresh_token.clone(), signed.clone());
        let offline = signed.scope.contains("offline_access");
        let access_token = self.next("the-access-token-of-the-provider");
        let sub = signed.user["sub"].as_str().unwrap_or_default().to_owned();
        self.access_tokens.insert(access_token.clone(), sub);
        let id_token = self.id_token(signed, &access_token);
        json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": refresh_token,
            "refresh_expires_in": if offline { 0 } else { SESSION_IDLE },
            "id_token": id_token,
            "session_state": signed.session,
            "scope": signed.scope,
        })
    }

    fn id_token(&self, signed: &Signed, access_token: &str) -> String {
        let now = self.clock.now().0;
        let at_hash = base64url(&Sha256::of(access_token.as_bytes()).as_bytes()[..16]);
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "azp": CLIENT_ID, "typ": "ID",
            "iat": now, "auth_time": now, "exp": now + 300, "sid": signed.session, "acr": "1", "at_hash": at_hash,
        });
        for (name, value) in signed.user.as_object().unwrap() {
            claims[name] = value.clone();
        }
        if let Some(nonce) = &signed.nonce {
            claims["nonce"] = json!(nonce);
        }
        let key = self.impostor.as_ref().unwrap_or(&self.keys[0]);
        let mut header = json!({"alg": key.algorithm_name(), "typ": "JWT", "kid": key.kid()});
        (self.edit_id_token)(&mut header, &mut claims);
        key.jws(&header, &claims)
    }

    fn introspect(&self, call: &Call) -> Response<Full<Bytes>> {
        if !self.knows_client(call) {
            return json_answer(
                401,
                &json!({"error": "invalid_request", "error_description": "Authentication failed."}),
            );
        }
        if let Some(refusal) = &self.introspection_refusal {
            return json_answer(400, refusal);
        }
        let token = call.form.get("token").map(String::as_str).unwrap_or_default();
        json_answer(200, self.introspected.get(token).unwrap_or(&json!({"active": false})))
    }

    fn revoke(&mut self, call: &Call) -> Response<Full<Bytes>> {
        if !self.knows_client(call) {
            return json_answer(401, &json!({"error": "unauthorized_client"}));
        }
        let token = call.form.get("token").cloned().unwrap_or_default();
        let known = self.refresh_tokens.remove(&token).is_some();
        self.revoked.push(token);
        if known {
            body_answer(StatusCode::OK, "application/json", String::new())
        } else {
            json_answer(200, &json!({"error": "invalid_token", "error_description": "Invalid token"}))
        }
    }
}
