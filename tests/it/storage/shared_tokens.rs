//! The provider's offline token that a user's grants share.

use portcullis::model::authorization::{ProviderStanding, SignIn};
use portcullis::model::grant::{EndReason, Grant};
use portcullis::model::ids::{ClientId, IdentityId, Subject};
use portcullis::model::user::User;
use portcullis::secret::Sha256;
use portcullis::storage::{CodeIssue, NewRefreshToken, Rotation};

use super::{
    Fresh, ISSUER, MINUTE, ada, at_once, contract, grant, new_code, redemption, refresh_token, rotation, some_hash,
};

contract! {
    a_later_sign_in_gives_its_token_to_the_users_other_grants,
    a_renewed_token_is_kept_in_all_grants_that_share_it,
    a_renewal_does_not_take_the_place_of_a_later_sign_in,
    a_code_that_is_redeemed_late_takes_the_latest_token,
    a_token_of_a_session_is_not_shared,
    the_tokens_of_two_users_are_not_shared,
    of_many_grants_that_share_a_token_one_has_a_lease,
    a_renewal_without_a_refresh_takes_turns_with_refreshes_and_its_token_is_kept_in_all_grants,
    a_grant_without_a_token_or_that_has_ended_is_not_renewed,
    the_token_of_a_sign_in_that_came_to_nothing_is_used_by_live_grants_only,
    while_a_code_waits_no_grant_is_the_users_last,
}

fn standing(token: &str, offline: bool) -> ProviderStanding {
    ProviderStanding {
        sealed_token: Some(token.into()),
        offline,
        ends_at: None,
        renewable: true,
        line: 0,
        session: None,
    }
}

/// Issues a code for a user whose sign-in brought this token.
async fn issued(fresh: &Fresh, user: &str, standing: ProviderStanding) -> Sha256 {
    let (authorization, code) = (fresh.claimed("c_1").await, some_hash());
    let sign_in = SignIn { subject: Subject::new(&IdentityId::from("keycloak"), user), standing, ..ada() };
    let issued = fresh.store.issue_code(&authorization.id, &new_code(&code, fresh.now() + MINUTE, &sign_in)).await;
    assert_eq!(issued.unwrap(), CodeIssue::Issued);
    code
}

async fn redeemed(fresh: &Fresh, code: &Sha256) -> (Grant, NewRefreshToken) {
    let SignIn { subject, user, standing } = fresh.store.issued_code(code).await.unwrap().unwrap().sign_in;
    let grant = Grant { subject, user, standing, client_id: ClientId::from("c_1"), ..grant("c_1", fresh.now()) };
    let token = refresh_token(fresh.now());
    fresh.store.redeem_code(&redemption(code, &grant, Some(&token), fresh.now())).await.unwrap().unwrap();
    (grant, token)
}

async fn signed_in(fresh: &Fresh, user: &str, token: &str) -> (Grant, NewRefreshToken) {
    redeemed(fresh, &issued(fresh, user, standing(token, true)).await).await
}

async fn token_of(fresh: &Fresh, grant: &Grant) -> String {
    let stored = fresh.store.grant(&grant.id).await.unwrap().unwrap();
    String::from_utf8(stored.standing.sealed_token.unwrap()).unwrap()
}

async fn leased(fresh: &Fresh, token: &NewRefreshToken) -> Option<ProviderStanding> {
    fresh.store.take_refresh_lease(&token.hash, "us", fresh.now() + MINUTE, fresh.now()).await.unwrap()
}

/// Renews under a lease that was taken.
async fn renewed(fresh: &Fresh, grant: &Grant, token: &NewRefreshToken, standing: &ProviderStanding) {
    let successor = refresh_token(fresh.now());
    let rotation = Rotation { standing: Some(standing), ..rotation(&grant.id, &token.hash, &successor, fresh.now()) };
    assert!(fresh.store.rotate_refresh_token(&rotation).await.unwrap());
}

async fn a_later_sign_in_gives_its_token_to_the_users_other_grants(fresh: Fresh) {
    let (first, refresh) = signed_in(&fresh, "ada", "first").await;
    let code = issued(&fresh, "ada", standing("second", true)).await;
    assert_eq!(token_of(&fresh, &first).await, "second", "before the code is redeemed: the first is dead by now");
    let (second, _) = redeemed(&fresh, &code).await;
    assert_eq!(token_of(&fresh, &second).await, "second");
    let leased = leased(&fresh, &refresh).await.unwrap();
    assert_eq!(leased.sealed_token.as_deref(), Some(b"second".as_slice()), "the holder of a lease asks with it");
    assert!(leased.line > first.standing.line);
}

