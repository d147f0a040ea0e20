//! The header fields of MCP's HTTP transport.

use http::HeaderName;

/// The session of a client (2025-11-25).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The version of the protocol that a request is written in (both transports).
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Where a broken stream of events goes on (2025-11-25, WHATWG HTML 9.2.4).
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The JSON-RPC method of the body (2026-07-28).
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt or resource that the body names (2026-07-28).
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// How all fields of MCP's own begin.
pub(crate) const PREFIX: &str = "mcp-";
/// How the fields of a tool's own parameters begin (2026-07-28, custom headers); their names are the tool's.
const PARAMETER_PREFIX: &str = "mcp-param-";

/// Whether a field carries a parameter of a tool.
pub(crate) fn is_parameter(name: &str) -> bool {
    name.get(..PARAMETER_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PARAMETER_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::is_parameter;

    #[test]
    fn a_parameter_header_is_known_by_its_prefix_whatever_the_case() {
        for parameter in ["mcp-param-city", "Mcp-Param-City", "mcp-param-"] {
            assert!(is_parameter(parameter), "{parameter}");
        }
        for other in ["", "mcp-param", "mcp-params-city", "x-mcp-param-city", "mcp-parämeter"] {
            assert!(!is_parameter(other), "{other}");
        }
    }
}
