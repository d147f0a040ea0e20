//! Thieves of refresh tokens and codes who know of DPoP: it must not help them to keep what they stole.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::browser::{Browser, parameter};
use crate::support::dpop::{Holder, optional, redeem, refresh};
use crate::support::gate::{TestClient, TestGate, WORKS, tokens};
use crate::support::log::watch;

/// Later than any retry, and sooner than the nonce of a proof ends.
const LATE: Duration = Duration::from_secs(40);

/// The redirect URI of a sign-in whose code is bound to a key.
async fn bound_code(gate: &TestGate, client: &TestClient, holder: &Holder) -> String {
    let place = gate.sign_in(&mut Browser::default(), client, &[("dpop_jkt", &holder.jkt())]).await;
    parameter(&place, "code").unwrap()
}

#[tokio::test]
async fn a_thief_who_binds_a_stolen_bearer_grant_to_a_key_loses_it_when_its_owner_refreshes() {
    for later in [Duration::ZERO, LATE] {
        let gate = optional().await;
        let (client, thief) = (gate.register().await, Holder::new());
        let bearer = gate.tokens(&client).await;
        let stolen = tokens(&thief.refresh(&gate, &client, &bearer.refresh).await);
        assert_eq!(thief.call(&gate, &stolen.access).await.status, WORKS);
        gate.clock.advance(later);
        // the owner knows nothing of keys
        let answer = gate.refresh(&client, &bearer.refresh).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_grant"), "{later:?}: {answer:?}");
        assert_eq!(thief.call(&gate, &stolen.access).await.status, 401, "{later:?}");
        assert_eq!(thief.refresh(&gate, &client, &stolen.refresh).await.error(), "invalid_grant", "{later:?}");
    }
}

#[tokio::test]
async fn an_owner_with_another_key_than_the_thief_ends_the_grant_too() {
    let gate = optional().await;
    let (client, owner, thief) = (gate.register().await, Holder::new(), Holder::new());
    let bearer = gate.tokens(&client).await;
    let stolen = tokens(&thief.refresh(&gate, &client, &bearer.refresh).await);
    assert_eq!(owner.refresh(&gate, &client, &bearer.refresh).await.error(), "invalid_grant");
    assert_eq!(thief.call(&gate, &stolen.access).await.status, 401);
}

#[tokio::test]
async fn a_client_that_begins_to_prove_its_key_may_lose_an_answer() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let bearer = gate.tokens(&client).await;
    let first = tokens(&holder.refresh(&gate, &client, &bearer.refresh).await);
    let retried = tokens(&holder.refresh(&gate, &client, &bearer.refresh).await);
    assert_eq!((&retried.access, &retried.refresh), (&first.access, &first.refresh));
    assert_eq!(holder.call(&gate, &first.access).await.status, WORKS);
    assert_eq!(holder.refresh(&gate, &client, &first.refresh).await.status, 200);
}

#[tokio::test]
async fn of_an_owner_and_a_thief_at_once_with_a_bearer_token_the_thief_never_keeps_the_grant() {
    for _ in 0..8 {
        let gate = optional().await;
        let twin = gate.twin().await;
        let (client, thief) = (gate.register().await, Holder::new());
        let bearer = gate.tokens(&client).await;
        let proof = thief.for_tokens(&gate);
        let proofs = [proof.as_str()];
        let (owners, thiefs) =
            tokio::join!(gate.refresh(&client, &bearer.refresh), refresh(&twin, &client, &bearer.refresh, &proofs));
        if thiefs.status == 200 && thiefs.json()["token_type"] == "DPoP" {
            let stolen = tokens(&thiefs);
            assert_eq!(owners.error(), "invalid_grant", "{owners:?}");
            assert_eq!(thief.refresh(&gate, &client, &stolen.refresh).await.error(), "invalid_grant");
        }
    }
}

