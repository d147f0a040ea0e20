//! Who an ID token names, once every rule of OpenID Connect Core 1.0 3.1.3.7 holds.
//!
//! Defends against: a token of another issuer (mix-up) or for another client (confused deputy), a token of an earlier
//! sign-in (replay, by `nonce` and by the times), an access token in place of an ID token, tokens of two answers mixed
//! (`at_hash`). The signature, and with it the algorithm, is verified by `keys` before anything here is read.

use std::time::Duration;

use serde_json::Value;

use super::exchange::{Explanation, ProviderSession};
use super::user_claims::UserClaims;
use crate::clock::Timestamp;
use crate::config::OidcFlavour;
use crate::keys::{Members, PublicKeys, SignedJwt, SignedJwtError, verify_signed_jwt};
use crate::rights::GroupReader;
use crate::secret::same_text;
use crate::telemetry::excerpt;

/// How far the provider's clock and ours may differ.
pub(super) const LEEWAY: Duration = Duration::from_mins(1);
/// A token endpoint makes its ID tokens when it is asked: one from the day before answers something else.
pub(super) const MAX_AGE: Duration = Duration::from_hours(24);

/// What a token must be for us to believe it.
pub(super) struct Expected<'a> {
    pub(super) flavour: &'a OidcFlavour,
    /// The issuer that the metadata name.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// `None` at a refresh, whose ID token carries none (OpenID Connect Core 12.2).
    pub(super) nonce: Option<&'a str>,
    /// What came in the same answer.
    pub(super) access_token: &'a str,
    pub(super) groups: &'a GroupReader,
    /// Whether an address counts that the provider does not call verified.
    pub(super) trust_email: bool,
    pub(super) now: Timestamp,
}

/// A believed token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identified {
    /// The provider's own unchanging id of the user.
    pub(super) key: String,
    /// The `sub`, which other documents about the user carry too.
    pub(super) sub: String,
    pub(super) user: UserClaims,
    pub(super) session: ProviderSession,
    /// The sources of groups that it leaves out although the user has some.
    pub(super) groups_left_out: Vec<usize>,
}

/// Why a token is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IdTokenError {
    /// No key of the set can have signed it; a newer set may.
    UnknownKey,
    /// It is wrong, and why. Never the token.
    Untrue(String),
    /// It is true, and its user may not sign in.
    NotAdmitted {
        /// For the operator.
        why: String,
        /// For the user.
        told: Explanation,
    },
}

/// Why the claims of a token name no user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unbelieved {
    /// See [`IdTokenError::Untrue`].
    Untrue(String),
    /// See [`IdTokenError::NotAdmitted`].
    NotAdmitted { why: String, told: Explanation },
}

impl From<String> for Unbelieved {
    fn from(why: String) -> Self {
        Self::Untrue(why)
    }
}

impl From<&str> for Unbelieved {
    fn from(why: &str) -> Self {
        Self::Untrue(why.to_owned())
    }
}

impl From<Unbelieved> for IdTokenError {
    fn from(error: Unbelieved) -> Self {
        match error {
            Unbelieved::Untrue(why) => Self::Untrue(why),
            Unbelieved::NotAdmitted { why, told } => Self::NotAdmitted { why, told },
        }
    }
}

impl From<SignedJwtError> for IdTokenError {
    fn from(error: SignedJwtError) -> Self {
        match error {
            SignedJwtError::UnknownKey => Self::UnknownKey,
            SignedJwtError::Invalid(why) => Self::Untrue(why.to_owned()),
        }
    }
}

/// Verifies an ID token and reads who it names.
pub(super) fn verify(token: &str, keys: &PublicKeys, expected: &Expected<'_>) -> Result<Identified, IdTokenError> {
    let token = verify_signed_jwt(token, keys)?;
    Ok(check(&token, expected)?)
}

