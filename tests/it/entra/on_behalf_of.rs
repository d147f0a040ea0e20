//! The on-behalf-of flow for a server behind us.

use portcullis::config::{CredentialSource, ProviderCredential, ProviderGrant, ServerCredential};
use portcullis::oauth::scope::ScopeSet;

use super::{Bench, Written};
use crate::entra_emulator::GRAPH;
use crate::support::browser::{location, parameter};
use crate::support::gate::WORKS;

const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// A gate whose upstream gets tokens of Microsoft Graph.
async fn bench() -> Bench {
    let mut bench = Bench::with(Written::default()).await;
    let by = ProviderGrant::OnBehalfOf { scopes: ScopeSet::parse("https://graph.microsoft.com/User.Read").unwrap() };
    let source = CredentialSource::Provider(ProviderCredential { identity: "entra".to_owned(), by });
    let credential = ServerCredential { header: http::header::AUTHORIZATION, source };
    bench.gate = bench.gate.restart_with(|config| config.upstreams[0].settings.credential = Some(credential)).await;
    bench
}

fn consent(bench: &Bench) {
    bench.emulator.state().our_app().admin_consent.insert(format!("{GRAPH}/User.Read"));
}

#[tokio::test]
async fn the_server_gets_a_token_of_the_api_on_behalf_of_the_user() {
    let mut bench = bench().await;
    consent(&bench);
    let given = bench.tokens().await;
    assert_eq!(bench.gate.call(&given.access).await.status, WORKS);
    let seen = bench.gate.behind.last();
    let token = seen.header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
    let told = bench.emulator.state().token_is_for(&token);
    assert_eq!(told, Some((GRAPH.to_owned(), "alice".to_owned(), "User.Read".to_owned())));
    let form = bench.last_form();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(form["requested_token_use"], "on_behalf_of");
}

#[tokio::test]
async fn a_missing_consent_is_a_502_and_no_new_sign_in() {
    let mut bench = bench().await;
    let given = bench.tokens().await;
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (502, 0), "{refused:?}");
    assert_eq!(bench.refresh(&given).await.status, 200);
}

#[tokio::test]
async fn what_conditional_access_wants_makes_the_client_sign_in_again() {
    let mut bench = bench().await;
    consent(&bench);
    let given = bench.tokens().await;
    // the refresh goes through, and only the exchange is challenged
    bench.emulator.state().challenge_on_behalf("alice", 50076, Some(CLAIMS));
    let refused = bench.gate.call(&given.access).await;
    assert_eq!((refused.status, bench.gate.behind.count()), (401, 0), "{refused:?}");
    assert!(refused.header("www-authenticate").contains("invalid_token"), "{refused:?}");
    // the client tries to refresh first, and then begins a sign-in, which carries what was asked for
    assert_eq!(bench.refresh(&given).await.error(), "invalid_grant");
    let url = bench.approve().await;
    assert_eq!(parameter(&url, "claims").as_deref(), Some(CLAIMS));
    let back = bench.back(&bench.emulator.visit(&url).back()).await;
    let code = parameter(&location(&back), "code").unwrap();
    let fresh = crate::support::gate::tokens(&bench.gate.redeem(&bench.client, &code).await);
    assert_eq!(bench.gate.call(&fresh.access).await.status, WORKS);
    bench.clock.advance(std::time::Duration::from_mins(15));
    assert_eq!(bench.refresh(&given).await.status, 200, "the grant of before has not ended");
}
