//! What is wrong with the authorization request of a sign-in, by where it ends without a user.

use super::console::{Product, Spot};
use super::subject::Subject;
use crate::cli::doctor::finding::{Finding, Id};
use crate::identity::{Beyond, EntraNumber, Visit, VisitEnd};
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::telemetry::excerpt;

/// Errors that say no more than that no user is there.
const NO_USER: [&str; 6] = [
    "login_required",
    "interaction_required",
    "consent_required",
    "account_selection_required",
    "registration_required",
    "access_denied",
];

pub(super) fn diagnose(subject: &Subject<'_>, beyond: &Beyond) -> Vec<Finding> {
    let visit = match &beyond.visit {
        Ok(visit) => visit,
        Err(diagnosis) => {
            let (cause, hint) = diagnosis.clone().into_parts();
            let what = format!("its authorization endpoint cannot be reached from here: {cause}");
            let finding = subject.finding(Id::ProviderAuthorizationEndpoint, subject.key_of_address(), what);
            return vec![finding.mend(hint.unwrap_or_else(|| "browsers must reach it, too".to_owned()))];
        }
    };
    match &visit.end {
        VisitEnd::Elsewhere | VisitEnd::BackWithCode => Vec::new(),
        VisitEnd::Back { error, description } => back(subject, beyond, error, description),
        VisitEnd::Page(text) => page(subject, visit, text).into_iter().collect(),
    }
}

/// An error at our redirect URI, which therefore is registered.
fn back(subject: &Subject<'_>, beyond: &Beyond, error: &str, description: &str) -> Vec<Finding> {
    if NO_USER.contains(&error) {
        return Vec::new();
    }
    let said = format!("it answers the authorization request with {} ({})", excerpt(error), excerpt(description));
    if let Some(number) = EntraNumber::find(description) {
        let finding = numbered(subject, &number);
        let scopes = beyond.refused_scopes.join(" ");
        let finding = match finding.id {
            Id::ProviderScope if !scopes.is_empty() => {
                Finding { what: format!("it refuses {scopes}: {}", finding.what), ..finding }
            }
            _ => finding,
        };
        return vec![finding];
    }
    if error == "invalid_scope" {
        return refused_scopes(subject, beyond, &said);
    }
    if matches!(error, "server_error" | "temporarily_unavailable") {
        let finding = subject.finding(Id::ProviderAuthorizationEndpoint, subject.key_of_address(), said);
        return vec![finding.mend("see the log of the provider")];
    }
    let words = description.to_ascii_lowercase();
    let (id, spot, mend) = if matches!(error, "unauthorized_client" | "unsupported_response_type") {
        (Id::ProviderStandardFlow, Spot::StandardFlow, "switch it on for the client: the authorization code flow")
    } else if words.contains("code_challenge") || words.contains("code challenge") || words.contains("pkce") {
        (Id::ProviderPkce, Spot::Pkce, "choose S256: no other method is sent, and none is safe")
    } else if words.contains("pushed") || words.contains("par request_uri") {
        (Id::ProviderPushedRequests, Spot::PushedRequests, "switch it off: requests are not pushed")
    } else if words.contains("'request'") || words.contains("request object") {
        (Id::ProviderRequestObject, Spot::RequestObject, "do not demand it: requests are not signed")
    } else if words.contains("redirect_uri") || words.contains("redirect uri") {
        return vec![redirect_policy(subject, &said)];
    } else {
        (Id::ProviderAuthorization, Spot::Policies, "its log says more; a policy may refuse what the client asks for")
    };
    vec![subject.finding(id, "client_id", said).elsewhere(subject.there(spot)).mend(mend)]
}

fn refused_scopes(subject: &Subject<'_>, beyond: &Beyond, said: &str) -> Vec<Finding> {
    let offline = beyond.refused_scopes.iter().any(|scope| scope == OFFLINE_ACCESS);
    let others: Vec<_> =
        beyond.refused_scopes.iter().map(String::as_str).filter(|scope| *scope != OFFLINE_ACCESS).collect();
    let mut findings = Vec::new();
    if !others.is_empty() || !offline {
        let which = if others.is_empty() { String::new() } else { format!("; refused: {}", others.join(" ")) };
        let finding = subject.finding(Id::ProviderScope, "scopes", format!("{said}{which}"));
        let finding = finding.elsewhere(subject.there(Spot::Scopes));
        findings.push(finding.mend("assign the scope to the client there, or take it out of `scopes`"));
    }
    if offline {
        let what = "it does not let our client ask for offline_access, so each sign-in takes a second round without it";
        let finding = subject.finding(Id::ProviderOffline, "standing", what).elsewhere(subject.there(Spot::Scopes));
        findings.push(
            finding.mend("assign offline_access to the client as an optional scope, or write standing = \"session\""),
        );
    }
    findings
}

