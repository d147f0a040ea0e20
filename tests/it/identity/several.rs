//! Several identity providers in one configuration, and what belongs to one product alone.

use std::sync::Arc;
use std::time::Duration;

use portcullis::config::{Identity, IdentityKind, OidcFlavour};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::support::bench::{Bench, provider_settings};
use crate::support::browser::{location, parameter};
use crate::support::gate::TestGate;
use crate::support::provider::FakeProvider;

/// A provider that takes connections and never answers; `asked` is passed once it was asked.
async fn silent(id: &str, template: &FakeProvider, asked: &Arc<Barrier>) -> Identity {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = template.settings();
    settings.issuer = format!("http://{}/realms/mcp", listener.local_addr().unwrap());
    settings.discovery = format!("{}/.well-known/openid-configuration", settings.issuer).parse().unwrap();
    let asked = Arc::clone(asked);
    tokio::spawn(async move {
        let connection = listener.accept().await.unwrap();
        asked.wait().await;
        std::future::pending::<()>().await;
        drop(connection);
    });
    Identity {
        id: id.to_owned(),
        name: id.to_owned(),
        kind: IdentityKind::Oidc(Box::new(settings)),
        admission: portcullis::config::Admission::default(),
    }
}

#[tokio::test]
async fn two_providers_that_are_down_cost_one_time_out() {
    let bench = Bench::new().await;
    let all_asked = Arc::new(Barrier::new(3));
    let down = vec![silent("one", &bench.provider, &all_asked).await, silent("two", &bench.provider, &all_asked).await];
    let gate = TestGate::with(|config| config.identities = down).await;
    let client = gate.register().await;
    let path = gate.authorize_path(&client, &[]);
    // the first answers nothing for four seconds: asked one after another, the second would not be asked before that
    let both = async { tokio::time::timeout(Duration::from_secs(3), all_asked.wait()).await };
    tokio::select! {
        both = both => assert!(both.is_ok(), "they are asked one after another"),
        page = gate.get(&path) => panic!("no provider answered: {page:?}"),
    }
}

#[tokio::test]
async fn a_provider_that_is_down_does_not_block_another() {
    let (gate, provider) = TestGate::with_provider(|_| {}).await;
    let asked = Arc::new(Barrier::new(1));
    let mut down = silent("down", &provider, &asked).await;
    if let IdentityKind::Oidc(settings) = &mut down.kind {
        settings.discovery = "http://127.0.0.1:9/".parse().unwrap();
    }
    let gate = gate.restart_with(|config| config.identities.insert(0, down)).await;
    let client = gate.register().await;
    let page = gate.get(&gate.authorize_path(&client, &[])).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("value=\"keycloak\"") || page.body.contains("Keycloak"), "{page:?}");
    assert!(!page.body.contains("value=\"down\""), "{page:?}");
}

#[tokio::test]
async fn keycloaks_answer_to_a_form_posted_twice_is_an_outage_at_other_providers() {
    let mut bench = Bench::with(|config| provider_settings(config).flavour = OidcFlavour::Generic).await;
    let first = bench.approve().await;
    let sent_to = location(&bench.back(&bench.error(&first, "temporarily_unavailable")).await);
    assert_eq!(parameter(&sent_to, "error").as_deref(), Some("temporarily_unavailable"), "{sent_to}");
}
