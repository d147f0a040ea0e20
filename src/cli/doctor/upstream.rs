//! What is wrong with an MCP server, by what it answers to a greeting.

use super::finding::{Finding, Id};
use crate::upstream;

/// A finding of the greeting, with the setting.
pub(super) fn diagnose(id: &str, finding: &upstream::Finding) -> Finding {
    use upstream::Finding as Found;
    let (kind, key) = match finding {
        Found::NoAnswer(_) => (Id::UpstreamUnreachable, "url"),
        Found::NotThere => (Id::UpstreamPath, "url"),
        Found::Redirects { .. } => (Id::UpstreamRedirects, "url"),
        Found::RedirectsEachCall { .. } => (Id::UpstreamRedirectsEachCall, "url"),
        Found::OldTransport => (Id::UpstreamOldTransport, "url"),
        Found::WantsCredentials => (Id::UpstreamCredentials, "headers"),
        Found::RefusesHost { .. } => (Id::UpstreamHost, "host"),
        Found::WebPage => (Id::UpstreamWebPage, "url"),
        Found::Fails(_) => (Id::UpstreamFails, "url"),
        Found::NotMcp(_) => (Id::UpstreamNotMcp, "url"),
        Found::Slow(_) => (Id::UpstreamSlow, "url"),
    };
    Finding::new(kind, &format!("upstream {id:?}"), key, finding.to_string()).mend(finding.hint())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::diagnose;
    use crate::upstream::Finding as Found;

    #[test]
    fn every_answer_of_an_mcp_server_has_an_id_a_key_and_a_mend() {
        let path = || "/mcp/".to_owned();
        let host = || "127.0.0.1:1".to_owned();
        for (found, id, key) in [
            (Found::NoAnswer(host()), "upstream.unreachable", "url"),
            (Found::NotThere, "upstream.path", "url"),
            (Found::Redirects { to: path() }, "upstream.redirects", "url"),
            (Found::RedirectsEachCall { path: path() }, "upstream.redirects_each_call", "url"),
            (Found::OldTransport, "upstream.old_transport", "url"),
            (Found::WantsCredentials, "upstream.credentials", "headers"),
            (Found::RefusesHost { status: StatusCode::FORBIDDEN, host: host() }, "upstream.host", "host"),
            (Found::WebPage, "upstream.web_page", "url"),
            (Found::Fails(StatusCode::BAD_GATEWAY), "upstream.fails", "url"),
            (Found::NotMcp(path()), "upstream.not_mcp", "url"),
            (Found::Slow(Duration::from_secs(5)), "upstream.slow", "url"),
        ] {
            let finding = diagnose("expenses", &found);
            assert_eq!((finding.id.as_str(), finding.key), (id, key));
            assert_eq!(finding.section, "upstream \"expenses\"");
            assert!(!finding.mend.is_empty() && !finding.what.is_empty());
        }
    }
}
