//! What a write must not share with another write that runs at the same time.
//!
//! SQLite has one writer: there every write is alone, and nothing of this file has an effect. PostgreSQL runs writes side by
//! side, and each statement sees what was committed when the *statement* began (READ COMMITTED). Two kinds of rules hold there by
//! themselves: a condition on the row that a statement changes (it waits for the row, and checks it anew), and a unique key. A
//! rule that counts or looks at *other* rows does not hold: two writes that each make it true for themselves break it together.
//! Such a write names what its decision depends on; no other write with the same name runs until it has committed.
//!
//! Defends against: races (check-then-act, TOCTOU) between replicas, and deadlocks, because the locks of one write are taken in
//! the order of this list, and before any row is changed.

use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::secret::Sha256;

/// What a write decides about exclusively.
#[derive(Debug, Clone, Copy)]
pub(super) enum Exclusive<'a> {
    /// Nothing: single statements whose conditions concern the row that they change, or a unique key.
    Nothing,
    /// Statements that pick rows from a whole table and change many: deletion, and what is told once to the process that takes
    /// it (`codes::ABANDONED`). Two of them would lock rows in different orders, and deadlock.
    Batch,
    /// The same for the sign-ins in progress and one user: none of them may give that user a code or a session
    /// (`cancelled_sign_ins::BAR` against `codes::ISSUE_CODE` and `account::SIGN_IN`).
    BatchOf(&'a str),
    /// The provider behind an identity: it is replaced while no grant of the old one lives (`identities::REPLACE` against
    /// `codes::REDEEM`).
    Identity(&'a IdentityId),
    /// What a sign-in gives one user, at a provider that stays: no code and no session after a bar (`codes::ISSUE_CODE`,
    /// `account::SIGN_IN`), at most `MAX_LIVE_GRANTS` (`grant_ends::END_SURPLUS`).
    SignIn(&'a Subject),
    /// The same, and whether the provider's session that the sign-in came from has ended (`provider_logouts::HAS_ENDED` against
    /// `provider_logouts::INSERT`).
    SignInFrom(&'a Subject, Option<&'a Sha256>),
    /// A logout at the provider, of a user, of a session of theirs, or both.
    Logout {
        /// The user.
        subject: Option<&'a Subject>,
        /// The session.
        session: Option<&'a Sha256>,
    },
    /// The same for what a machine is given: one grant that is extended (`machine_grants::EXTEND`). And, shared with its like,
    /// whether its client is disabled.
    MachineGrant(&'a Subject, &'a ClientId),
    /// Whether a client is disabled: grants that begin meanwhile wait, or are found and ended (`disabled_clients::DISABLE`
    /// against `machine_grants::IS_DISABLED`).
    Client(&'a ClientId),
    /// Which grants of a user live: who ends the last one revokes the provider's token (`grant_ends::HAS_OTHER_LIVE`). And which of
    /// them has a lease (`grants::TAKE_LEASE_OF_GRANT`, see [`Self::UserOf`]).
    UsersOf(&'a [GrantId]),
    /// What the user of a refresh token has: a lease that is asked for while a rotation supersedes the token must see that
    /// (`grants::TAKE_LEASE` against `refresh_tokens::SUPERSEDE`), and only one of the grants that share a token of the provider
    /// has a lease.
    UserOf(&'a Sha256),
    /// Which clients there are: how many registered and were never used, and from which addresses (`clients::INSERT`,
    /// `clients::COUNT_UNUSED`, `clients::EVICT_ONE`); how many documents are kept (`client_documents::COUNT`,
    /// `client_documents::EVICT_ONE`).
    Clients,
    /// Which signing keys there are: one next key at a time (`signing_keys::INSERT_NEXT`), and none beside those that are
    /// withdrawn together.
    SigningKeys,
}
