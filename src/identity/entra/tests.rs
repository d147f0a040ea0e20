//! What follows from the settings, without a provider.

use std::sync::Arc;

use serde_json::json;

use super::{
    answer_issuer_is, inward_scope, is_verified, leaves_groups_out, meaning, metadata_issuer_is, outward_scopes,
    token_scopes,
};
use crate::config::{EntraSettings, EntraTenant, GroupsOverage, OidcFlavour, TenantId};
use crate::identity::generic::{Meaning, Symptom};
use crate::keys::Members;
use crate::oauth::scope::ScopeSet;

const OURS: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const OTHER: &str = "bbbbcccc-1111-dddd-2222-eeee3333ffff";
const WORLDWIDE: &str = "https://login.microsoftonline.com";
const API: &str = "api://00001111-aaaa-2222-bbbb-3333cccc4444";

fn settings(tenant: EntraTenant, authority: &str) -> EntraSettings {
    EntraSettings {
        tenant,
        authority: authority.to_owned(),
        issuer: None,
        allowed_tenants: vec![TenantId::parse(OURS).unwrap()],
        app_id_uri: Some(API.to_owned()),
        send_resource: false,
        prompt: None,
        credential: None,
        groups_overage: GroupsOverage::Deny,
        graph_url: "https://graph.microsoft.com".to_owned(),
    }
}

fn id() -> EntraTenant {
    EntraTenant::Id(TenantId::parse(OURS).unwrap())
}

fn domain() -> EntraTenant {
    EntraTenant::Domain("contoso.onmicrosoft.com".to_owned())
}