async fn a_renewed_token_is_kept_in_all_grants_that_share_it(fresh: Fresh) {
    let (first, refresh) = signed_in(&fresh, "ada", "first").await;
    let (second, _) = signed_in(&fresh, "ada", "second").await;
    let waiting = issued(&fresh, "ada", standing("third", true)).await;
    let leased = leased(&fresh, &refresh).await.unwrap();
    let new = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..leased };
    renewed(&fresh, &first, &refresh, &new).await;
    for grant in [&first, &second] {
        assert_eq!(token_of(&fresh, grant).await, "renewed");
    }
    let (third, _) = redeemed(&fresh, &waiting).await;
    assert_eq!(token_of(&fresh, &third).await, "renewed", "a code that waited has it too");
}

async fn a_renewal_does_not_take_the_place_of_a_later_sign_in(fresh: Fresh) {
    let (first, refresh) = signed_in(&fresh, "ada", "first").await;
    let leased = leased(&fresh, &refresh).await.unwrap();
    let (second, _) = signed_in(&fresh, "ada", "second").await;
    let new = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..leased };
    renewed(&fresh, &first, &refresh, &new).await;
    for grant in [&first, &second] {
        assert_eq!(token_of(&fresh, grant).await, "second");
    }
}

async fn a_renewal_without_a_refresh_takes_turns_with_refreshes_and_its_token_is_kept_in_all_grants(fresh: Fresh) {
    let (first, refresh) = signed_in(&fresh, "ada", "old").await;
    let (second, other_refresh) = signed_in(&fresh, "ada", "newest").await;
    let (now, until) = (fresh.now(), fresh.now() + MINUTE);
    let store = &fresh.store;
    // of 64 callers that share one token, by refreshes and without, one gets a lease
    let leases = at_once(64, |n| {
        let (store, grants) = (fresh.store.clone(), [first.id.clone(), second.id.clone()]);
        let hashes = [refresh.hash, other_refresh.hash];
        async move {
            let holder = format!("l_{n}");
            let lease = if n % 2 == 0 {
                store.take_lease_of_grant(&grants[n / 2 % 2], &holder, until, now).await.unwrap()
            } else {
                store.take_refresh_lease(&hashes[n / 2 % 2], &holder, until, now).await.unwrap()
            };
            lease.map(|standing| (n / 2 % 2, holder, standing))
        }
    })
    .await;
    let [(which, holder, standing)] = leases.into_iter().flatten().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(standing.sealed_token.as_deref(), Some(&b"newest"[..]));
    let (leased_grant, user) = ([&first, &second][which], User { name: Some("Ada".to_owned()), ..first.user.clone() });
    let renewed = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..standing };
    let kept = (Some(&renewed), Some(&user));
    assert!(!store.keep_renewal(leased_grant, "another", kept, now).await.unwrap(), "the lease is not theirs");
    assert!(store.keep_renewal(leased_grant, &holder, kept, now).await.unwrap());
    assert!(!store.keep_renewal(leased_grant, &holder, kept, now).await.unwrap(), "it was released");
    for grant in [&first, &second] {
        assert_eq!(token_of(&fresh, grant).await, "renewed");
    }
    assert_eq!(store.grant(&leased_grant.id).await.unwrap().unwrap().user, user);
    assert!(leased(&fresh, &refresh).await.is_some(), "the next one may renew");
}

async fn a_grant_without_a_token_or_that_has_ended_is_not_renewed(fresh: Fresh) {
    let (now, until) = (fresh.now(), fresh.now() + MINUTE);
    let without = ProviderStanding { sealed_token: None, ..standing("", false) };
    let (none, _) = redeemed(&fresh, &issued(&fresh, "bob", without).await).await;
    assert!(fresh.store.take_lease_of_grant(&none.id, "us", until, now).await.unwrap().is_none());
    let (grant, _) = signed_in(&fresh, "ada", "token").await;
    assert!(fresh.store.take_lease_of_grant(&grant.id, "us", until, now).await.unwrap().is_some());
    assert!(fresh.store.end_grant(&grant.id, EndReason::Client, now).await.is_ok());
    assert!(!fresh.store.keep_renewal(&grant, "us", (Some(&grant.standing), None), now).await.unwrap());
    assert!(fresh.store.take_lease_of_grant(&grant.id, "us", until, now).await.unwrap().is_none());
}

