//! What is wrong with who we are at a provider, by its answers to a code and a refresh token that it never issued: a provider
//! that refuses these has accepted the client before (RFC 6749 5.2).

use super::authorization::numbered;
use super::console::{Product, Spot};
use super::subject::Subject;
use crate::cli::doctor::finding::{Finding, Id};
use crate::identity::{Beyond, EntraNumber, Meaning, TokenAnswer};
use crate::outbound::Diagnosis;

pub(super) fn diagnose(subject: &Subject<'_>, beyond: &Beyond) -> Vec<Finding> {
    let mut findings: Vec<_> = answer(subject, &beyond.code, "code").into_iter().collect();
    // some look at a code before they look at who redeems it, and at a refresh token after
    let second = beyond.refresh_token.as_ref().and_then(|said| answer(subject, said, "refresh token"));
    findings.extend(second.filter(|second| !findings.iter().any(|first| first.id == second.id)));
    if beyond.accepts_any_secret {
        let what = "it accepts any client secret: the client is a public one, and anyone who knows its id can use it";
        let finding = subject.finding(Id::ProviderAnySecret, "client_secret", what);
        let finding = finding.elsewhere(subject.there(Spot::ClientAuthentication));
        findings.push(finding.mend("switch client authentication on for the client, and copy its secret"));
    }
    findings
}

fn answer(subject: &Subject<'_>, answer: &TokenAnswer, made_up: &str) -> Option<Finding> {
    match answer {
        TokenAnswer::Accepted => {
            let what = format!("its token endpoint accepts a {made_up} that it never issued");
            let finding = subject.finding(Id::ProviderMadeUp, subject.key_of_address(), what);
            Some(finding.mend("do not trust this provider with sign-ins: check `issuer`"))
        }
        TokenAnswer::Unclear(diagnosis) => {
            let (cause, hint) = diagnosis.clone().into_parts();
            let finding = subject.finding(Id::ProviderTokenEndpoint, subject.key_of_address(), cause);
            Some(finding.mend(hint.unwrap_or_else(|| "see the log of the provider".to_owned())))
        }
        TokenAnswer::Refused { error, meaning, said } => refused(subject, error, *meaning, said),
    }
}

fn refused(subject: &Subject<'_>, error: &str, meaning: Meaning, said: &Diagnosis) -> Option<Finding> {
    let (cause, hint) = said.clone().into_parts();
    if let Some(number) = EntraNumber::find(&cause) {
        let finding = numbered(subject, &number);
        let is_fault = meaning == Meaning::ClientRefused || finding.id != Id::ProviderAuthorization;
        return is_fault.then_some(finding);
    }
    let words = cause.to_ascii_lowercase();
    let has = |all: &[&str]| all.iter().any(|one| words.contains(one));
    let refuses = meaning == Meaning::ClientRefused;
    let (id, key, spot, mend) = if has(&["realm not enabled"]) {
        (Id::ProviderRealmDisabled, "issuer", Spot::Realm, "enable the realm")
    } else if has(&["https required"]) {
        let mend = "reach the provider by https, or let the realm require it of external requests only";
        (Id::ProviderHttps, "issuer", Spot::RequireSsl, mend)
    } else if has(&["dpop proof is missing"]) {
        (Id::ProviderDpop, "client_id", Spot::Dpop, "switch it off for this client: no proof is sent to the provider")
    } else if has(&["authentication method not allowed"]) {
        let mend = "let a client policy there allow client authentication by id and secret";
        (Id::ProviderAuthentication, "client_secret", Spot::Policies, mend)
    } else if refuses && has(&["bearer-only"]) {
        (Id::ProviderStandardFlow, "client_id", Spot::StandardFlow, "switch it on: the authorization code flow")
    } else if refuses && has(&["invalid method used", "client_assertion", "missing client_id"]) {
        let mend = "choose \"Client Id and Secret\", for HTTP Basic too: a secret is what is sent";
        (Id::ProviderAuthentication, "client_secret", Spot::Authenticator, mend)
    } else if refuses && subject.product() == Product::Keycloak && error == "invalid_client" {
        let mend = "write the id of an enabled client of this realm";
        (Id::ProviderClientUnknown, "client_id", Spot::ClientId, mend)
    } else if refuses {
        (Id::ProviderSecret, "client_secret", Spot::Secret, "copy the secret from there")
    } else {
        return None;
    };
    let mend = match (id, hint) {
        (Id::ProviderSecret, Some(hint)) if subject.product() == Product::Other => hint,
        _ => mend.to_owned(),
    };
    Some(subject.finding(id, key, cause).elsewhere(subject.there(spot)).mend(mend))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{beyond, subject};
    use super::diagnose;
    use crate::config::OidcFlavour;
    use crate::identity::{Beyond, Meaning, TokenAnswer};
    use crate::outbound::Diagnosis;

    fn ids(flavour: OidcFlavour, code: TokenAnswer) -> Vec<&'static str> {
        let settings = subject::settings(flavour);
        let findings = diagnose(&subject::of(&settings), &Beyond { code, ..beyond() });
        findings.iter().map(|finding| finding.id.as_str()).collect()
    }

    fn refused(error: &str, meaning: Meaning, words: &str) -> TokenAnswer {
        TokenAnswer::Refused { error: error.to_owned(), meaning, said: Diagnosis::new(words) }
    }

    #[test]
    fn a_refusal_of_the_client_is_told_from_a_refusal_of_the_code() {
        let client = Meaning::ClientRefused;
        for (error, meaning, words, keycloak, other) in [
            ("invalid_grant", Meaning::SessionOver, "Code not valid", None, None),
            ("invalid_request", Meaning::Other, "no such code", None, None),
            ("unauthorized_client", client, "401", Some("provider.client_secret"), Some("provider.client_secret")),
            ("invalid_client", client, "401", Some("provider.client_unknown"), Some("provider.client_secret")),
            ("invalid_request", Meaning::Other, "DPoP proof is missing", Some("provider.dpop"), Some("provider.dpop")),
            (
                "invalid_client",
                client,
                "Parameter client_assertion_type is missing",
                Some("provider.client_authentication"),
                Some("provider.client_authentication"),
            ),
            (
                "access_denied",
                Meaning::Denied,
                "Realm not enabled",
                Some("provider.realm_disabled"),
                Some("provider.realm_disabled"),
            ),
        ] {
            let answer = || refused(error, meaning, words);
            assert_eq!(ids(OidcFlavour::Keycloak, answer()).first().copied(), keycloak, "{error} {words}");
            assert_eq!(ids(OidcFlavour::Generic, answer()).first().copied(), other, "{error} {words}");
        }
        assert_eq!(ids(OidcFlavour::Generic, TokenAnswer::Accepted), ["provider.accepts_made_up"]);
        let unclear = TokenAnswer::Unclear(Diagnosis::new("no answer"));
        assert_eq!(ids(OidcFlavour::Generic, unclear), ["provider.token_endpoint"]);
    }

    #[test]
    fn the_same_fault_is_told_once_and_a_public_client_too() {
        let settings = subject::settings(OidcFlavour::Generic);
        let wrong = || refused("invalid_client", Meaning::ClientRefused, "401");
        let findings = diagnose(
            &subject::of(&settings),
            &Beyond { code: wrong(), refresh_token: Some(wrong()), accepts_any_secret: true, ..beyond() },
        );
        let ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
        assert_eq!(ids, ["provider.client_secret", "provider.any_secret"]);
    }
}
