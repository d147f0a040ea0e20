//! A provider that takes its time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Oidc;
use crate::clock::{Clock, Timestamp};
use crate::config::{OidcFlavour, OidcSettings, Outbound, Standing};
use crate::identity::exchange::RenewError;
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::telemetry::metrics::Metrics;

/// How far a slow provider gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Nothing,
    Discovery,
    /// Everything but the keys.
    Tokens,
}

async fn slow_provider(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let base = issuer.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let base = base.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let body = if request.starts_with("GET /discovery") && answers != Answers::Nothing {
                    let at = |path: &str| format!("{base}/{path}");
                    serde_json::json!({"issuer": base, "authorization_endpoint": at("auth"),
                        "token_endpoint": at("token"), "jwks_uri": at("certs")})
                } else if request.starts_with("POST /token") && answers == Answers::Tokens {
                    serde_json::json!({"access_token": "a", "refresh_token": "next", "id_token": "a.b.c"})
                } else {
                    return std::future::pending().await;
                };
                let body = body.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            });
        }
    });
    issuer
}

async fn renew(answers: Answers) -> Result<Option<String>, RenewError> {
    let issuer = slow_provider(answers).await;
    let settings = OidcSettings {
        flavour: OidcFlavour::Generic,
        discovery: format!("{issuer}/discovery").parse().unwrap(),
        issuer,
        client_id: "portcullis".to_owned(),
        client_secret: None,
        scopes: ScopeSet::empty(),
        authorize_params: Vec::new(),
        standing: Standing::Session,
        groups: crate::config::GroupSources::default(),
        trust_email: false,
        replaces_issuer: None,
        ca_file: None,
    };
    let mut oidc = Oidc::new(
        "slow",
        &settings,
        &Outbound::default(),
        &Clock::manual(Timestamp(1_800_000_000)),
        Metrics::default().providers.of("slow"),
    );
    oidc.renew_timeout = Duration::from_millis(200);
    let nothing = User::default();
    let held = "held".to_owned().into();
    let renewal = oidc.renew("alice", &nothing, Some(&held));
    let renewed = tokio::time::timeout(Duration::from_secs(3), renewal).await.expect("it ends in time")?;
    assert!(renewed.user.is_none_or(|user| user == nothing));
    Ok(renewed.token.map(|token| token.token.expose().to_owned()))
}

#[tokio::test]
async fn a_renewal_ends_in_time_wherever_the_provider_hangs() {
    for answers in [Answers::Nothing, Answers::Discovery] {
        let error = renew(answers).await.unwrap_err();
        assert!(
            matches!(&error, RenewError::Unavailable(words) if words.contains("0.") && words.contains(" s")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn keys_that_hang_do_not_cost_the_refresh_token_that_came() {
    assert_eq!(renew(Answers::Tokens).await.unwrap().as_deref(), Some("next"));
}
