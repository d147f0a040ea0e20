//! Asking the userinfo endpoint (OpenID Connect Core 1.0 5.3).
//!
//! Defends against: the claims of another user (token substitution, 5.3.4). An answer about another `sub` is not used, and nothing
//! that came with it is.

use http::StatusCode;

use super::Oidc;
use crate::identity::metadata::ProviderMetadata;
use crate::identity::user_claims::UserClaims;
use crate::identity::userinfo::{About, AnotherUser, Question};
use crate::keys::Members;
use crate::model::user::User;
use crate::outbound::Diagnosis;
use crate::telemetry::metrics::ProviderCall;

impl Oidc {
    /// The user of a sign-in or a renewal: what the ID token says, the rest from the userinfo endpoint where the provider keeps it
    /// there, and what neither says as it was known.
    ///
    /// # Errors
    /// When the endpoint answers about another user. An endpoint that cannot be asked is a warning.
    pub(in crate::identity) async fn whole_user(
        &self,
        metadata: &ProviderMetadata,
        question: Question<'_>,
    ) -> Result<User, AnotherUser> {
        let said = match question.about {
            About::Token(identified) => identified.user.clone(),
            About::Key(_) => UserClaims::default(),
        };
        let known = question.known;
        // without a token nothing was said
        let has_token = matches!(question.about, About::Token(_));
        if self.settings().flavour.says_all(&said) {
            return Ok(said.after(known, has_token));
        }
        let Some(endpoint) = &metadata.userinfo_endpoint else {
            // there is no more to learn: a token that says who the user is says all, one that says less erases nothing
            let is_all = has_token && said.names_user();
            return Ok(said.after(known, is_all));
        };
        match self.userinfo(endpoint, question).await? {
            Ok(more) => Ok(more.or(said).after(known, true)),
            Err(failure) => {
                tracing::warn!(identity = self.identity(), cause = %failure, "the user's claims could not be read");
                Ok(said.after(known, false))
            }
        }
    }

    async fn userinfo(
        &self,
        endpoint: &str,
        Question { about, access_token, timeout, .. }: Question<'_>,
    ) -> Result<Result<UserClaims, Diagnosis>, AnotherUser> {
        let asked = async { Ok(self.fetcher().get_with(endpoint, access_token, timeout).await?) };
        let fetched = match self.calls().timed(ProviderCall::Userinfo, asked).await {
            Ok(fetched) => fetched,
            Err(failure) => return Ok(Err(failure)),
        };
        let answers =
            |what: &str| Ok(Err(Diagnosis::new(format!("the userinfo endpoint at {endpoint} answers {what}"))));
        if fetched.status != StatusCode::OK {
            return answers(fetched.status.as_str());
        }
        let Some(claims) = Members::read(&fetched.body) else {
            return answers("something other than a JSON object: have the client's userinfo response unsigned");
        };
        if !self.is_about(&claims, about) {
            return Err(AnotherUser(format!(
                "the userinfo endpoint of identity {} answers about another user than the ID token: nothing of it is used",
                self.identity()
            )));
        }
        let read = UserClaims::read(
            &claims,
            self.settings().flavour.reading(&claims, self.groups(), self.settings().trust_email),
        );
        Ok(read.map_err(|why| Diagnosis::new(format!("the userinfo endpoint at {endpoint}: {why}"))))
    }

    fn is_about(&self, claims: &Members, about: About<'_>) -> bool {
        match about {
            About::Token(identified) => claims.text("sub") == Ok(Some(&identified.sub)),
            About::Key(key) => self.settings().flavour.is_user(claims, key),
        }
    }
}
