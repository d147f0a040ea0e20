//! Which tenant of Microsoft Entra ID issued a token.
//!
//! Defends against a token of one tenant that passes for another's. The endpoints that serve many tenants publish one document
//! for all of them: its issuer is a template, and tenants share signing keys. A valid signature therefore proves only that
//! *some* tenant issued the token. What proves which one is this chain, all of which must hold:
//!
//! - `tid` is a GUID,
//! - `iss` is the template of the metadata with that `tid` in it, and names the tenant in the first segment of its path,
//! - the signing key's own `issuer` member, filled in the same way, is that `iss`. A key of the tenant for personal accounts
//!   names one exact issuer; without this rule it would sign for every tenant.
//!
//! Version 1 and version 2 of the tokens differ in host and form of the issuer (`https://sts.windows.net/{tid}/` and
//! `https://login.microsoftonline.com/{tid}/v2.0`). Each is checked against the metadata and keys of its own version, so
//! nothing here knows the version. The caller compares the tenant with those that it admits.

use url::Url;

use super::signed_jwt::{Members, SignedJwt};
use crate::config::TenantId;
use crate::telemetry::excerpt;

/// What stands for the tenant in an issuer template. Microsoft's libraries ignore its case.
const PLACEHOLDER: &str = "{tenantid}";

/// The tenant that issued a token whose signature holds. `issuer` is that of the metadata, a template or an exact issuer.
///
/// # Errors
/// What is wrong with the token, for the operator.
pub(crate) fn issuing_tenant(issuer: &str, token: &SignedJwt) -> Result<TenantId, String> {
    let stated = token.claims.text("iss")?.ok_or("it has no iss")?;
    let tenant = named_tenant(issuer, &token.claims)?;
    let expected = filled(issuer, &tenant);
    if stated != expected {
        return Err(format!("its iss is {:?}, which is not {expected:?}, the issuer of its tenant", excerpt(stated)));
    }
    if first_segment(stated).as_ref() != Some(&tenant) {
        return Err(format!("its tid is {tenant}, which its iss does not name"));
    }
    match &token.key_issuer {
        Some(of_key) if filled(of_key, &tenant) == stated => Ok(tenant),
        Some(of_key) => Err(format!("the key that signed it is for tokens of {:?} only", excerpt(of_key))),
        None if is_template(issuer) => Err("the key that signed it does not say for which tenants it signs".to_owned()),
        // the keys of one issuer's own document
        None => Ok(tenant),
    }
}

/// Whether the issuer stands for many tenants.
fn is_template(issuer: &str) -> bool {
    placeholder(issuer).is_some()
}

