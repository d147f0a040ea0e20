//! What is wrong with a provider's metadata.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use url::Url;

use super::console::{Product, Spot};
use super::subject::Subject;
use crate::cli::doctor::finding::{Finding, Id};
use crate::clock::Timestamp;
use crate::config::Standing;
use crate::identity::{EntraNumber, Examination, Head};
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::outbound::Diagnosis;
use crate::telemetry::excerpt;

/// ID tokens of providers whose clocks differ more are refused.
const LEEWAY: u64 = 60;
/// From when on an answer is worth a word: people wait for several of them.
const SLOW: Duration = Duration::from_secs(5);
/// What may sign ID tokens here.
const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

pub(super) fn diagnose(subject: &Subject<'_>, examination: &Examination, now: Timestamp) -> Vec<Finding> {
    let head = match &examination.discovery {
        Ok(head) => head,
        Err(diagnosis) => return vec![unreachable(subject, diagnosis)],
    };
    let mut findings: Vec<_> = clock(subject, head, now).into_iter().collect();
    if !head.status.is_success() {
        findings.push(another_status(subject, head, &examination.document));
        return findings;
    }
    if head.took >= SLOW {
        let what = format!("its metadata took {:.1} s", head.took.as_secs_f32());
        let finding = subject.finding(Id::ProviderSlow, subject.key_of_address(), what);
        findings.push(finding.mend("people wait for it at each sign-in: see the load of the provider"));
    }
    match &examination.unusable {
        Some(diagnosis) => findings.push(unusable(subject, examination, diagnosis)),
        None => findings.extend(lacks(subject, &examination.document)),
    }
    findings
}

fn unreachable(subject: &Subject<'_>, diagnosis: &Diagnosis) -> Finding {
    let tls = diagnosis.concerns_tls();
    let (cause, hint) = diagnosis.clone().into_parts();
    let (id, key) =
        if tls { (Id::ProviderTls, "ca_file") } else { (Id::ProviderUnreachable, subject.key_of_address()) };
    let finding = subject.finding(id, key, format!("{} cannot be read: {cause}", subject.settings.discovery));
    finding.mend(hint.unwrap_or_else(|| "see the log of the provider, and of any proxy between".to_owned()))
}

fn another_status(subject: &Subject<'_>, head: &Head, document: &Value) -> Finding {
    let (key, url, status) = (subject.key_of_address(), &subject.settings.discovery, head.status.as_u16());
    let said = document.get("error_description").or_else(|| document.get("error")).and_then(Value::as_str);
    if let Some(to) = head.location.as_deref().filter(|_| head.status.is_redirection()) {
        let finding =
            subject.finding(Id::ProviderRedirects, key, format!("{url} redirects ({status}) to {:?}", excerpt(to)));
        return finding.mend("redirects are not followed: write the address at which the provider itself answers");
    }
    let what =
        format!("{url} answers {status}{}", said.map(|said| format!(" ({})", excerpt(said))).unwrap_or_default());
    if said == Some("HTTPS required") {
        let finding = subject.finding(Id::ProviderHttps, key, what).elsewhere(subject.there(Spot::RequireSsl));
        return finding.mend("reach the provider by https, or let the realm require it of external requests only");
    }
    if let Some(EntraNumber { said, hint, .. }) = said.and_then(EntraNumber::find) {
        let finding = subject.finding(Id::ProviderTenant, key, format!("{url} answers {status}: {said}"));
        return finding.elsewhere(subject.there(Spot::Tenant)).mend(hint.unwrap_or("check `tenant` and `authority`"));
    }
    let mend = match subject.product() {
        _ if head.status.is_server_error() => {
            "the provider is reached and fails: see its log, and that of any proxy between"
        }
        Product::Keycloak => {
            "does the realm exist? issuer is https://HOST/realms/NAME, and https://HOST/auth/realms/NAME with \
             --http-relative-path=/auth"
        }
        Product::Entra | Product::Other => "check `issuer`, and `discovery` if it is set",
    };
    subject.finding(Id::ProviderDiscovery, key, what).mend(mend)
}

fn unusable(subject: &Subject<'_>, examination: &Examination, diagnosis: &Diagnosis) -> Finding {
    let (cause, hint) = diagnosis.clone().into_parts();
    if let Some(named) = &examination.other_issuer {
        let configured = subject.settings.issuer.as_str();
        let what = format!("{cause}: {}", difference(configured, named));
        let finding = subject.finding(Id::ProviderIssuer, "issuer", what).elsewhere(subject.there(Spot::FrontendUrl));
        return finding.mend(hint.unwrap_or_else(|| "write `issuer` as the provider spells it".to_owned()));
    }
    let url = &subject.settings.discovery;
    let id = if examination.document.is_object() { Id::ProviderEndpoints } else { Id::ProviderDocument };
    let mend = hint
        .unwrap_or_else(|| "the provider, or a proxy in front of it, must name endpoints that we can use".to_owned());
    subject.finding(id, subject.key_of_address(), format!("{url}: {cause}")).mend(mend)
}

