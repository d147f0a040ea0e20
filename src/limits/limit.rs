//! Every rate limit by name: what it defends against, how many it allows per hour, and what a client is told.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{Lifetimes, Registration};

/// A rate limit. Each allows a number per hour, all at once if need be.
///
/// An address is an IPv4 address or an IPv6 /64. One customer may have 256 or 65,536 of those, so most limits by address count by the
/// IPv6 /48 as well, which may have [`NETWORKS`] times as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// New clients that one address registers for one redirect host. Against a flood of registrations. The servers of hosted
    /// clients share addresses, so a client of one host does not use up what those of another need. Browsers and programs
    /// count apart, too: a web page may have its visitors' browsers register.
    Registrations,
    /// New clients that one address registers for all hosts together, because an attacker can invent hosts.
    RegistrationsOfAllHosts,
    /// Registrations of known clients whose use one address has recorded. Against a flood of writes. Beyond it the answer is
    /// the same, and only the client's use is not recorded.
    KnownRegistrations,
    /// Documents of clients (Client ID Metadata Documents) that one address makes us fetch. Against amplification: a request
    /// costs an unauthenticated caller less than the call that it causes.
    DocumentsPerAddress,
    /// The same at one host, from all addresses together. Against a flood that comes from us. Documents that are stored count
    /// for neither: each is fetched a few times in an hour, however many ask.
    DocumentsPerHost,
    /// Wrong secrets and assertions of one client from one address. Against guessing of client secrets. Enough for a client
    /// that still has its old one.
    ClientSecrets,
    /// Valid assertions from one address: of one client that the operator configured, or of all others together, because an
    /// attacker can invent those. Against a flood of ids that must be remembered. Enough for a hosted client with all its users.
    Assertions,
    /// Fetches of clients' key sets that one address causes. Against a flood of calls to a third party, whose URL anyone may
    /// register.
    KeySets,
    /// Wrong initial and registration access tokens from one address. Against guessing.
    RegistrationTokens,
    /// Updates of one client. Against a flood of writes: anyone may register a client.
    ClientUpdates,
    /// Sign-ins that one address begins. Against a flood of rows: a script can press the button, too.
    SignIns,
    /// Device codes that a client asks for from one address. Against a flood of rows; how many are open is bounded too.
    DeviceCodes,
    /// The same for all clients together, because an attacker can register clients. Against one address that keeps so many codes
    /// open that no one else gets any.
    DeviceCodesOfAllClients,
    /// Codes that are typed into one form. Against guessing in a browser; a new form costs a request.
    UserCodesPerForm,
    /// Codes that one address types. Against guessing. A whole class may share an address.
    UserCodesPerAddress,
    /// Codes that are typed anywhere; each costs as much as device codes are open. Against guessing from many addresses: the
    /// chance that any try of an hour hits one of 25.6 billion stays below 1 in 1,000.
    UserCodes,
    /// Wrong passwords for one user from one address; a right one starts the count anew. Against brute force. A limit by user
    /// alone would let anyone lock the user out.
    PasswordsPerUserAndAddress,
    /// Passwords for one user from addresses where the user never signed in. Against brute force from many addresses.
    PasswordsPerUser,
    /// Passwords from one address. Against one password tried on many users (password spraying). A whole class may share an
    /// address.
    PasswordsPerAddress,
    /// API keys that are looked up in the store for one address, good or not. Against guessing. Each process looks a good key
    /// up once in a while, so no honest address needs as many.
    ApiKeys,
    /// Opaque tokens that another issuer is asked about for one address, and that were not good before. Against a flood of
    /// invented tokens, each of which costs a call to the issuer. Enough for a hosted client with all its users.
    OpaqueTokens,
    /// Refreshes of one grant that ask its identity provider. Against a client in a loop, which would never stop: each refresh
    /// leaves a token that must be recognised for as long as the grant lives.
    Refreshes,
    /// Requests from one address that ask about a token, or to revoke one, and come to nothing: unknown clients, clients that
    /// may not ask, unknown tokens of public clients. Against floods of guesses, each of which reads the store. One that names
    /// a token of its client does not count.
    FruitlessQueries,
    /// Logout tokens from one address that are not good, or that only a newer key can have signed. Against floods that have the keys
    /// of a provider read again and again. A good one that a known key signed is accepted however many came before.
    WrongLogoutTokens,
}