/// A page in place of a redirect. The sign-in page is one, too.
fn page(subject: &Subject<'_>, visit: &Visit, text: &str) -> Option<Finding> {
    if let Some(number) = EntraNumber::find(text) {
        return Some(numbered(subject, &number));
    }
    let status = visit.status.as_u16();
    if visit.status.is_success() {
        return None;
    }
    let said = format!("its authorization endpoint answers with a page ({status}): {:?}", excerpt(text));
    if visit.status.is_server_error() || status == 429 {
        let finding = subject.finding(Id::ProviderAuthorizationEndpoint, subject.key_of_address(), said);
        return Some(finding.mend("see the log of the provider"));
    }
    Some(refused_on_a_page(subject, said, &text.to_ascii_lowercase()))
}

/// The user would end there, and neither the client nor we would learn of it.
fn refused_on_a_page(subject: &Subject<'_>, said: String, words: &str) -> Finding {
    let has = |all: &[&str]| all.iter().any(|one| words.contains(one));
    if has(&["invalid redirect uri:", "loopback"]) {
        return redirect_policy(subject, &said);
    }
    let (id, key, spot, mend) = if has(&["redirect_uri", "redirect uri", "callback url"]) {
        let mend = format!("register {} there, letter by letter", subject.redirect_uri);
        return subject
            .finding(Id::ProviderRedirectUri, "id", said)
            .elsewhere(subject.there(Spot::RedirectUris))
            .mend(mend);
    } else if has(&["realm not enabled"]) {
        (Id::ProviderRealmDisabled, "issuer", Spot::Realm, "enable the realm")
    } else if has(&["https required"]) {
        (
            Id::ProviderHttps,
            "issuer",
            Spot::RequireSsl,
            "reach the provider by https, or let the realm require it of external requests only",
        )
    } else if has(&["disabled", "not enabled"]) && !has(&["flow"]) {
        (Id::ProviderClientDisabled, "client_id", Spot::ClientEnabled, "enable the client")
    } else if has(&["bearer-only", "flow"]) {
        (
            Id::ProviderStandardFlow,
            "client_id",
            Spot::StandardFlow,
            "switch it on for the client: the authorization code flow",
        )
    } else if has(&["par request_uri", "pushed"]) {
        (Id::ProviderPushedRequests, "client_id", Spot::PushedRequests, "switch it off: requests are not pushed")
    } else if has(&["client not found", "client_id", "unknown client", "invalid client", "client was not found"]) {
        (
            Id::ProviderClientUnknown,
            "client_id",
            Spot::ClientId,
            "write the id of the client that the provider has for Portcullis",
        )
    } else {
        let mend = match subject.product() {
            Product::Keycloak => {
                "see the log of Keycloak at level DEBUG (org.keycloak.services): a setting of the client or a client policy refuses the request"
            }
            Product::Entra | Product::Other => {
                "see the log of the provider; most often the redirect URI or the client id is another"
            }
        };
        (Id::ProviderAuthorization, "client_id", Spot::Policies, mend)
    };
    subject.finding(id, key, said).elsewhere(subject.there(spot)).mend(mend)
}

/// A policy of the provider about redirect URIs, whatever is registered.
fn redirect_policy(subject: &Subject<'_>, said: &str) -> Finding {
    let what = format!("{said}: a policy there refuses our redirect URI {}", subject.redirect_uri);
    let finding = subject.finding(Id::ProviderRedirectPolicy, "id", what).elsewhere(subject.there(Spot::Policies));
    finding.mend(
        "exempt this client from the policy (in Keycloak the executors secure-redirect-uris-enforcer and secure-client-uris), \
         or give Portcullis a public https URL",
    )
}