/// The issuer of one tenant.
pub(crate) fn filled(issuer: &str, tenant: &TenantId) -> String {
    let (mut filled, mut rest) = (String::with_capacity(issuer.len() + 64), issuer);
    while let Some((before, after)) = placeholder(rest) {
        filled.push_str(before);
        filled.push_str(tenant.as_str());
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The tenant that an issuer without placeholder names: the first segment of its path.
pub(crate) fn first_segment(issuer: &str) -> Option<TenantId> {
    TenantId::parse(Url::parse(issuer).ok()?.path_segments()?.next()?)
}

fn placeholder(text: &str) -> Option<(&str, &str)> {
    let at = text.to_ascii_lowercase().find(PLACEHOLDER)?;
    Some((text.get(..at)?, text.get(at + PLACEHOLDER.len()..)?))
}

/// The `tid`. Azure AD B2C issues tokens without: then the exact issuer names the tenant, which no template does.
fn named_tenant(issuer: &str, claims: &Members) -> Result<TenantId, String> {
    match claims.text("tid")? {
        Some(tid) => TenantId::parse(tid).ok_or_else(|| "its tid is not a GUID".to_owned()),
        None if is_template(issuer) => Err("it has no tid".to_owned()),
        None => first_segment(issuer).ok_or_else(|| "it has no tid, and its issuer names no tenant".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{filled, issuing_tenant};
    use crate::config::TenantId;
    use crate::keys::SignedJwt;

    const OURS: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
    const OTHER: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
    const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    const V1: &str = "https://sts.windows.net/{tenantid}/";
    const EXTERNAL: &str = "https://{tenantid}.ciamlogin.com/{tenantid}/v2.0";

    fn of(template: &str, tenant: &str) -> String {
        template.replace("{tenantid}", tenant)
    }

    fn judged(issuer: &str, key_issuer: Option<&str>, claims: Value) -> Result<String, String> {
        let token = SignedJwt { key_issuer: key_issuer.map(str::to_owned), ..SignedJwt::of_claims(claims) };
        issuing_tenant(issuer, &token).map(|tenant| tenant.to_string())
    }

    #[test]
    fn both_versions_and_every_cloud_are_matched_on_the_tid() {
        for template in [V2, V1, EXTERNAL, "https://login.microsoftonline.us/{tenantid}/v2.0"] {
            let claims = || json!({"tid": OURS, "iss": of(template, OURS)});
            assert_eq!(judged(template, Some(template), claims()).as_deref(), Ok(OURS), "{template}");
            assert_eq!(judged(&of(template, OURS), Some(template), claims()).as_deref(), Ok(OURS), "{template}");
            assert_eq!(judged(&of(template, OURS), Some(&of(template, OURS)), claims()).as_deref(), Ok(OURS));
            let spelt = template.replace("{tenantid}", "{TenantId}");
            assert_eq!(judged(&spelt, Some(&spelt), claims()).as_deref(), Ok(OURS), "{spelt}");
        }
    }

    #[test]
    fn a_forged_tid_does_not_fit_the_issuer() {
        for claims in [
            json!({"tid": OTHER, "iss": of(V2, OURS)}),
            json!({"tid": OURS, "iss": of(V2, OTHER)}),
            json!({"tid": OURS, "iss": V2}),
            json!({"tid": OURS, "iss": of(V1, OURS)}),
            json!({"tid": OURS, "iss": format!("{}/", of(V2, OURS))}),
            json!({"tid": OURS, "iss": of(V2, &OURS.to_ascii_uppercase())}),
            json!({"tid": "common", "iss": of(V2, "common")}),
            json!({"tid": "..", "iss": of(V2, "..")}),
            json!({"tid": "", "iss": of(V2, "")}),
            json!({"tid": 7, "iss": of(V2, OURS)}),
            json!({"iss": of(V2, OURS)}),
            json!({"tid": OURS}),
        ] {
            assert!(judged(V2, Some(V2), claims.clone()).is_err(), "{claims}");
        }
    }

    #[test]
    fn an_exact_issuer_takes_no_token_of_another_tenant() {
        let exact = of(V2, OURS);
        assert!(judged(&exact, Some(V2), json!({"tid": OTHER, "iss": of(V2, OTHER)})).is_err());
        assert!(judged(&exact, Some(V2), json!({"tid": OTHER, "iss": exact})).is_err());
    }

    #[test]
    fn a_key_signs_for_the_issuer_that_it_names_alone() {
        let ours = json!({"tid": OURS, "iss": of(V2, OURS)});
        let consumers = json!({"tid": CONSUMERS, "iss": of(V2, CONSUMERS)});
        let of_consumers = of(V2, CONSUMERS);
        assert_eq!(judged(V2, Some(&of_consumers), consumers).as_deref(), Ok(CONSUMERS));
        for (issuer, key) in [
            (V2.to_owned(), Some(of_consumers.as_str())),
            (of(V2, OURS), Some(of_consumers.as_str())),
            (V2.to_owned(), Some(V1)),
            (V2.to_owned(), Some("")),
            (V2.to_owned(), None),
        ] {
            assert!(judged(&issuer, key, ours.clone()).is_err(), "{issuer} {key:?}");
        }
        assert_eq!(judged(&of(V2, OURS), None, ours).as_deref(), Ok(OURS), "the keys of one issuer's own document");
    }

    #[test]
    fn without_tid_an_exact_issuer_names_the_tenant() {
        let b2c = format!("https://contoso.b2clogin.com/{OURS}/v2.0/");
        assert_eq!(judged(&b2c, None, json!({"iss": b2c})).as_deref(), Ok(OURS));
        let nameless = "https://contoso.b2clogin.com/tfp/v2.0/";
        assert!(judged(nameless, None, json!({"iss": nameless})).is_err());
    }

    proptest! {
        #[test]
        fn no_claim_makes_the_tenant_another_than_the_issuer_says(
            tid in prop_oneof![Just(OURS.to_owned()), Just(OTHER.to_owned()), ".{0,40}"],
            iss in prop_oneof![Just(of(V2, OURS)), Just(of(V2, OTHER)), Just(V2.to_owned()), ".{0,60}"],
            key in prop_oneof![Just(V2.to_owned()), Just(of(V2, OTHER)), ".{0,60}"],
        ) {
            let Ok(tenant) = judged(V2, Some(&key), json!({"tid": tid, "iss": iss})) else { return Ok(()) };
            prop_assert_eq!(&tenant, &tid);
            prop_assert_eq!(&iss, &of(V2, &tenant));
            prop_assert_eq!(filled(&key, &TenantId::parse(&tid).unwrap()), iss);
        }
    }
}
