//! What is an access token, and what only looks like one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Times, bound_to, check_audience, check_kind, check_times};
use crate::clock::Timestamp;
use crate::config::{AcceptedIssuer, Admission, GroupSources, IssuerKind, TokenIssuer, Verification};
use crate::gateway::refusal::TokenFault;
use crate::keys::Members;

const NOW: Timestamp = Timestamp(1_800_000_000);
const GUID: &str = "11112222-bbbb-3333-cccc-4444dddd5555";

fn issuer(kind: IssuerKind, typ: &str) -> TokenIssuer {
    TokenIssuer {
        id: "corp".to_owned(),
        kind,
        issuer: "https://sso.example.com".to_owned(),
        advertised: "https://sso.example.com".to_owned(),
        discovery: "https://sso.example.com/.well-known/openid-configuration".parse().unwrap(),
        jwks_uri: None,
        verification: Verification::Jwt,
        audiences: Vec::new(),
        scope_claims: Vec::new(),
        scope_prefix: None,
        groups: GroupSources::default(),
        admission: Admission::default(),
        algorithms: vec!["RS256".to_owned()],
        typ: typ.to_owned(),
        tenants: Vec::new(),
        trust_email: false,
        ca_file: None,
    }
}

fn members(value: &Value) -> Members {
    serde_json::from_value(value.clone()).unwrap()
}

fn kind(issuer: &TokenIssuer, header: &Value, claims: &Value) -> Option<TokenFault> {
    check_kind(&members(header), &members(claims), issuer).err().map(|(fault, _)| fault)
}

#[test]
fn an_access_token_of_each_kind_of_issuer_is_one() {
    let keycloak = issuer(IssuerKind::Keycloak, "jwt");
    let entra = issuer(IssuerKind::Entra, "jwt");
    let (strict, plain) = (issuer(IssuerKind::Oidc, "at+jwt"), issuer(IssuerKind::Oidc, "jwt"));
    let okta = issuer(IssuerKind::Oidc, "okta-internal-at+jwt");
    for (issuer, header, claims) in [
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "Bearer", "azp": "c"})),
        (&keycloak, json!({"typ": "at+jwt"}), json!({"typ": "Bearer"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "DPoP"})),
        (&entra, json!({"typ": "JWT"}), json!({"azp": GUID, "scp": "mcp.access", "ver": "2.0"})),
        (&entra, json!({"typ": "JWT", "x5t": "x"}), json!({"appid": GUID, "ver": "1.0"})),
        (&strict, json!({"typ": "at+jwt"}), json!({})),
        (&strict, json!({"typ": "Application/AT+JWT"}), json!({"client_id": "c", "nonce": "allowed beside the type"})),
        (&plain, json!({"typ": "JWT"}), json!({"scope": "mcp:access"})),
        (&plain, json!({}), json!({"client_id": "c"})),
        (&okta, json!({"typ": "application/okta-internal-at+jwt"}), json!({"cid": "c"})),
        (&plain, json!({"typ": "JWT"}), json!({"token_use": "access", "client_id": "c"})),
    ] {
        let mut header = header;
        header["alg"] = json!("RS256");
        assert_eq!(kind(issuer, &header, &claims), None, "{header} {claims}");
    }
}

