//! All that changes while the emulator runs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use http::HeaderMap;
use portcullis::clock::Clock;
use serde_json::Value;

use super::directory::{App, Directory, Tenant, User, guid};
use super::keys::SigningKeys;

/// What becomes of the parameter `resource` (RFC 8707). Users measured all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceEra {
    /// Until early in 2026 the version 2 endpoints refused every request with it.
    RejectAll,
    /// From then on it must be, character for character, an Application ID URI of the app that owns the requested scopes.
    Match,
    /// Some clouds took no notice of it.
    Ignore,
}

/// An answer in the place of the real one.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The end of the path that it is for.
    pub(crate) path: String,
    pub(crate) status: u16,
    /// With a throttled request comes the time to wait.
    pub(crate) retry_after: Option<u32>,
    pub(crate) body: Option<Value>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) form: HashMap<String, String>,
    pub(crate) query: HashMap<String, String>,
}

/// What a user signed in for: behind a code, a refresh token or a device code.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: User,
    pub(crate) client_id: String,
    /// The tenant that the user signed in to.
    pub(crate) tenant: String,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) redirect_uri: String,
    /// The scopes of the authorization request.
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) policy: Option<String>,
    pub(crate) at: i64,
}

/// What conditional access wants of a user before the next token.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    pub(crate) error: &'static str,
    pub(crate) suberror: Option<&'static str>,
    pub(crate) number: u32,
    pub(crate) claims: Option<String>,
}

/// What the user said to a device.
#[derive(Debug, Clone)]
pub(crate) enum DeviceAnswer {
    Pending,
    Declined,
    Confirmed(User),
}

/// A device code.
#[derive(Debug, Clone)]
pub(crate) struct DeviceCode {
    pub(crate) client_id: String,
    pub(crate) user_code: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) tenant: String,
    pub(crate) expires_at: i64,
    pub(crate) answer: DeviceAnswer,
}

type Edit = Box<dyn Fn(&mut Value, &mut Value) + Send>;

/// The state.
pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) base: String,
    pub(crate) directory: Directory,
    pub(crate) keys: SigningKeys,
    pub(crate) era: ResourceEra,
    /// The name of the user who signs in at the next visits; `None` shows a form to choose by hand.
    pub(crate) signs_in: Option<String>,
    /// The user answers the question for consent with no.
    pub(crate) declines: bool,
    /// A scope that the answer does not name although it was asked for: not every permission is granted.
    pub(crate) withholds: Option<String>,
    /// More groups than these stand in no token.
    pub(crate) most_groups: usize,
    /// The issuer of another host than the authority's, as External ID has it; `{tenantid}` stands for the tenant.
    pub(crate) issuer_template: Option<String>,
    pub(crate) challenges: HashMap<String, Challenge>,
    /// The same for tokens of other APIs alone: a policy may protect one of them.
    pub(crate) challenges_on_behalf: HashMap<String, Challenge>,
    /// Users whose refresh tokens from before this time are worth nothing.
    pub(crate) revoked_at: HashMap<String, i64>,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) latency: Duration,
    pub(crate) edit_id_token: Edit,
    pub(crate) edit_discovery: Box<dyn Fn(&mut Value) + Send>,
    pub(crate) edit_keys: Box<dyn Fn(&mut Value) + Send>,
    pub(crate) calls: Vec<Call>,
    pub(super) codes: HashMap<String, Session>,
    pub(super) used_codes: BTreeSet<String>,
    pub(super) refresh_tokens: HashMap<String, Session>,
    /// Access tokens by what they are, so that on-behalf-of can be judged.
    pub(super) access_tokens: BTreeMap<String, Issued>,
    pub(super) devices: HashMap<String, DeviceCode>,
    pub(super) used_assertions: BTreeSet<String>,
    pub(super) counter: u64,
}

/// An access token that was issued.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    /// The client id of the app whose API it is for, or Graph's.
    pub(super) resource: String,
    /// Whose it is; `None` for an application's own.
    pub(super) user: Option<User>,
    pub(super) scopes: BTreeSet<String>,
    pub(super) expires_at: i64,
}

