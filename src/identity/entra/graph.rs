//! The groups of a user in more groups than a token names: Microsoft Graph is asked on behalf of the user.
//!
//! Defends against rights by groups that are not known: whatever is missing, is wrong or does not answer is a failure, never an
//! empty list.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::outbound::{Diagnosis, Fetcher};
use crate::secret::SecretText;

/// More groups than these are stored for no user.
const MAX_GROUPS: usize = 2000;
/// No id of a group is longer; it is a GUID.
const LONGEST_ID: usize = 64;

/// Why there are no groups.
pub(in crate::identity) enum NoGroups {
    /// It passes by itself.
    Away(Diagnosis),
    /// It does not: a permission, or an answer that Graph does not give.
    Refused(Diagnosis),
    /// The user is in more than we keep.
    TooMany,
}

#[derive(Deserialize)]
struct Answer {
    value: Vec<String>,
}

/// The ids of all security groups of the owner of a token for Microsoft Graph, nested ones included.
pub(in crate::identity) async fn groups_from_graph(
    fetcher: &Fetcher,
    graph_url: &str,
    token: &SecretText,
    timeout: Duration,
) -> Result<Vec<String>, NoGroups> {
    let url = format!("{graph_url}/v1.0/me/getMemberObjects");
    let body = json!({"securityEnabledOnly": true}).to_string();
    let answered = fetcher.post_json(&url, token, body, timeout).await.map_err(|failure| {
        NoGroups::Away(Diagnosis::from(failure).in_context(format_args!("Microsoft Graph at {url}")))
    })?;
    let answers = || Diagnosis::new(format!("Microsoft Graph at {url} answers {}", answered.status.as_u16()));
    match answered.status {
        StatusCode::OK => {}
        StatusCode::TOO_MANY_REQUESTS => return Err(NoGroups::Away(answers())),
        status if status.is_server_error() => return Err(NoGroups::Away(answers())),
        StatusCode::FORBIDDEN => {
            let hint = "give the app registration the delegated permissions User.Read and GroupMember.Read.All of Microsoft \
                        Graph, with the consent of an administrator";
            return Err(NoGroups::Refused(answers().with_hint(hint)));
        }
        _ => return Err(NoGroups::Refused(answers())),
    }
    let Ok(Answer { value: groups }) = serde_json::from_slice(&answered.body) else {
        return Err(NoGroups::Refused(Diagnosis::new(format!(
            "Microsoft Graph at {url} answers with no list of groups"
        ))));
    };
    if groups.len() > MAX_GROUPS {
        return Err(NoGroups::TooMany);
    }
    if groups.iter().any(|group| group.is_empty() || group.len() > LONGEST_ID) {
        return Err(NoGroups::Refused(Diagnosis::new("Microsoft Graph names a group by something that is not its id")));
    }
    Ok(groups)
}