/// In what two issuers differ, in words.
fn difference(configured: &str, named: &str) -> &'static str {
    if configured.trim_end_matches('/') == named.trim_end_matches('/') {
        return "they differ in the slash at the end";
    }
    let (Ok(ours), Ok(theirs)) = (Url::parse(configured), Url::parse(named)) else { return "they differ" };
    let same_place = (ours.host_str(), ours.path()) == (theirs.host_str(), theirs.path());
    if same_place && ours.scheme() != theirs.scheme() {
        "one is http, the other https"
    } else if (ours.host_str(), ours.port_or_known_default()) != (theirs.host_str(), theirs.port_or_known_default()) {
        "they differ in host or port: the provider has another public name than the one by which it is reached"
    } else {
        "they differ in the path"
    }
}

/// What a document that can be used does not offer. Absent lists say nothing.
fn lacks(subject: &Subject<'_>, document: &Value) -> Vec<Finding> {
    let list = |name: &str| -> Option<Vec<&str>> {
        let list: Vec<_> = document.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect();
        (!list.is_empty()).then_some(list)
    };
    let lacks = |name: &str, value: &str| list(name).is_some_and(|list| !list.contains(&value));
    let key = subject.key_of_address();
    let mut findings = Vec::new();
    if lacks("response_types_supported", "code") || lacks("grant_types_supported", "authorization_code") {
        let finding =
            subject.finding(Id::ProviderCodeFlow, key, "its metadata do not offer the authorization code flow");
        findings.push(finding.elsewhere(subject.there(Spot::StandardFlow)).mend("allow it at the provider"));
    }
    if lacks("code_challenge_methods_supported", "S256") {
        let finding = subject.finding(Id::ProviderPkce, key, "its metadata do not offer PKCE with S256");
        findings.push(finding.elsewhere(subject.there(Spot::Pkce)).mend("allow S256 at the provider"));
    }
    let signs = list("id_token_signing_alg_values_supported");
    if signs.is_some_and(|signs| !signs.iter().any(|known| ALGORITHMS.contains(known))) {
        let what = "its metadata offer no algorithm for ID tokens that is accepted here";
        let finding =
            subject.finding(Id::ProviderSigning, key, what).elsewhere(subject.there(Spot::SignatureAlgorithm));
        findings.push(finding.mend(format!("one of {} must sign ID tokens", ALGORITHMS.join(", "))));
    }
    if subject.product() != Product::Entra
        && let Some(listed) = list("scopes_supported")
    {
        findings.extend(unlisted_scopes(subject, &listed));
    }
    findings
}

fn unlisted_scopes(subject: &Subject<'_>, listed: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asked: Vec<_> = subject.settings.scopes.iter().filter(|scope| *scope != OFFLINE_ACCESS).collect();
    let unlisted: Vec<_> = asked.into_iter().filter(|scope| !listed.contains(scope)).collect();
    if !unlisted.is_empty() {
        let what = format!("the provider's metadata do not list {}", unlisted.join(", "));
        let finding = subject.finding(Id::ProviderScopeUnlisted, "scopes", what).elsewhere(subject.there(Spot::Scopes));
        findings.push(finding.mend("make the scope there, or take it out of `scopes`"));
    }
    if subject.settings.standing == Standing::Offline && !listed.contains(&OFFLINE_ACCESS) {
        let what = "the provider's metadata do not list offline_access, so grants end with the user's session there";
        let finding = subject.finding(Id::ProviderOfflineUnlisted, "standing", what);
        let finding = finding.elsewhere(subject.there(Spot::Scopes));
        findings.push(finding.mend("offer the scope offline_access there, or write standing = \"session\""));
    }
    findings
}

/// What the provider says that the time is, compared with our clock. A cached answer is as old as its `Age`.
fn clock(subject: &Subject<'_>, head: &Head, now: Timestamp) -> Option<Finding> {
    let date = httpdate::parse_http_date(head.date.as_deref()?).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let theirs = i64::try_from((date + head.age).as_secs()).ok()?;
    let ahead = theirs.saturating_sub(now.0);
    if ahead.unsigned_abs() <= LEEWAY + head.took.as_secs() {
        return None;
    }
    let (seconds, way) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
    let what = format!("the provider's clock is {seconds} s {way} ours: its tokens are refused from {LEEWAY} s on");
    let finding = subject.finding(Id::ProviderClock, subject.key_of_address(), what);
    Some(finding.mend("let both machines keep their time by NTP"))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_difference_of_two_issuers_is_named() {
        let ours = "https://sso.example.com/realms/mcp";
        for (named, words) in [
            ("https://sso.example.com/realms/mcp/", "slash"),
            ("http://sso.example.com/realms/mcp", "http"),
            ("https://keycloak:8443/realms/mcp", "another public name"),
            ("https://sso.example.com:8443/realms/mcp", "another public name"),
            ("https://sso.example.com/realms/MCP", "path"),
            ("mcp", "differ"),
        ] {
            assert!(difference(ours, named).contains(words), "{named}: {}", difference(ours, named));
        }
    }
}