/// The claims; the error says what is wrong with them, for the operator.
fn check(token: &SignedJwt, expected: &Expected<'_>) -> Result<Identified, Unbelieved> {
    let claims = &token.claims;
    check_type(token.typ.as_deref())?;
    expected.flavour.check_issuer(expected.issuer, token)?;
    check_audience(claims, expected.client_id)?;
    check_times(claims, expected)?;
    check_nonce(claims, expected.nonce)?;
    check_access_token(token, expected.access_token)?;
    let key = expected.flavour.key_of(expected.issuer, token)?;
    let sub = claims.text("sub")?.unwrap_or_default().to_owned();
    let user = UserClaims::read(claims, expected.flavour.reading(claims, expected.groups, expected.trust_email))?;
    let groups_left_out = expected.flavour.leaves_groups_out(claims, expected.groups);
    let session = ProviderSession { sid: sid(claims).map(str::to_owned), asserted_at: claims.time("iat")? };
    Ok(Identified { key, sub, user, session, groups_left_out })
}

/// The session; an odd one does not cost the user the sign-in.
fn sid(claims: &Members) -> Option<&str> {
    claims.get("sid").and_then(Value::as_str).filter(|sid| !sid.is_empty())
}

/// Most ID tokens are a `JWT`, many have no type; an access token (`at+jwt`, RFC 9068) has one of its own.
fn check_type(typ: Option<&str>) -> Result<(), String> {
    match typ {
        None | Some("jwt" | "jose") => Ok(()),
        Some(typ) => Err(format!("its typ is {:?}: which is not an ID token", excerpt(typ))),
    }
}

/// We must be among the audiences, and the party that the token was given to. Other audiences are trusted only when the
/// provider says by `azp` that it was nevertheless given to us: Keycloak's audience mappers add some.
pub(super) fn check_audience(claims: &Members, client_id: &str) -> Result<(), String> {
    let audiences = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => return Err("it has no aud".to_owned()),
    };
    if !audiences.iter().all(Value::is_string) {
        return Err("its aud is neither a text nor a list of texts".to_owned());
    }
    if !audiences.iter().any(|audience| audience == client_id) {
        return Err("its aud does not name our `client_id`: it is for another client".to_owned());
    }
    match claims.text("azp")? {
        Some(party) if party == client_id => Ok(()),
        Some(party) => Err(format!("its azp is {:?}, not our client_id", excerpt(party))),
        None if audiences.iter().any(|audience| audience != client_id) => {
            Err("it is for several audiences and names no azp".to_owned())
        }
        None => Ok(()),
    }
}

fn check_times(claims: &Members, expected: &Expected<'_>) -> Result<(), String> {
    const CLOCKS: &str = "check the clocks of both machines";
    let now = expected.now;
    let demanded = |name| claims.time(name)?.ok_or_else(|| format!("it has no {name}"));
    let (exp, iat) = (demanded("exp")?, demanded("iat")?);
    if now >= exp + LEEWAY {
        return Err(format!("it has expired: {CLOCKS}"));
    }
    if iat > now + LEEWAY {
        return Err(format!("it comes from the future: {CLOCKS}"));
    }
    // a provider may answer a refresh with the ID token of the sign-in (OpenID Connect Core 12.2 demands only its `iss` and
    // `sub`), and has spent our refresh token by then
    let answers_a_sign_in = expected.nonce.is_some();
    if answers_a_sign_in && iat < now.before(MAX_AGE) {
        return Err(format!("it was made more than a day ago: {CLOCKS}"));
    }
    match claims.time("nbf")? {
        Some(nbf) if nbf > now + LEEWAY => Err(format!("it is not good yet (nbf): {CLOCKS}")),
        _ => Ok(()),
    }
}

fn check_nonce(claims: &Members, expected: Option<&str>) -> Result<(), String> {
    match (expected, claims.text("nonce")?) {
        (None, _) => Ok(()),
        (Some(expected), Some(nonce)) if same_text(expected, nonce) => Ok(()),
        (Some(_), Some(_)) => Err("its nonce is not ours: it answers another sign-in".to_owned()),
        (Some(_), None) => Err("it has no nonce".to_owned()),
    }
}

