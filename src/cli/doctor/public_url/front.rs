//! What a proxy in front does to requests and answers, by what a running process saw and when its answer came.

use std::time::Duration;

use serde::Deserialize;

use super::probe::{MADE_UP, SENT, finding, not_examined};
use crate::cli::doctor::finding::{Finding, Id};
use crate::outbound::Watched;

/// The pieces of the answer are sent over 1.5 s: one that came within less was held back.
const SPREAD: Duration = Duration::from_millis(700);

/// What the process saw.
#[derive(Debug, Deserialize)]
struct Seen {
    /// The address that the request counts under.
    address: String,
    /// `X-Forwarded-For` as it arrived.
    forwarded_for: String,
    /// The names of the header fields.
    headers: Vec<String>,
}

/// `has_proxy`: whether there must be one in front.
pub(super) fn diagnose(watched: &Watched, has_proxy: bool) -> Vec<Finding> {
    let text = String::from_utf8_lossy(&watched.fetched.body);
    let seen = text.lines().find_map(|line| serde_json::from_str::<Seen>(line.strip_prefix("data: ")?).ok());
    let Some(seen) = seen else { return vec![not_examined("its answer is not what was asked for")] };
    let mut findings = Vec::new();
    if watched.spread < SPREAD {
        let what = "the proxy in front holds answers back: events arrive when it likes, not when they are sent";
        findings.push(finding(Id::PublicBuffers, what).mend(
            "switch its buffering of answers off (nginx: proxy_buffering off, or proxy_http_version 1.1 without \
             proxy_ignore_headers X-Accel-Buffering), and its compression of text/event-stream",
        ));
    }
    findings.extend(dropped(&seen, watched));
    if has_proxy {
        findings.extend(address(&seen));
    }
    findings
}

fn dropped(seen: &Seen, watched: &Watched) -> Vec<Finding> {
    let arrived = |name: &str| seen.headers.iter().any(|arrived| arrived == name);
    let is_parameter = |name: &str| name.starts_with("mcp-param-");
    let names = SENT.iter().map(|(name, _)| *name).chain(["authorization"]);
    let missing: Vec<_> = names.filter(|name| !arrived(name)).collect();
    let (parameters, mut others): (Vec<&str>, Vec<&str>) = missing.into_iter().partition(|name| is_parameter(name));
    if !watched.fetched.headers.contains_key("mcp-session-id") {
        others.push("mcp-session-id (of answers)");
    }
    let mut findings = Vec::new();
    if !others.is_empty() {
        let what = format!("the proxy in front drops header fields that MCP needs: {}", others.join(", "));
        findings.push(finding(Id::PublicHeaders, what).mend("let it pass every header field on, in both directions"));
    }
    if !parameters.is_empty() {
        let what =
            format!("the proxy in front drops header fields by the form of their name: {}", parameters.join(", "));
        findings.push(finding(Id::PublicParameterHeaders, what).mend(
            "nginx: underscores_in_headers on; ignore_invalid_headers off; Caddy: expected_underscore_headers; or name tool \
             parameters with letters, digits and hyphens alone",
        ));
    }
    findings
}

