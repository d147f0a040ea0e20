//! `accepts` of an upstream: whose access tokens open it.

use std::sync::Arc;

use super::document::{Node, Value};
use super::issuer_checks::check_audience;
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::token_issuer::{OWN, TokenIssuer};
use crate::oauth::scope::ScopeSet;

/// Whose access tokens open an upstream.
#[derive(Debug, Clone)]
pub struct Accepts {
    /// Whether ours do.
    pub own: bool,
    /// The other issuers, in the operator's order.
    pub foreign: Vec<AcceptedIssuer>,
}

impl Default for Accepts {
    /// Ours alone.
    fn default() -> Self {
        Self { own: true, foreign: Vec::new() }
    }
}

/// Another issuer at one upstream.
#[derive(Debug, Clone)]
pub struct AcceptedIssuer {
    /// The issuer.
    pub issuer: Arc<TokenIssuer>,
    /// Every form of `aud` that means this upstream.
    audiences: Vec<String>,
    /// What its names of scopes begin with that ours do not.
    scope_prefix: String,
}

impl AcceptedIssuer {
    /// An issuer whose tokens open an upstream with these audiences.
    #[must_use]
    pub fn new(issuer: Arc<TokenIssuer>, audiences: &[String]) -> Self {
        let (forms, scope_prefix) = (issuer.forms_of(audiences), issuer.prefix_for(audiences));
        Self { issuer, audiences: forms, scope_prefix }
    }

    /// Whether an audience means the upstream: byte for byte one of its forms.
    #[must_use]
    pub fn is_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|form| form == audience)
    }

    /// Our name of a scope.
    #[must_use]
    pub fn our_name<'s>(&self, scope: &'s str) -> &'s str {
        scope.strip_prefix(self.scope_prefix.as_str()).filter(|ours| !ours.is_empty()).unwrap_or(scope)
    }

    /// The names by which clients ask there for these scopes of ours.
    #[must_use]
    pub fn their_names(&self, scopes: &ScopeSet) -> ScopeSet {
        if self.scope_prefix.is_empty() {
            return scopes.clone();
        }
        scopes.iter().map(|scope| format!("{}{scope}", self.scope_prefix)).collect()
    }
}

impl Accepts {
    /// The names of the authorization servers for clients: ours first.
    #[must_use]
    pub fn authorization_servers(&self, ours: &str) -> Vec<String> {
        let own = self.own.then(|| ours.to_owned());
        own.into_iter().chain(self.foreign.iter().map(|accepted| accepted.issuer.advertised.clone())).collect()
    }

    /// The names by which clients ask for these scopes at the first of the authorization servers.
    #[must_use]
    pub fn scopes_to_ask(&self, scopes: &ScopeSet) -> ScopeSet {
        match self.foreign.first() {
            Some(first) if !self.own => first.their_names(scopes),
            _ => scopes.clone(),
        }
    }

    /// The entry of the issuer with this id.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<&AcceptedIssuer> {
        self.foreign.iter().find(|accepted| accepted.issuer.id == id)
    }

    /// The issuer that is asked about tokens which are not JWTs.
    #[must_use]
    pub fn introspecting(&self) -> Option<&AcceptedIssuer> {
        self.foreign.iter().find(|accepted| accepted.issuer.introspects())
    }
}

/// The issuers of the file.
pub(super) struct Issuers {
    pub(super) read: Vec<Arc<TokenIssuer>>,
    /// Whether all could be read: one with a mistake may be meant.
    pub(super) complete: bool,
}

/// The keys of an upstream that are about issuers.
pub(super) struct Written {
    pub(super) accepts: Option<Vec<String>>,
    pub(super) audiences: Option<Vec<String>>,
}

/// Checks the keys.
pub(super) fn read(written: Written, issuers: &Issuers, section: &Section<'_>, reading: &mut Reading<'_>) -> Accepts {
    let names = written.accepts.unwrap_or_else(|| vec![OWN.to_owned()]);
    if names.is_empty() {
        let mistake = Mistake::new("is empty: no token could open this server");
        reading.error(&section.at("accepts"), mistake.hint("\"own\", or ids of [[issuer]] entries"));
    }
    let mut accepts = Accepts { own: false, foreign: Vec::new() };
    for (index, name) in names.iter().enumerate() {
        let at = section.item("accepts", index);
        let repeated = names.iter().take(index).any(|before| before == name);
        let found = issuers.read.iter().find(|issuer| issuer.id == *name);
        match (name.as_str(), found) {
            _ if repeated => reading.error(&at, Mistake::new("is repeated").hint("remove one")),
            (OWN, _) => accepts.own = true,
            (_, Some(issuer)) => {
                let audiences = written.audiences.as_ref().unwrap_or(&issuer.audiences);
                accepts.foreign.push(AcceptedIssuer::new(Arc::clone(issuer), audiences));
            }
            _ if !issuers.complete => {}
            _ => {
                let mistake = Mistake::new("is not the id of an issuer");
                reading.error(&at, mistake.hint("write \"own\" for Portcullis itself, or add [[issuer]] with this id"));
            }
        }
    }
    check_audiences(written.audiences.as_deref(), &accepts, section, reading);
    if accepts.foreign.iter().filter(|accepted| accepted.issuer.introspects()).count() > 1 {
        let mistake = Mistake::new("names two issuers that are asked about tokens: each would see the other's");
        reading.error(&section.at("accepts"), mistake.hint("give each its own [[upstream]]"));
    }
    accepts
}

fn check_audiences(written: Option<&[String]>, accepts: &Accepts, section: &Section<'_>, reading: &mut Reading<'_>) {
    let Some(audiences) = written else { return };
    let at = section.at("audiences");
    if accepts.foreign.is_empty() {
        let mistake =
            Mistake::new("has no effect: this server accepts our own tokens alone, whose audience is its URL");
        reading.error(&at, mistake.hint("remove it, or name an [[issuer]] in accepts"));
    } else if audiences.is_empty() {
        let mistake = Mistake::new("is empty: no token could open this server");
        reading
            .error(&at, mistake.hint("list the values that `aud` may have, or leave it out for those of the issuer"));
    }
    for (index, audience) in audiences.iter().enumerate() {
        let checked = accepts.foreign.iter().try_for_each(|accepted| check_audience(audience, accepted.issuer.kind));
        reading.keep(&section.item("audiences", index), checked);
    }
}

/// Whether an upstream as it is written accepts our own tokens.
pub(super) fn accepts_own(upstream: &Node) -> bool {
    match upstream.entry("accepts").map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items.iter().any(|item| match &item.value {
            Value::Text(text) | Value::Variable(text) => text == OWN,
            _ => false,
        }),
        Some(Value::Variable(text)) => text.split([',', '[', ']', '"', ' ']).any(|name| name == OWN),
        _ => true,
    }
}