/// How many of its networks a /48 may use up. It is often a company with many networks, or 256 households: they share four times what
/// as many users behind one IPv4 address share. Not more, because a /48 must not get at what all share: with four times its device codes
/// open (3,600 of 10,000), four times its typed codes use up a fifteenth of `user_codes`.
const NETWORKS: u32 = 4;
/// How many redirect hosts may register as often as one address may for each.
const HOSTS: u32 = 10;
/// The least number of refreshes. A client refreshes once per access token.
const REFRESHES: NonZeroU32 = NonZeroU32::new(60).unwrap();

impl Limit {
    /// The name of the setting, where there is one; for logs and metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Registrations => "registrations_per_address_and_host",
            Self::RegistrationsOfAllHosts => "registrations_per_address",
            Self::KnownRegistrations => "known_registrations_per_address",
            Self::DocumentsPerAddress => "client_documents_per_address",
            Self::DocumentsPerHost => "client_documents_per_host",
            Self::ClientSecrets => "wrong_client_secrets_per_client_and_address",
            Self::Assertions => "assertions_per_address",
            Self::KeySets => "client_key_sets_per_address",
            Self::RegistrationTokens => "wrong_registration_tokens_per_address",
            Self::ClientUpdates => "updates_per_client",
            Self::SignIns => "sign_ins_per_address",
            Self::DeviceCodes => "device_codes_per_client_and_address",
            Self::DeviceCodesOfAllClients => "device_codes_per_address",
            Self::UserCodesPerForm => "user_codes_per_form",
            Self::UserCodesPerAddress => "user_codes_per_address",
            Self::UserCodes => "user_codes",
            Self::PasswordsPerUserAndAddress => "passwords_per_user_and_address",
            Self::PasswordsPerUser => "passwords_per_user",
            Self::PasswordsPerAddress => "passwords_per_address",
            Self::ApiKeys => "api_keys_per_address",
            Self::OpaqueTokens => "opaque_tokens_per_address",
            Self::Refreshes => "refreshes_per_grant",
            Self::FruitlessQueries => "fruitless_token_queries_per_address",
            Self::WrongLogoutTokens => "wrong_logout_tokens_per_address",
        }
    }

    /// What came too often, and what helps: for the client's developer.
    #[must_use]
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Registrations | Self::RegistrationsOfAllHosts | Self::KnownRegistrations => {
                "too many registrations from this address: wait, or use the client id that you have"
            }
            Self::DocumentsPerAddress | Self::DocumentsPerHost => {
                "too many metadata documents of clients were asked for: wait, then connect again"
            }
            Self::ClientSecrets => {
                "too many wrong secrets or assertions of this client came from this address: wait, then send a right one"
            }
            Self::Assertions => {
                "too many assertions of clients came from this address: wait, and use access tokens longer"
            }
            Self::KeySets => "too many key sets of clients were fetched for this address: wait, then try again",
            Self::RegistrationTokens => "too many wrong tokens came from this address: wait, then send the right one",
            Self::ClientUpdates => "this client was updated too often: wait, then try again",
            Self::SignIns => "too many sign-ins were begun from this address: wait, then connect again",
            Self::DeviceCodes | Self::DeviceCodesOfAllClients => {
                "too many device codes were asked for from this address: wait, and poll with the one you have"
            }
            Self::UserCodesPerForm | Self::UserCodesPerAddress | Self::UserCodes => {
                "too many codes were typed: wait, then try again"
            }
            Self::PasswordsPerUserAndAddress | Self::PasswordsPerUser | Self::PasswordsPerAddress => {
                "too many passwords were tried: wait, then try again"
            }
            Self::ApiKeys => "too many API keys were tried from this address: wait, then try again",
            Self::OpaqueTokens => "too many access tokens were tried from this address: wait, then try again",
            Self::Refreshes => "this grant is refreshed too often: wait, and use the access token until it expires",
            Self::FruitlessQueries => {
                "too many requests about unknown tokens came from this address: wait, then try again"
            }
            Self::WrongLogoutTokens => {
                "too many wrong logout tokens came from this address: wait, then send a right one"
            }
        }
    }

    /// How many times as much as an address its IPv6 /48 may have; `None`: it is not counted.
    pub(super) const fn networks_per_site(self) -> Option<NonZeroU32> {
        match self {
            Self::Registrations
            | Self::RegistrationsOfAllHosts
            | Self::KnownRegistrations
            | Self::DocumentsPerAddress
            | Self::ClientSecrets
            | Self::Assertions
            | Self::KeySets
            | Self::RegistrationTokens
            | Self::SignIns
            | Self::DeviceCodes
            | Self::DeviceCodesOfAllClients
            | Self::UserCodesPerAddress
            | Self::PasswordsPerAddress
            | Self::ApiKeys
            | Self::OpaqueTokens
            | Self::FruitlessQueries
            | Self::WrongLogoutTokens => NonZeroU32::new(NETWORKS),
            // `PasswordsPerUser` bounds guesses from many addresses, and lets no neighbour lock a user out
            Self::PasswordsPerUserAndAddress
            | Self::DocumentsPerHost
            | Self::ClientUpdates
            | Self::UserCodesPerForm
            | Self::UserCodes
            | Self::PasswordsPerUser
            | Self::Refreshes => None,
        }
    }

    /// How many each key may have per hour.
    pub(super) fn per_hour(self, registration: &Registration, lifetimes: &Lifetimes) -> NonZeroU32 {
        let fixed = match self {
            Self::Registrations => registration.per_address_per_hour,
            Self::RegistrationsOfAllHosts => registration.per_address_per_hour.saturating_mul(HOSTS),
            Self::Refreshes => return refreshes(lifetimes.access_token),
            Self::KnownRegistrations
            | Self::SignIns
            | Self::ApiKeys
            | Self::FruitlessQueries
            | Self::WrongLogoutTokens
            | Self::DocumentsPerHost => 600,
            Self::DeviceCodes => 300,
            Self::DeviceCodesOfAllClients => 900,
            Self::UserCodesPerForm => 6,
            Self::UserCodes => 25_600_000,
            Self::ClientSecrets | Self::PasswordsPerUserAndAddress | Self::RegistrationTokens => 30,
            Self::ClientUpdates => 60,
            Self::KeySets | Self::DocumentsPerAddress | Self::UserCodesPerAddress => 120,
            Self::OpaqueTokens => 6000,
            Self::Assertions => 36_000,
            Self::PasswordsPerUser | Self::PasswordsPerAddress => 1000,
        };
        NonZeroU32::new(fixed).unwrap_or(NonZeroU32::MIN)
    }
}

/// How often a grant may be refreshed per hour. Short access tokens are refreshed more often: four times as often as needed
/// is still no loop.
fn refreshes(access_token: Duration) -> NonZeroU32 {
    let needed = 3600 / access_token.as_secs().max(1);
    let allowed = u32::try_from(needed.saturating_mul(4)).unwrap_or(u32::MAX);
    NonZeroU32::new(allowed).map_or(REFRESHES, |allowed| allowed.max(REFRESHES))
}

/// A limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} (limit {}; {retry_after} s)", limit.advice(), limit.name())]
pub(crate) struct Limited {
    /// Which one.
    pub(crate) limit: Limit,
    /// Seconds until it allows the next; at least 1.
    pub(crate) retry_after: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::refreshes;

    #[test]
    fn a_client_may_refresh_four_times_as_often_as_its_access_tokens_end() {
        for (access_token, allowed) in [(3600, 60), (240, 60), (60, 240), (1, 14400), (2_592_000, 60)] {
            assert_eq!(refreshes(Duration::from_secs(access_token)).get(), allowed, "{access_token} s");
        }
    }
}