async fn a_code_that_is_redeemed_late_takes_the_latest_token(fresh: Fresh) {
    let early = issued(&fresh, "ada", standing("first", true)).await;
    let late = issued(&fresh, "ada", standing("second", true)).await;
    let (first, _) = redeemed(&fresh, &early).await;
    assert_eq!(token_of(&fresh, &first).await, "second");
    let (second, _) = redeemed(&fresh, &late).await;
    assert_eq!(token_of(&fresh, &second).await, "second");
}

async fn a_token_of_a_session_is_not_shared(fresh: Fresh) {
    let session = async |token| redeemed(&fresh, &issued(&fresh, "ada", standing(token, false)).await).await;
    let (first, refresh) = session("session").await;
    let (offline, _) = signed_in(&fresh, "ada", "offline").await;
    let (second, other_refresh) = session("another").await;
    for (grant, own) in [(&first, "session"), (&offline, "offline"), (&second, "another")] {
        assert_eq!(token_of(&fresh, grant).await, own);
    }
    let leases = [leased(&fresh, &refresh).await, leased(&fresh, &other_refresh).await];
    assert!(leases.iter().all(Option::is_some), "they are renewed side by side");
    let new = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..leases[0].clone().unwrap() };
    renewed(&fresh, &first, &refresh, &new).await;
    for (grant, own) in [(&first, "renewed"), (&offline, "offline"), (&second, "another")] {
        assert_eq!(token_of(&fresh, grant).await, own);
    }
}

async fn the_tokens_of_two_users_are_not_shared(fresh: Fresh) {
    let (first, refresh) = signed_in(&fresh, "ada", "of ada").await;
    let (second, other_refresh) = signed_in(&fresh, "bob", "of bob").await;
    let leased_by_ada = leased(&fresh, &refresh).await.unwrap();
    assert!(leased(&fresh, &other_refresh).await.is_some(), "nobody waits for another user");
    let new = ProviderStanding { sealed_token: Some(b"renewed".to_vec()), ..leased_by_ada };
    renewed(&fresh, &first, &refresh, &new).await;
    assert_eq!(token_of(&fresh, &first).await, "renewed");
    assert_eq!(token_of(&fresh, &second).await, "of bob");
}

async fn of_many_grants_that_share_a_token_one_has_a_lease(fresh: Fresh) {
    let mut refreshes = Vec::new();
    for number in 0..8 {
        refreshes.push(signed_in(&fresh, "ada", &number.to_string()).await);
    }
    let now = fresh.now();
    let taken = at_once(64, |number| {
        let (store, hash) = (fresh.store.clone(), refreshes[number % 8].1.hash);
        async move { store.take_refresh_lease(&hash, &format!("holder {number}"), now + MINUTE, now).await.unwrap() }
    })
    .await;
    let taken: Vec<_> = taken.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "a provider that rotates takes the second use of a token for theft");
    assert_eq!(taken[0].sealed_token.as_deref(), Some(b"7".as_slice()));
    fresh.clock.advance(2 * MINUTE);
    assert!(leased(&fresh, &refreshes[0].1).await.is_some(), "a lease that is lost ends by itself");
}

async fn the_token_of_a_sign_in_that_came_to_nothing_is_used_by_live_grants_only(fresh: Fresh) {
    let subject = Subject::new(&IdentityId::from("keycloak"), "ada");
    let share = async |issuer: &str, token: &str, offline| {
        fresh.store.share_provider_token(&subject, issuer, &standing(token, offline)).await.unwrap()
    };
    assert!(!share(ISSUER, "nobody's", true).await);
    let (first, _) = signed_in(&fresh, "ada", "first").await;
    assert!(!share(ISSUER, "a session's", false).await);
    assert!(!share("https://another.example", "another provider's", true).await);
    assert_eq!(token_of(&fresh, &first).await, "first");
    assert!(share(ISSUER, "second", true).await);
    assert_eq!(token_of(&fresh, &first).await, "second");
    fresh.store.end_grant(&first.id, EndReason::User, fresh.now()).await.unwrap();
    assert!(!share(ISSUER, "third", true).await);
}

async fn while_a_code_waits_no_grant_is_the_users_last(fresh: Fresh) {
    let (first, _) = signed_in(&fresh, "ada", "first").await;
    issued(&fresh, "ada", standing("second", true)).await;
    let ended = fresh.store.end_grant(&first.id, EndReason::User, fresh.now()).await.unwrap().unwrap();
    assert!(!ended.was_last, "the token that they share would be revoked");
    fresh.clock.advance(2 * MINUTE);
    assert!(!fresh.store.has_live_grant(&first.subject, &first.identity, fresh.now()).await.unwrap());
}
