//! The groups of a user whose token does not name them all.

use std::time::Duration;

use tokio::time::Instant;

use super::Oidc;
use crate::config::{EntraSettings, GroupsOverage, OidcFlavour};
use crate::identity::entra::{self, NoGroups};
use crate::identity::exchange::{ExchangeError, Explanation, RenewError};
use crate::identity::id_token::Identified;
use crate::identity::metadata::ProviderMetadata;
use crate::identity::token_endpoint::{Answer, ProviderRefusal};
use crate::secret::SecretText;

/// The grant by which an API asks another one on behalf of its user (RFC 7523, with Microsoft's own parameter).
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Why the groups of a user are not known.
pub(super) enum GroupsUnknown {
    /// Nobody may ask for them.
    Denied { why: String, told: Explanation },
    /// The provider refused to be asked on behalf of the user.
    Refused(ProviderRefusal),
    /// It passes by itself.
    Away(String),
    /// It does not.
    Wrong(String),
}

impl From<GroupsUnknown> for ExchangeError {
    fn from(unknown: GroupsUnknown) -> Self {
        match unknown {
            GroupsUnknown::Denied { why, told } => Self::Explained { why, told },
            GroupsUnknown::Refused(refusal) => refusal.at_exchange(false),
            GroupsUnknown::Away(why) => Self::Unavailable(why),
            GroupsUnknown::Wrong(why) => Self::Refused(why),
        }
    }
}

/// A refresh token of Entra ID can be used again, so nothing is lost when a renewal comes to nothing here. A denial leads to a
/// sign-in, which explains it.
impl From<GroupsUnknown> for RenewError {
    fn from(unknown: GroupsUnknown) -> Self {
        match unknown {
            GroupsUnknown::Denied { why, .. } => Self::SignInAgain { why, claims: None },
            GroupsUnknown::Refused(refusal) => match refusal.at_renewal() {
                // the grant on behalf of the user is over, not the user's session
                Self::Ended(why) => Self::Unavailable(why),
                other => other,
            },
            GroupsUnknown::Away(why) | GroupsUnknown::Wrong(why) => Self::Unavailable(why),
        }
    }
}

impl Oidc {
    /// The user with all groups, or why they are not known. It never is the user with fewer.
    pub(super) async fn with_groups(
        &self,
        metadata: &ProviderMetadata,
        mut identified: Identified,
        answer: &Answer,
        deadline: Instant,
    ) -> Result<Identified, GroupsUnknown> {
        if identified.groups_left_out.is_empty() {
            return Ok(identified);
        }
        let groups = match &self.settings.flavour {
            OidcFlavour::Entra(entra) if entra.groups_overage == GroupsOverage::Graph => {
                self.ask_graph(entra, metadata, &answer.access_token, deadline).await?
            }
            _ => return Err(self.too_many("groups_overage = \"graph\" asks Microsoft Graph for them")),
        };
        self.groups().learned(&identified.groups_left_out, &groups, identified.user.groups_mut());
        Ok(identified)
    }

    async fn ask_graph(
        &self,
        entra: &EntraSettings,
        metadata: &ProviderMetadata,
        access_token: &SecretText,
        deadline: Instant,
    ) -> Result<Vec<String>, GroupsUnknown> {
        let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let scope = format!("{}/.default", entra.graph_url);
        let form = [
            ("grant_type", ON_BEHALF_OF),
            ("assertion", access_token.expose()),
            ("requested_token_use", "on_behalf_of"),
            ("scope", &scope),
        ];
        let answer =
            self.ask(metadata, &form, &[access_token.expose()], left()).await.map_err(GroupsUnknown::Refused)?;
        let asked = entra::groups_from_graph(&self.fetcher, &entra.graph_url, &answer.access_token, left()).await;
        asked.map_err(|why| match why {
            NoGroups::Away(diagnosis) => GroupsUnknown::Away(diagnosis.to_string()),
            NoGroups::Refused(diagnosis) => GroupsUnknown::Wrong(diagnosis.to_string()),
            NoGroups::TooMany => self.too_many("they are more than we keep of one user"),
        })
    }

    fn too_many(&self, hint: &str) -> GroupsUnknown {
        let why = format!("identity {}: the user is in more groups than the token names: {hint}", self.identity);
        GroupsUnknown::Denied { why, told: entra::too_many_groups() }
    }
}