#[tokio::test]
async fn a_recorded_refresh_that_is_sent_again_with_its_proof_ends_nothing() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let first = holder.tokens(&gate, &client).await;
    let proof = holder.for_tokens(&gate);
    let second = tokens(&refresh(&gate, &client, &first.refresh, &[&proof]).await);
    let third = tokens(&holder.refresh(&gate, &client, &second.refresh).await);
    for later in [Duration::ZERO, LATE] {
        gate.clock.advance(later);
        let (used, proof) = (&first.refresh, &proof);
        let sent = (0..8).map(|_| async { refresh(&gate, &client, used, &[proof]).await });
        for answer in join_all(sent).await {
            assert_eq!(answer.error(), "invalid_dpop_proof", "{answer:?}");
        }
        assert_eq!(holder.call(&gate, &third.access).await.status, WORKS, "the grant lives");
    }
}

#[tokio::test]
async fn a_recorded_redemption_that_is_sent_again_with_its_proof_ends_nothing() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let proof = holder.for_tokens(&gate);
    let code = bound_code(&gate, &client, &holder).await;
    let given = tokens(&redeem(&gate, &client, &code, &[&proof]).await);
    gate.clock.advance(LATE);
    let answer = redeem(&gate, &client, &code, &[&proof]).await;
    assert_eq!(answer.error(), "invalid_dpop_proof", "{answer:?}");
    assert_eq!(holder.call(&gate, &given.access).await.status, WORKS);
}

#[tokio::test]
async fn a_late_second_redemption_of_a_bound_code_ends_the_grant_only_with_its_key() {
    let gate = optional().await;
    let (client, holder) = (gate.register().await, Holder::new());
    let code = bound_code(&gate, &client, &holder).await;
    let given = tokens(&redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await);
    gate.clock.advance(Duration::from_mins(10));
    assert_eq!(redeem(&gate, &client, &code, &[]).await.error(), "invalid_dpop_proof");
    assert_eq!(redeem(&gate, &client, &code, &[&Holder::new().for_tokens(&gate)]).await.error(), "invalid_grant");
    assert_eq!(holder.call(&gate, &given.access).await.status, WORKS);
    assert_eq!(redeem(&gate, &client, &code, &[&holder.for_tokens(&gate)]).await.error(), "invalid_grant");
    assert_eq!(holder.call(&gate, &given.access).await.status, 401);
}

/// A code that is not bound by `dpop_jkt` is a bearer code: two parties hold it, and the key of the grant tells which one was first,
/// not which one is the thief.
#[tokio::test]
async fn a_thief_who_redeems_a_bearer_code_with_a_key_loses_the_grant_when_its_owner_comes() {
    let gate = optional().await;
    for owner in [None, Some(Holder::new())] {
        let (client, thief) = (gate.register().await, Holder::new());
        let code = gate.code(&client).await;
        let stolen = tokens(&redeem(&gate, &client, &code, &[&thief.for_tokens(&gate)]).await);
        assert_eq!(thief.call(&gate, &stolen.access).await.status, WORKS);
        gate.clock.advance(LATE);
        let proof = owner.as_ref().map(|owner| owner.for_tokens(&gate));
        let proofs: Vec<_> = proof.iter().map(String::as_str).collect();
        assert_eq!(redeem(&gate, &client, &code, &proofs).await.error(), "invalid_grant");
        assert_eq!(thief.call(&gate, &stolen.access).await.status, 401);
    }
}

#[tokio::test]
async fn the_replay_of_a_bearer_token_is_not_recorded_as_that_of_a_bound_one() {
    let gate = optional().await;
    let (client, thief) = (gate.register().await, Holder::new());
    let bearer = gate.tokens(&client).await;
    thief.refresh(&gate, &client, &bearer.refresh).await;
    let (log, _guard) = watch();
    gate.refresh(&client, &bearer.refresh).await;
    let told = log.text();
    assert!(told.contains("refresh_token_replayed"), "{told}");
    assert!(!told.contains("a bound token was presented without its key"), "{told}");
}