fn claims(value: serde_json::Value) -> Members {
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_issuer_of_the_metadata_is_that_of_authority_and_tenant() {
    let of = |root: &str, segment: &str, end: &str| format!("{root}/{segment}/v2.0{end}");
    for (tenant, authority, issuer, fits) in [
        (id(), WORLDWIDE, of(WORLDWIDE, OURS, ""), true),
        (id(), WORLDWIDE, of(WORLDWIDE, OTHER, ""), false),
        (id(), WORLDWIDE, of(WORLDWIDE, "{tenantid}", ""), false),
        (id(), WORLDWIDE, of("https://login.microsoftonline.us", OURS, ""), false),
        (id(), WORLDWIDE, of("http://login.microsoftonline.com", OURS, ""), false),
        (id(), WORLDWIDE, format!("https://sts.windows.net/{OURS}/"), false),
        (id(), WORLDWIDE, format!("{WORLDWIDE}/{OURS}"), false),
        (domain(), WORLDWIDE, of(WORLDWIDE, OTHER, ""), true),
        (domain(), WORLDWIDE, of(WORLDWIDE, "contoso.onmicrosoft.com", ""), false),
        (domain(), WORLDWIDE, of(WORLDWIDE, "{tenantid}", ""), false),
        (EntraTenant::Common, WORLDWIDE, of(WORLDWIDE, "{tenantid}", ""), true),
        (EntraTenant::Organizations, WORLDWIDE, of(WORLDWIDE, "{TenantId}", ""), true),
        (EntraTenant::Common, WORLDWIDE, of(WORLDWIDE, OURS, ""), false),
        (id(), "https://contoso.ciamlogin.com", of(&format!("https://{OURS}.ciamlogin.com"), OURS, ""), true),
        (id(), "https://contoso.ciamlogin.com", of(&format!("https://{OTHER}.ciamlogin.com"), OURS, ""), false),
        (id(), WORLDWIDE, of(&format!("https://{OURS}.ciamlogin.com"), OURS, ""), false),
        (
            id(),
            "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_x",
            of("https://contoso.b2clogin.com", OURS, "/"),
            true,
        ),
        (id(), "https://login.chinacloudapi.cn", of("https://login.partner.microsoftonline.cn", OURS, ""), true),
        (id(), WORLDWIDE, String::new(), false),
        (id(), WORLDWIDE, "https://".to_owned(), false),
    ] {
        let settings = settings(tenant.clone(), authority);
        assert_eq!(metadata_issuer_is(&settings, &issuer), fits, "{tenant:?} {authority} {issuer}");
    }
    let explicit = EntraSettings { issuer: Some("https://x/y".to_owned()), ..settings(id(), WORLDWIDE) };
    assert!(metadata_issuer_is(&explicit, "https://x/y") && !metadata_issuer_is(&explicit, &of(WORLDWIDE, OURS, "")));
}

#[test]
fn an_issuer_on_a_redirect_is_that_of_an_admitted_tenant() {
    let template = format!("{WORLDWIDE}/{{tenantid}}/v2.0");
    let many = settings(EntraTenant::Common, WORLDWIDE);
    for (stated, fits) in [
        (format!("{WORLDWIDE}/{OURS}/v2.0"), true),
        (format!("{WORLDWIDE}/{OTHER}/v2.0"), false),
        (template.clone(), false),
        ("https://evil.example".to_owned(), false),
    ] {
        assert_eq!(answer_issuer_is(&many, Some(&template), &stated), fits, "{stated}");
        assert!(!answer_issuer_is(&many, None, &stated), "unknown metadata vouch for nothing");
    }
}

#[test]
fn scopes_are_qualified_outward_and_stripped_inward() {
    let settings = settings(id(), WORLDWIDE);
    let scopes =
        ScopeSet::parse("openid profile email offline_access mcp.read https://graph.microsoft.com/User.Read").unwrap();
    let outward = outward_scopes(&settings, &scopes);
    assert_eq!(
        outward,
        format!("email https://graph.microsoft.com/User.Read {API}/mcp.read offline_access openid profile")
    );
    assert_eq!(token_scopes(&settings, &scopes), format!("email {API}/mcp.read offline_access openid profile"));
    assert_eq!(inward_scope(&settings, &format!("{API}/mcp.read")), "mcp.read");
    for other in ["https://graph.microsoft.com/User.Read", "openid", "api://other/mcp.read", &format!("{API}mcp.read")]
    {
        assert_eq!(inward_scope(&settings, other), other);
    }
    let graph = ScopeSet::parse("openid https://a/x https://b/y https://b/z").unwrap();
    assert_eq!(token_scopes(&settings, &graph), "https://a/x openid", "those of one API");
}

#[test]
fn decisions_follow_error_and_suberror_and_never_a_number() {
    for (error, suberror, claims, expected) in [
        ("invalid_grant", None, false, Meaning::SessionOver),
        ("invalid_grant", Some("bad_token"), false, Meaning::SessionOver),
        ("invalid_grant", Some("token_expired"), false, Meaning::SessionOver),
        ("invalid_grant", Some("something_new"), false, Meaning::SessionOver),
        ("invalid_grant", Some("basic_action"), false, Meaning::UserMustAct),
        ("invalid_grant", Some("additional_action"), false, Meaning::UserMustAct),
        ("invalid_grant", Some("consent_required"), false, Meaning::UserMustAct),
        ("invalid_grant", Some("bad_token"), true, Meaning::UserMustAct),
        ("interaction_required", None, false, Meaning::UserMustAct),
        ("invalid_scope", None, false, Meaning::Other),
        ("invalid_client", Some("basic_action"), true, Meaning::ClientRefused),
        ("temporarily_unavailable", None, false, Meaning::Unavailable),
    ] {
        assert_eq!(meaning(error, suberror, claims), expected, "{error} {suberror:?} {claims}");
    }
}

#[test]
fn groups_that_are_elsewhere_are_noticed_under_the_configured_name() {
    let overage =
        claims(json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}));
    assert!(leaves_groups_out(&overage, "groups") && !leaves_groups_out(&overage, "roles"));
    assert!(leaves_groups_out(&claims(json!({"hasgroups": true})), "groups"));
    assert!(leaves_groups_out(&claims(json!({"hasgroups": "true"})), "groups"));
    assert!(!leaves_groups_out(&claims(json!({"hasgroups": false, "groups": ["a"]})), "groups"));
    assert!(!leaves_groups_out(&claims(json!({})), "groups"));
}

#[test]
fn an_address_is_verified_by_the_owner_of_its_domain_alone() {
    for (value, verified) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!("true"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("0"), false),
        (json!(null), false),
    ] {
        assert_eq!(is_verified(&claims(json!({"xms_edov": value, "email_verified": true}))), verified, "{value}");
    }
}

#[test]
fn a_hint_names_the_settings_of_this_kind() {
    let flavour = OidcFlavour::Entra(Arc::new(settings(id(), WORLDWIDE)));
    for (symptom, part) in [
        (Symptom::OtherIssuer, "`tenant`"),
        (Symptom::NoMetadata(http::StatusCode::BAD_REQUEST), OURS),
        (Symptom::Error("invalid_client"), "app registration"),
    ] {
        let hint = flavour.hint(symptom, "corp").unwrap();
        assert!(hint.contains(part) && !hint.contains("Keycloak"), "{symptom:?}: {hint}");
    }
}
