//! Which headers and groups may be configured.

use super::{ForwardedGroups, dropped_pattern, header_name, kept_name};
use crate::config::header_names::{HeaderNames, OTHER_PROXIES};

#[test]
fn reserved_headers_and_headers_of_the_message_cannot_be_configured() {
    for good in ["authorization", "Authorization", "cookie", "x-functions-key", "X-Api-Key", "cf-access-client-id"] {
        assert!(header_name(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a b",
        "a:b",
        "Host",
        "connection",
        "Transfer-Encoding",
        "transfer_encoding",
        "content-length",
        "Content-Type",
        "content_type",
        "accept",
        "mcp-session-id",
        "Mcp_Name",
        "mcp-param-x",
        "x-forwarded-user",
        "X_Forwarded_For",
        "forwarded",
        "x-real-ip",
        "remote_user",
        "x-portcullis-scopes",
        "x-request-id",
        "te",
        "proxy-authorization",
        "expect",
        "origin",
        "x-original-url",
        "dpop",
    ] {
        assert!(header_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn headers_that_mcp_needs_cannot_be_dropped() {
    for good in ["x-tenant", "X-Tenant-*", "user-agent"] {
        assert!(dropped_pattern(good.to_owned()).is_ok(), "{good}");
    }
    for bad in ["", "*", "a*b", "x-**", "mcp-*", "Content-*", "accept", "accept*", "Last_Event_Id", "m*"] {
        assert!(dropped_pattern(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn an_exception_is_a_single_dropped_name_and_never_a_protected_one() {
    let dropped = HeaderNames::new(OTHER_PROXIES.iter().copied());
    for good in ["Cf-Access-Jwt-Assertion", "true-client-ip"] {
        assert!(kept_name(good, &dropped).is_ok(), "{good}");
    }
    for bad in ["cf-access-*", "x-forwarded-user", "X_Forwarded_User", "authorization", "x-custom", "", "proxy"] {
        assert!(kept_name(bad, &dropped).is_err(), "{bad}");
    }
}

#[test]
fn groups_match_by_name_or_by_prefix() {
    let groups = ForwardedGroups { names: vec!["staff".to_owned(), "mcp-*".to_owned()], ..Default::default() };
    for (group, told) in [("staff", true), ("staff2", false), ("Staff", false), ("mcp-", true), ("mcp-a", true)] {
        assert_eq!(groups.names(group), told, "{group}");
    }
    assert!(ForwardedGroups::default().names("anything") && !ForwardedGroups::none().names("anything"));
}
