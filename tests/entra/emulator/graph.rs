//! Microsoft Graph: the groups of a user.

use serde_json::{Value, json};

use super::GRAPH;
use super::state::{Call, State};

/// How many members a page has.
const PAGE: usize = 100;

impl State {
    /// A list of ids, nested groups included; or the same as objects, in pages with a link to the next.
    pub(super) fn graph(&self, path: &str, call: &Call) -> (u16, Value) {
        let bearer = call.headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let issued = bearer.and_then(|token| self.access_tokens.get(token)).filter(|issued| {
            // a token for another API is refused, as that of the gateway's own would be
            issued.resource == GRAPH && issued.expires_at > self.now()
        });
        let error = |status: u16, code: &str| (status, json!({"error": {"code": code, "message": code}}));
        let Some((issued, user)) = issued.and_then(|issued| issued.user.as_ref().map(|user| (issued, user))) else {
            return error(401, "InvalidAuthenticationToken");
        };
        // groups are a permission of their own: that to read one's own profile is not enough
        if !["GroupMember.Read.All", "Directory.Read.All"].iter().any(|scope| issued.scopes.contains(*scope)) {
            return error(403, "Authorization_RequestDenied");
        }
        match path {
            "/v1.0/me/getMemberObjects" => (200, json!({"value": user.groups})),
            "/v1.0/me/transitiveMemberOf" => {
                let from: usize = call.query.get("$skiptoken").and_then(|text| text.parse().ok()).unwrap_or_default();
                let page = user.groups.iter().skip(from).take(PAGE);
                let objects: Vec<Value> =
                    page.map(|id| json!({"@odata.type": "#microsoft.graph.group", "id": id})).collect();
                let mut answer = json!({"value": objects});
                if user.groups.len() > from + PAGE {
                    let next = format!("{}/graph{path}?$skiptoken={}", self.base, from + PAGE);
                    answer["@odata.nextLink"] = json!(next);
                }
                (200, answer)
            }
            _ => error(404, "ResourceNotFound"),
        }
    }
}
