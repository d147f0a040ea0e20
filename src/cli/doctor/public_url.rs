//! Our own public URL as the world sees it: what is asked there, and what is wrong by the answers.
//!
//! A running process of this configuration says what arrives there of a request. It is asked with a pass under the root key; for
//! anyone else there is nothing at that path.

mod front;
mod probe;

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use serde_json::Value;

use self::probe::{finding, headers, not_examined};
use super::finding::{Finding, Id};
use crate::clock::Clock;
use crate::config::Config;
use crate::keys::{DoctorPasses, Sealer};
use crate::oauth::paths;
use crate::outbound::{Diagnosis, Fetched, Fetcher};
use crate::telemetry::excerpt;

/// How long each answer may take.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Asks, and diagnoses the answers.
pub(super) async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let fetcher = Fetcher::through(&config.outbound.ca_file, &config.outbound.proxy);
    let path = if config.issues_tokens() { paths::SERVER_METADATA } else { paths::RESOURCE_METADATA };
    // without an authorization server, the metadata of the first upstream
    let path = match config.upstreams.first() {
        Some(upstream) if !config.issues_tokens() => format!("{path}{}", upstream.settings.path),
        _ => path.to_owned(),
    };
    let url = config.public_url.join(&path);
    let metadata = match fetcher.get(&url, TIMEOUT).await {
        Ok(metadata) => metadata,
        Err(failure) => return vec![unreachable(&url, &failure.into())],
    };
    if let Some(finding) = diagnose_metadata(config, &url, &metadata) {
        return vec![finding];
    }
    let (challenges, front) = tokio::join!(challenges(config, &fetcher), front(config, &fetcher, clock));
    challenges.into_iter().chain(front).collect()
}

fn unreachable(url: &str, diagnosis: &Diagnosis) -> Finding {
    let tls = diagnosis.concerns_tls();
    let (cause, hint) = diagnosis.clone().into_parts();
    let what = format!("{url} cannot be read: {cause}");
    if tls {
        let mend = hint.unwrap_or_else(|| "clients must trust the certificate of the proxy in front".to_owned());
        return Finding { key: "ca_file", ..finding(Id::PublicTls, what) }.mend(mend);
    }
    finding(Id::PublicUnreachable, what).mend(
        "start `serve`, and let the proxy in front lead to server.listen; before the first start, --without-public-url \
         leaves this out",
    )
}

fn diagnose_metadata(config: &Config, url: &str, fetched: &Fetched) -> Option<Finding> {
    let status = fetched.status;
    let location = fetched.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    if let Some(to) = location.filter(|_| status.is_redirection()) {
        let what = format!("{url} redirects ({}) to {:?}", status.as_u16(), excerpt(to));
        return Some(finding(Id::PublicRedirects, what).mend(
            "the proxy in front must lead to Portcullis without redirects; public_url is the URL at which it does",
        ));
    }
    if status == StatusCode::MISDIRECTED_REQUEST {
        let what = format!("{url} answers 421: the proxy in front does not pass the client's Host on");
        let mend = "let it pass Host on (nginx: proxy_set_header Host $http_host; Apache: ProxyPreserveHost On), or name what \
                    it sends in server.allowed_hosts";
        return Some(finding(Id::PublicHost, what).mend(mend));
    }
    let document: Option<Value> = serde_json::from_slice(&fetched.body).ok();
    let member = if config.issues_tokens() { "issuer" } else { "resource" };
    let named = document.as_ref().and_then(|document| document.get(member)?.as_str());
    let Some(named) = named.filter(|_| status == StatusCode::OK) else {
        let what = format!("{url} answers {} with something that is not our metadata", status.as_u16());
        let mend = match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                "the proxy in front does not reach Portcullis: start `serve`, and compare its target with server.listen"
            }
            _ => "something else answers there: the proxy in front must lead every path of this host to Portcullis",
        };
        return Some(finding(Id::PublicAnswer, what).mend(mend));
    };
    let is_ours = if member == "issuer" {
        named == config.public_url.as_str()
    } else {
        named.starts_with(config.public_url.as_str())
    };
    (!is_ours).then(|| {
        let what = format!("what answers at {url} calls itself {:?}", excerpt(named));
        finding(Id::PublicIssuer, what).mend(
            "another Portcullis, or one that was started with another public_url, answers there: restart it with this file",
        )
    })
}

/// The answer to a call without a token, for each upstream: clients find everything by it.
async fn challenges(config: &Config, fetcher: &Fetcher) -> Vec<Finding> {
    let asked = config.upstreams.iter().map(|upstream| async move {
        let url = config.public_url.join(&upstream.settings.path);
        (upstream, fetcher.get(&url, TIMEOUT).await)
    });
    let answers = join_all(asked).await.into_iter();
    answers
        .filter_map(|(upstream, answer)| {
            let (what, mend) = diagnose_challenge(answer.map_err(Diagnosis::from))?;
            let section = format!("upstream {:?}", upstream.settings.id);
            Some(Finding::new(Id::PublicChallenge, &section, "path", what).mend(mend))
        })
        .collect()
}

fn diagnose_challenge(answer: Result<Fetched, Diagnosis>) -> Option<(String, &'static str)> {
    let fetched = match answer {
        Ok(fetched) => fetched,
        Err(diagnosis) => {
            let (cause, _) = diagnosis.into_parts();
            return Some((
                format!("through the public URL it cannot be reached: {cause}"),
                "the proxy in front must lead this path to Portcullis",
            ));
        }
    };
    let challenge = fetched.headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    match (fetched.status, challenge) {
        (StatusCode::UNAUTHORIZED, Some(challenge)) if challenge.contains("resource_metadata=") => None,
        (StatusCode::UNAUTHORIZED, _) => Some((
            "through the public URL the 401 arrives without its WWW-Authenticate: clients cannot find the authorization server"
                .to_owned(),
            "the proxy in front must pass the answer's header fields on (nginx: no proxy_hide_header, no auth_request of its own)",
        )),
        (status, _) => Some((
            format!("through the public URL a call without a token is answered with {}, not 401", status.as_u16()),
            "the proxy in front must lead this path to Portcullis, with every method and no rule of its own",
        )),
    }
}

/// What is between the world and a running process.
async fn front(config: &Config, fetcher: &Fetcher, clock: &Clock) -> Vec<Finding> {
    if config.secrets.keys.is_empty() {
        return Vec::new();
    }
    let passes = DoctorPasses::new(Sealer::new(&config.secrets), clock.clone());
    let url = config.public_url.join(paths::DOCTOR);
    match fetcher.watch(&url, headers(&passes.issue()), TIMEOUT).await {
        Ok(watched) if watched.fetched.status == StatusCode::OK => {
            // without TLS in front there is nobody in front: http is for this machine alone
            front::diagnose(&watched, config.public_url.as_str().starts_with("https:"))
        }
        Ok(watched) => vec![not_examined(&format!("answers {}", watched.fetched.status.as_u16()))],
        Err(failure) => vec![not_examined(&Diagnosis::from(failure).into_parts().0)],
    }
}