/// Whether clients can choose the address that limits count them by, and whether they have one of their own at all.
fn address(seen: &Seen) -> Option<Finding> {
    let mut hops = seen.forwarded_for.split(',').map(|hop| hop.trim().trim_start_matches('['));
    let appended = hops.clone().any(|hop| !hop.is_empty() && hop != MADE_UP);
    // with our own address behind it, the made-up one counts only because we are on a trusted machine ourselves
    if seen.address == MADE_UP && !appended {
        let what = "the proxy in front passes a made-up X-Forwarded-For on: each client chooses the address that it counts under";
        let finding = Finding::new(Id::PublicAddress, "server", "trusted_proxies", what);
        return Some(finding.mend(
            "let it append to or replace the header (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: \
             option forwardfor; Envoy: use_remote_address: true)",
        ));
    }
    if appended && !hops.any(|hop| hop.starts_with(seen.address.as_str())) {
        let what = format!("requests count under {}, the proxy's address: all clients share its limits", seen.address);
        let finding = Finding::new(Id::PublicProxy, "server", "trusted_proxies", what);
        return Some(finding.mend(format!("name the proxy: trusted_proxies = [{:?}]", seen.address)));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use serde_json::json;

    use super::{MADE_UP, SENT, diagnose};
    use crate::outbound::{Fetched, Watched};

    /// What a process saw behind a proxy that does everything right.
    struct Case {
        address: &'static str,
        forwarded_for: String,
        drops: &'static [&'static str],
        answers_with_session: bool,
        spread: Duration,
        has_proxy: bool,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                address: "198.51.100.7",
                forwarded_for: format!("{MADE_UP}, 198.51.100.7"),
                drops: &[],
                answers_with_session: true,
                spread: Duration::from_millis(1500),
                has_proxy: true,
            }
        }
    }

    impl Case {
        fn ids(&self) -> Vec<&'static str> {
            let names = SENT.iter().map(|(name, _)| *name).chain(["authorization"]);
            let names: Vec<_> = names.filter(|name| !self.drops.contains(name)).collect();
            let seen = json!({"address": self.address, "forwarded_for": self.forwarded_for, "headers": names});
            let mut headers = HeaderMap::new();
            if self.answers_with_session {
                headers.insert("mcp-session-id", HeaderValue::from_static("doctor"));
            }
            let body = Bytes::from(format!("data: {seen}\n\n: one more\n\n"));
            let fetched = Fetched { status: StatusCode::OK, headers, body };
            let findings = diagnose(&Watched { fetched, spread: self.spread }, self.has_proxy);
            findings.iter().map(|finding| finding.id.as_str()).collect()
        }
    }

    #[test]
    fn a_proxy_that_does_everything_right_has_no_findings() {
        for forwarded_for in [
            format!("{MADE_UP}, 198.51.100.7"),
            "198.51.100.7".to_owned(),
            "198.51.100.7:4711".to_owned(),
            format!("{MADE_UP}, 198.51.100.7, 10.0.0.2"),
        ] {
            assert_eq!(Case { forwarded_for, ..Case::default() }.ids(), [""; 0]);
        }
        let on_a_trusted_machine = format!("{MADE_UP}, 127.0.0.1");
        let case = Case { address: MADE_UP, forwarded_for: on_a_trusted_machine, ..Case::default() };
        assert_eq!(case.ids(), [""; 0], "the world does not come from there");
        let address = "2001:db8::7";
        assert_eq!(Case { address, forwarded_for: format!("[{address}]:1"), ..Case::default() }.ids(), [""; 0]);
    }

    #[test]
    fn each_thing_that_a_proxy_does_wrong_is_found() {
        let held = Case { spread: Duration::from_millis(20), ..Case::default() };
        assert_eq!(held.ids(), ["public_url.buffers"]);
        let spoofed = Case { address: MADE_UP, forwarded_for: MADE_UP.to_owned(), ..Case::default() };
        assert_eq!(spoofed.ids(), ["public_url.client_address"]);
        let untrusted = Case { address: "10.0.0.2", ..Case::default() };
        assert_eq!(untrusted.ids(), ["public_url.untrusted_proxy"]);
        let drops = Case { drops: &["mcp-session-id", "authorization"], ..Case::default() };
        assert_eq!(drops.ids(), ["public_url.drops_headers"]);
        let drops = Case { answers_with_session: false, ..Case::default() };
        assert_eq!(drops.ids(), ["public_url.drops_headers"]);
        let drops = Case { drops: &["mcp-param-user_id", "mcp-param-a.b"], ..Case::default() };
        assert_eq!(drops.ids(), ["public_url.drops_parameter_headers"]);
    }

    #[test]
    fn without_a_proxy_the_address_is_nobodys_fault() {
        let direct = Case { address: MADE_UP, forwarded_for: MADE_UP.to_owned(), has_proxy: false, ..Case::default() };
        assert_eq!(direct.ids(), [""; 0]);
        let direct = Case { address: "127.0.0.1", forwarded_for: MADE_UP.to_owned(), ..Case::default() };
        assert_eq!(direct.ids(), [""; 0], "a proxy that adds nothing and is not trusted does no harm");
    }
}