impl State {
    pub(super) fn new(clock: Clock, base: String, directory: Directory) -> Self {
        let signs_in = directory.users.first().map(|user| user.name.clone());
        Self {
            clock,
            base,
            directory,
            keys: SigningKeys::new(),
            era: ResourceEra::Match,
            signs_in,
            declines: false,
            withholds: None,
            // a JWT holds 200 groups at the most; a user in more gets a pointer to Graph in their place
            most_groups: 200,
            issuer_template: None,
            challenges: HashMap::new(),
            challenges_on_behalf: HashMap::new(),
            revoked_at: HashMap::new(),
            faults: VecDeque::new(),
            latency: Duration::ZERO,
            edit_id_token: Box::new(|_, _| {}),
            edit_discovery: Box::new(|_| {}),
            edit_keys: Box::new(|_| {}),
            calls: Vec::new(),
            codes: HashMap::new(),
            used_codes: BTreeSet::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: BTreeMap::new(),
            devices: HashMap::new(),
            used_assertions: BTreeSet::new(),
            counter: 0,
        }
    }

    /// A text that no other is equal to.
    pub(super) fn next(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{}", self.counter)
    }

    /// A GUID that no other is equal to.
    pub(super) fn next_guid(&mut self) -> String {
        self.counter += 1;
        guid(&[b"counter", &self.counter.to_be_bytes()])
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// The tenant of a segment: an id, or a verified domain.
    pub(super) fn tenant(&self, segment: &str) -> Option<&Tenant> {
        let named = |tenant: &&Tenant| tenant.id == segment || tenant.domains.iter().any(|domain| domain == segment);
        self.directory.tenants.iter().find(named)
    }

    pub(super) fn app(&self, client_id: &str) -> Option<&App> {
        self.directory.apps.iter().find(|app| app.client_id == client_id)
    }

    /// The only app, for tests that change it.
    pub(crate) fn our_app(&mut self) -> &mut App {
        self.directory.apps.first_mut().expect("there is an app")
    }

    pub(crate) fn user(&mut self, name: &str) -> &mut User {
        self.directory.users.iter_mut().find(|user| user.name == name).expect("there is such a user")
    }

    /// The next answer for a path that ends so is this status.
    pub(crate) fn fail_next(&mut self, path: &str, status: u16, retry_after: Option<u32>) {
        self.faults.push_back(Fault { path: path.to_owned(), status, retry_after, body: None });
    }

    /// The next answer for a path that ends so is this error document.
    pub(crate) fn answer_next(&mut self, path: &str, status: u16, body: Value) {
        self.faults.push_back(Fault { path: path.to_owned(), status, retry_after: None, body: Some(body) });
    }

    /// Conditional access wants this of a user before the next token by a refresh token. A sign-in fulfils it.
    pub(crate) fn challenge(
        &mut self,
        user: &str,
        (error, suberror): (&'static str, Option<&'static str>),
        number: u32,
        claims: Option<&str>,
    ) {
        let challenge = Challenge { error, suberror, number, claims: claims.map(str::to_owned) };
        self.challenges.insert(user.to_owned(), challenge);
    }

    /// The API that an access token is for, its user, and its scopes: a token of Graph tells nobody else.
    pub(crate) fn token_is_for(&self, token: &str) -> Option<(String, String, String)> {
        let Issued { resource, user, scopes, .. } = self.access_tokens.get(token)?;
        let scopes = scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        Some((resource.clone(), user.as_ref()?.name.clone(), scopes))
    }

    /// Conditional access protects the APIs that our application calls on behalf of a user.
    pub(crate) fn challenge_on_behalf(&mut self, user: &str, number: u32, claims: Option<&str>) {
        let error = "interaction_required";
        let challenge = Challenge { error, suberror: None, number, claims: claims.map(str::to_owned) };
        self.challenges_on_behalf.insert(user.to_owned(), challenge);
    }

    /// The user's password was reset: every refresh token from before is worth nothing.
    pub(crate) fn revoke_sessions(&mut self, user: &str) {
        let now = self.now();
        self.revoked_at.insert(user.to_owned(), now);
    }
}