#[test]
fn tokens_of_other_kinds_are_told_apart_whatever_signed_them() {
    let keycloak = issuer(IssuerKind::Keycloak, "jwt");
    let entra = issuer(IssuerKind::Entra, "jwt");
    let (strict, plain) = (issuer(IssuerKind::Oidc, "at+jwt"), issuer(IssuerKind::Oidc, "jwt"));
    for (issuer, header, claims) in [
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "ID", "azp": "c", "nonce": "n"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "Refresh"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "Offline"})),
        (&keycloak, json!({"typ": "logout+jwt"}), json!({"typ": "Logout"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": "Logout"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"azp": "c"})),
        (&keycloak, json!({"typ": "JWT"}), json!({"typ": ["Bearer"]})),
        (&keycloak, json!({"typ": "at+jwt"}), json!({"typ": "ID"})),
        (&entra, json!({"typ": "JWT", "nonce": "x"}), json!({"appid": GUID, "aud": "https://graph.microsoft.com"})),
        (&entra, json!({"typ": "JWT"}), json!({"aud": GUID, "oid": "o", "roles": ["mcp.access"]})),
        (&entra, json!({"typ": "JWT"}), json!({"azp": GUID, "at_hash": "x"})),
        (&strict, json!({"typ": "JWT"}), json!({"scope": "mcp:access", "client_id": "c"})),
        (&strict, json!({}), json!({"scope": "mcp:access"})),
        (&strict, json!({"typ": 7}), json!({})),
        (&strict, json!({"typ": "id_token+jwt"}), json!({})),
        (&strict, json!({"typ": "dpop+jwt"}), json!({})),
        (&strict, json!({"typ": "oauth-id-jag+jwt"}), json!({})),
        (&strict, json!({"typ": "at+jwt"}), json!({"events": {}})),
        (&plain, json!({"typ": "JWT"}), json!({"sub": "u", "aud": "c"})),
        (&plain, json!({"typ": "JWT"}), json!({"sub": "u", "scope": "openid", "nonce": "n"})),
        (&plain, json!({"typ": "JWT"}), json!({"scope": "x", "c_hash": "h"})),
        (&plain, json!({"typ": "JWT"}), json!({"token_use": "id", "client_id": "c"})),
        (&plain, json!({"typ": "JWT"}), json!({"token_use": ["access"], "client_id": "c"})),
    ] {
        let mut header = header;
        header["alg"] = json!("RS256");
        assert_eq!(kind(issuer, &header, &claims), Some(TokenFault::Kind), "{header} {claims}");
    }
}

#[test]
fn only_algorithms_that_the_operator_allowed_are_looked_at() {
    let issuer = issuer(IssuerKind::Oidc, "at+jwt");
    for alg in [json!("ES256"), json!("none"), json!("HS256"), json!("rs256"), json!(["RS256"]), Value::Null] {
        let header = json!({"typ": "at+jwt", "alg": alg});
        assert_eq!(kind(&issuer, &header, &json!({})), Some(TokenFault::Other), "{header}");
    }
}

#[test]
fn a_token_has_its_time_with_a_minute_of_leeway() {
    let times = |claims: Value| check_times(&members(&claims), NOW).map_err(|(fault, _)| fault);
    let good = times(json!({"iat": NOW.0 - 10, "nbf": NOW.0 + 60, "exp": NOW.0 - 59}));
    assert_eq!(good, Ok(Some(Times { issued_at: Timestamp(NOW.0 - 10), until: Timestamp(NOW.0 + 1) })));
    assert_eq!(times(json!({"iat": NOW.0})), Ok(None), "the caller refuses a JWT without exp");
    for late_or_early in [
        json!({"exp": NOW.0 - 60}),
        json!({"exp": NOW.0 + 9, "iat": NOW.0 + 61}),
        json!({"exp": NOW.0 + 9, "nbf": NOW.0 + 61}),
    ] {
        assert_eq!(times(late_or_early.clone()), Err(TokenFault::Time), "{late_or_early}");
    }
    for no_time in [json!({"exp": "soon"}), json!({"exp": -1}), json!({"exp": 1e300}), json!({"iat": {}})] {
        assert_eq!(times(no_time.clone()), Err(TokenFault::Other), "{no_time}");
    }
}

fn audience(kind: IssuerKind, accepted: &[&str], aud: &Value) -> Result<(), TokenFault> {
    let accepted: Vec<_> = accepted.iter().map(|audience| (*audience).to_owned()).collect();
    let accepted = AcceptedIssuer::new(Arc::new(issuer(kind, "jwt")), &accepted);
    check_audience(&members(&json!({ "aud": aud })), &accepted).map_err(|(fault, _)| fault)
}

#[test]
fn every_form_of_an_audience_is_accepted_and_nothing_near_it() {
    let api = format!("api://{GUID}");
    for aud in [json!(GUID), json!(api), json!(format!("{api}/")), json!(["https://other", GUID])] {
        assert_eq!(audience(IssuerKind::Entra, &[GUID], &aud), Ok(()), "{aud}");
    }
    let url = "https://mcp.example.com/mcp";
    for aud in [json!(url), json!(format!("{url}/")), json!(["account", url])] {
        assert_eq!(audience(IssuerKind::Keycloak, &[url], &aud), Ok(()), "{aud}");
    }
    for aud in [
        json!(format!("{url}//")),
        json!("HTTPS://mcp.example.com/mcp"),
        json!("https://mcp.example.com"),
        json!("account"),
        json!(GUID),
        json!(api),
        json!([]),
        json!([url, 7]),
        json!({ url: true }),
        Value::Null,
    ] {
        assert_eq!(audience(IssuerKind::Keycloak, &[url], &aud), Err(TokenFault::Audience), "{aud}");
    }
    assert_eq!(audience(IssuerKind::Oidc, &[GUID], &json!(api)), Err(TokenFault::Audience), "forms of Entra alone");
    let graph = json!("00000003-0000-0000-c000-000000000000");
    assert_eq!(audience(IssuerKind::Entra, &[GUID], &graph), Err(TokenFault::Kind));
}

#[test]
fn a_bound_token_needs_an_upstream_that_takes_them_and_a_binding_that_is_proven() {
    let jkt = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let bound = |cnf: Value, takes| bound_to(&members(&json!({ "cnf": cnf })), takes).map_err(|(fault, _)| fault);
    assert_eq!(bound_to(&members(&json!({})), false), Ok(None));
    assert_eq!(bound(json!({"jkt": jkt}), true).unwrap().unwrap().to_string(), jkt);
    assert_eq!(bound(json!({"jkt": jkt}), false), Err(TokenFault::Other));
    for other in
        [json!({"x5t#S256": jkt}), json!({"jkt": jkt, "x5t#S256": jkt}), json!({"jkt": "short"}), json!({}), json!(7)]
    {
        assert_eq!(bound(other.clone(), true), Err(TokenFault::Other), "{other}");
    }
}
