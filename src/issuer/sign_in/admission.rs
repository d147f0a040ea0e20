//! Whether the user who signed in is admitted, before anything is made of the sign-in.
//!
//! Defends against loops: a client whose user may not have what it asks for is told so, and the user why, instead of being sent to
//! sign in again and again.

use super::answered::{Answered, explained};
use super::bound::Bound;
use super::fault::Fault;
use crate::audit::{Audit, Event};
use crate::identity::{Explanation, SignedIn, Verdict};
use crate::issuer::grants::ProviderTokens;
use crate::issuer::resources::Resources;
use crate::model::authorization::Purpose;
use crate::model::caller::NotAdmitted;
use crate::model::ids::Subject;
use crate::oauth::error::ErrorCode;
use crate::policy::{self, Person};
use crate::storage::Store;
use crate::telemetry::metrics::{self, SignInOutcome};
use crate::wire::Arrival;

/// Admits users. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Admissions {
    pub(in crate::issuer) resources: Resources,
    pub(in crate::issuer) provider_tokens: ProviderTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl Admissions {
    /// Refuses a sign-in whose authorization was claimed, if a rule keeps its user out: the page that says so.
    ///
    /// # Errors
    /// What the user is told on a page.
    pub(super) async fn refuse(
        &self,
        bound: &Bound<'_>,
        signed_in: &SignedIn,
        arrival: &Arrival,
    ) -> Result<Option<Answered>, Fault> {
        let Some(not_admitted) = self.check(bound, signed_in).err() else { return Ok(None) };
        let authorization = &bound.authorization;
        let identity = bound.provider.id();
        let subject = Subject::new(identity, &signed_in.key);
        let refused = self.store.refuse_authorization(&authorization.id, authorization.round).await;
        let standing = self.provider_tokens.standing(bound.provider, &subject, signed_in);
        self.provider_tokens.give_up(identity, &subject, &standing).await;
        if !refused? {
            return Err(Fault::taken_back(&authorization.id));
        }
        tracing::info!(%identity, %subject, rule = not_admitted.rule, "a user who signed in is not admitted");
        self.metrics.signed_in(identity.as_str(), SignInOutcome::NotAdmitted);
        let (client, resource) = authorization.purpose.asked().unzip();
        self.audit
            .record(&Event::NotAdmitted { subject: &subject, client, resource, rule: &not_admitted.rule }, arrival);
        let words = "the user may not use this server";
        let told = explanation(&not_admitted, signed_in);
        Ok(Some(explained(&bound.recipient, ErrorCode::AccessDenied, words, told)))
    }

    fn check(&self, bound: &Bound<'_>, signed_in: &SignedIn) -> Result<(), NotAdmitted> {
        let person = Person { identity: bound.provider.id(), key: &signed_in.key, user: &signed_in.user };
        policy::admit(&person, bound.provider.admission(), "identity")?;
        let (resource, scope) = match &bound.authorization.purpose {
            Purpose::Client(request) => (&request.resource, &request.scope),
            Purpose::Device(request) => (&request.access.resource, &request.access.scope),
            Purpose::Account => return Ok(()),
        };
        self.resources.granted_to(&person, resource, scope).map(drop)
    }
}

/// The page says who was not admitted where, and whom to ask. It does not say what would be enough: that is for those who decide.
fn explanation(not_admitted: &NotAdmitted, signed_in: &SignedIn) -> Explanation {
    let who =
        signed_in.user.known_as().map_or_else(|| "This account".to_owned(), |name| format!("The account of {name}"));
    let happened = match &not_admitted.server {
        Some(server) => format!("{who} may not use {server}."),
        None => format!("{who} may not sign in here."),
    };
    let hint = match &not_admitted.ask {
        Some(ask) => format!("For access ask {ask}. If you have another account, connect again and sign in with that one."),
        None => "Ask the people who run this server for access. If you have another account, connect again and sign in with that \
                 one."
            .to_owned(),
    };
    Explanation { verdict: Verdict::Denied, happened: happened.into(), hint: hint.into() }
}