/// OpenID Connect Core 3.1.3.8: where the token names the access token that it came with, it must be that one.
fn check_access_token(token: &SignedJwt, access_token: &str) -> Result<(), String> {
    match token.claims.text("at_hash")? {
        Some(hash) if !same_text(hash, &token.half_hash(access_token)) => {
            Err("its at_hash is that of another access token".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Expected, Identified, check};
    use crate::clock::Timestamp;
    use crate::config::{GroupSources, OidcFlavour};
    use crate::keys::SignedJwt;
    use crate::rights::GroupReader;

    const NOW: i64 = 1_800_000_000;
    const ISSUER: &str = "https://sso.example.com/realms/mcp";
    static GROUPS: LazyLock<GroupReader> =
        LazyLock::new(|| GroupReader::new("corp".to_owned(), GroupSources::default()));

    fn expected() -> Expected<'static> {
        Expected {
            flavour: &OidcFlavour::Generic,
            issuer: ISSUER,
            client_id: "portcullis",
            nonce: Some("ours"),
            access_token: "a",
            groups: &GROUPS,
            trust_email: false,
            now: Timestamp(NOW),
        }
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "aud": "portcullis", "azp": "portcullis", "sub": "u", "nonce": "ours",
            "exp": NOW + 300, "iat": NOW, "email": "u@example.com"})
    }

    fn checked(claims: &Value) -> Result<Identified, super::Unbelieved> {
        check(&SignedJwt::of_claims(claims.clone()), &expected())
    }

    #[test]
    fn an_id_token_of_yesterday_is_refused_and_its_times_may_have_fractions() {
        for (claim, value, good) in [
            ("iat", json!(NOW - 86_400), true),
            ("iat", json!(NOW - 86_401), false),
            ("iat", json!(f64::from(i32::try_from(NOW).unwrap()) - 86_400.5), false),
            ("exp", json!(253_402_300_799_i64), true),
            ("exp", json!(253_402_300_800_i64), false),
            ("exp", json!(u64::MAX), false),
            ("exp", json!(-1), false),
            ("exp", json!(true), false),
            ("exp", json!(null), false),
        ] {
            let mut claims = claims();
            claims[claim] = value;
            assert_eq!(checked(&claims).is_ok(), good, "{claims}");
        }
    }

    #[test]
    fn a_renewal_has_no_nonce_of_ours_and_every_other_rule() {
        let renewal = Expected { nonce: None, ..expected() };
        let mut without = claims();
        without.as_object_mut().unwrap().remove("nonce");
        assert!(check(&SignedJwt::of_claims(without.clone()), &renewal).is_ok());
        assert!(check(&SignedJwt::of_claims(without.clone()), &expected()).is_err());
        without["iat"] = json!(NOW - 30 * 86_400);
        assert!(check(&SignedJwt::of_claims(without.clone()), &renewal).is_ok(), "the ID token of the sign-in again");
        without["aud"] = json!("other");
        assert!(check(&SignedJwt::of_claims(without), &renewal).is_err());
    }

    fn hostile() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "ours|portcullis|true|[a-zA-Z0-9:/._-]{0,20}|.{0,8}".prop_map(Value::from),
            Just(json!(["portcullis", "other"])),
            Just(json!({"a": [1, {"b": null}]})),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_claims_are_only_the_expected_ones_name_a_user(
            changes in proptest::collection::vec(
                ("iss|aud|azp|exp|iat|nbf|nonce|at_hash|sub|email|email_verified|name|groups|typ", hostile()), 0..4),
        ) {
            let mut claims = claims();
            for (name, value) in changes {
                claims[name] = value;
            }
            let Ok(identified) = checked(&claims) else { return Ok(()) };
            prop_assert_eq!(&claims["iss"], ISSUER);
            prop_assert_eq!(&claims["nonce"], "ours");
            prop_assert!(claims["aud"] == "portcullis" || claims["azp"] == "portcullis");
            prop_assert!(claims["aud"].to_string().contains("\"portcullis\""));
            prop_assert!(claims["exp"].as_f64() > Some(1_799_999_940.0));
            prop_assert_eq!(&claims["sub"], &identified.key);
            let proven = claims["email_verified"] == true || claims["email_verified"] == "true";
            prop_assert!(proven || identified.user.user().email.is_none());
        }
    }
}
