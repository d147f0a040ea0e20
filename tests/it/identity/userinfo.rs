//! What the userinfo endpoint adds to an ID token.

use portcullis::config::OidcFlavour;
use portcullis::identity::{RenewError, Renewed};
use portcullis::model::user::User;
use portcullis::secret::SecretText;
use serde_json::{Value, json};

use super::{Bench, refused};

const EVERYTHING: fn() -> Value = || {
    json!({"sub": "alice-id", "name": "Alice A", "preferred_username": "alice", "email": "alice@example.com",
        "email_verified": true, "groups": ["/eng"]})
};

fn alice() -> User {
    User {
        name: Some("Alice A".to_owned()),
        preferred_username: Some("alice".to_owned()),
        email: Some("alice@example.com".to_owned()),
        domain: Some("example.com".to_owned()),
        groups: vec!["/eng".to_owned()],
    }
}

/// A provider whose ID tokens hold no more than who signed in for whom.
async fn thin(flavour: OidcFlavour, userinfo: Value) -> Bench {
    let bench = Bench::with(|settings| settings.flavour = flavour).await;
    bench.provider.sign_in_as(json!({"sub": "alice-id"}));
    bench.provider.say_at_userinfo(userinfo);
    bench
}

impl Bench {
    async fn renewed(&self, known: &User) -> Result<Renewed, RenewError> {
        let token: SecretText = self.sign_in().await.unwrap().token.unwrap().token;
        self.us().renew("alice-id", known, Some(&token)).await
    }
}

#[tokio::test]
async fn claims_that_the_id_token_lacks_are_read_at_the_userinfo_endpoint() {
    for flavour in [OidcFlavour::Generic, OidcFlavour::Keycloak] {
        let bench = thin(flavour, EVERYTHING()).await;
        assert_eq!(bench.sign_in().await.unwrap().user, alice());
        assert_eq!(bench.renewed(&User::default()).await.unwrap().user, Some(alice()));
        bench.provider.say_at_userinfo(json!({"sub": "alice-id", "email": "alice@example.com"}));
        assert_eq!(bench.sign_in().await.unwrap().user.email, None, "not verified there");
    }
}

#[tokio::test]
async fn claims_of_another_user_are_refused() {
    let bench = thin(OidcFlavour::Generic, json!({"sub": "mallory", "name": "Alice A", "groups": ["/admins"]})).await;
    assert!(refused(bench.sign_in().await).contains("another user"));
    bench.provider.say_at_userinfo(json!({"name": "Alice A"}));
    assert!(refused(bench.sign_in().await).contains("another user"), "a sub is required");
    bench.provider.say_at_userinfo(EVERYTHING());
    let token = bench.sign_in().await.unwrap().token.unwrap().token;
    bench.provider.say_at_userinfo(json!({"sub": "mallory", "groups": ["/admins"]}));
    let renewal = bench.us().renew("alice-id", &alice(), Some(&token)).await;
    assert!(matches!(renewal, Err(RenewError::Unavailable(words)) if words.contains("another user")));
}

#[tokio::test]
async fn a_userinfo_endpoint_that_fails_erases_nothing_and_stops_no_one() {
    for odd in [json!("no object"), json!({"sub": "alice-id", "email": 5})] {
        let bench = thin(OidcFlavour::Generic, odd).await;
        let signed_in = bench.sign_in().await.unwrap();
        assert_eq!((signed_in.key.as_str(), signed_in.user), ("alice-id", User::default()));
        assert_eq!(bench.renewed(&alice()).await.unwrap().user, None, "what was known stays");
    }
}

#[tokio::test]
async fn a_group_that_the_provider_took_away_is_gone_at_the_next_renewal() {
    let bench = thin(OidcFlavour::Generic, json!({"sub": "alice-id", "name": "Alice A"})).await;
    let user = bench.renewed(&alice()).await.unwrap().user.unwrap();
    assert_eq!((user.groups.len(), user.email), (0, alice().email));

    let keycloak = Bench::new().await;
    keycloak.provider.sign_in_as(json!({"sub": "alice-id", "name": "Alice A"}));
    let user = keycloak.renewed(&alice()).await.unwrap().user.unwrap();
    assert_eq!((user.groups.len(), user.preferred_username), (0, alice().preferred_username));
}

#[tokio::test]
async fn an_id_token_that_says_all_costs_no_call() {
    for flavour in [OidcFlavour::Generic, OidcFlavour::Keycloak] {
        let bench = Bench::with(|settings| settings.flavour = flavour).await;
        bench.provider.say_at_userinfo(EVERYTHING());
        assert_eq!(bench.sign_in().await.unwrap().user.groups, ["/eng/core"]);
        assert_eq!(bench.provider.calls("/userinfo"), 0);
    }
}