/// A number of Microsoft Entra ID.
pub(super) fn numbered(subject: &Subject<'_>, number: &EntraNumber) -> Finding {
    let (id, key, spot) = match number.number {
        50011 => (Id::ProviderRedirectUri, "id", Spot::RedirectUris),
        700_016 => (Id::ProviderClientUnknown, "client_id", Spot::ClientId),
        7_000_112 => (Id::ProviderClientDisabled, "client_id", Spot::ClientEnabled),
        90_002 | 900_023 => (Id::ProviderTenant, "tenant", Spot::Tenant),
        7_000_215 | 7_000_222 => (Id::ProviderSecret, "client_secret", Spot::Secret),
        7_000_216 | 7_000_218 | 700_025 => (Id::ProviderAuthentication, "client_id", Spot::ClientAuthentication),
        50027 | 700_023 | 700_024 | 700_027 => (Id::ProviderCertificate, "client_certificate", Spot::Certificates),
        70021 | 700_211 | 700_212 | 700_213 => {
            (Id::ProviderFederation, "federated_token_file", Spot::FederatedCredentials)
        }
        9_002_325..=9_002_327 => (Id::ProviderPlatform, "id", Spot::RedirectUris),
        650_053 | 70011 | 500_011 => (Id::ProviderScope, "scopes", Spot::Scopes),
        901_002 | 9_010_010 => (Id::ProviderResource, "send_resource", Spot::Resource),
        _ => (Id::ProviderAuthorization, "client_id", Spot::Policies),
    };
    let mend = match (id, number.hint) {
        (Id::ProviderRedirectUri, _) => {
            format!("register {} for the platform Web, letter by letter", subject.redirect_uri)
        }
        (_, hint) => hint.unwrap_or("look the number up at https://login.microsoftonline.com/error").to_owned(),
    };
    subject.finding(id, key, number.said.clone()).elsewhere(subject.there(spot)).mend(mend)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::testing::{beyond, subject};
    use super::diagnose;
    use crate::config::OidcFlavour;
    use crate::identity::{Beyond, Visit, VisitEnd};

    fn ids(flavour: &OidcFlavour, status: u16, end: VisitEnd) -> Vec<&'static str> {
        let settings = subject::settings(flavour.clone());
        let status = StatusCode::from_u16(status).unwrap();
        let findings = diagnose(&subject::of(&settings), &Beyond { visit: Ok(Visit { status, end }), ..beyond() });
        assert!(findings.iter().all(|finding| !finding.mend.is_empty()), "{findings:?}");
        findings.iter().map(|finding| finding.id.as_str()).collect()
    }

    #[test]
    fn a_page_is_told_by_its_words_whatever_the_product() {
        for (status, words, expected) in [
            (200, "Sign in to your account", &[][..]),
            (400, "Invalid parameter: redirect_uri", &["provider.redirect_uri"]),
            (400, "Unregistered redirect_uri (\"https://mcp.example.com/callback/corp\").", &["provider.redirect_uri"]),
            (403, "Callback URL mismatch.", &["provider.redirect_uri"]),
            (400, "Invalid Redirect Uri: invalid loopback address", &["provider.redirect_uri_policy"]),
            (400, "Client not found.", &["provider.client_unknown"]),
            (404, "Invalid client_id (\"portcullis\").", &["provider.client_unknown"]),
            (400, "Client disabled.", &["provider.client_disabled"]),
            (400, "Realm not enabled", &["provider.realm_disabled"]),
            (403, "Bearer-only applications are not allowed to initiate browser login", &["provider.standard_flow"]),
            (400, "PAR request_uri not included.", &["provider.pushed_requests"]),
            (400, "Etwas ging schief", &["provider.authorization_refused"]),
            (502, "Bad Gateway", &["provider.authorization_endpoint"]),
            (429, "slow down", &["provider.authorization_endpoint"]),
            (200, "AADSTS50011: the redirect URI does not match", &["provider.redirect_uri"]),
        ] {
            for flavour in [OidcFlavour::Keycloak, OidcFlavour::Generic] {
                assert_eq!(ids(&flavour, status, VisitEnd::Page(words.to_owned())), expected, "{words}");
            }
        }
    }

    #[test]
    fn an_error_at_our_redirect_uri_is_told_by_its_code_and_words() {
        for (error, description, expected) in [
            ("login_required", "", &[][..]),
            ("interaction_required", "", &[]),
            ("invalid_scope", "Invalid scopes: openid x", &["provider.scope"]),
            ("unauthorized_client", "Standard flow is disabled", &["provider.standard_flow"]),
            ("unsupported_response_type", "", &["provider.standard_flow"]),
            ("invalid_request", "Missing parameter: code_challenge_method", &["provider.pkce"]),
            ("invalid_request", "code challenge method is not matching", &["provider.pkce"]),
            ("invalid_request", "Pushed Authorization Request is only allowed.", &["provider.pushed_requests"]),
            ("invalid_request", "Missing parameter: 'request' or 'request_uri'", &["provider.request_object"]),
            ("invalid_request", "Invalid redirect_uri", &["provider.redirect_uri_policy"]),
            ("invalid_request", "something", &["provider.authorization_refused"]),
            ("server_error", "", &["provider.authorization_endpoint"]),
            ("invalid_request", "AADSTS9002325: PKCE is required", &["provider.redirect_uri_platform"]),
            ("invalid_target", "AADSTS9010010: no match", &["provider.resource"]),
        ] {
            let end = VisitEnd::Back { error: error.to_owned(), description: description.to_owned() };
            assert_eq!(ids(&OidcFlavour::Keycloak, 302, end), expected, "{error} {description}");
        }
        assert_eq!(ids(&OidcFlavour::Generic, 302, VisitEnd::Elsewhere), [""; 0]);
    }
}
