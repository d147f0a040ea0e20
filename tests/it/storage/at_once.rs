//! Rules that look at more than the row that they change, and callers that come at once. On SQLite there is one writer; on
//! PostgreSQL these fail without their locks (`storage::exclusive`, and the trigger of the feed). The rotation rests on the order
//! of its statements; the batches would only deadlock now and then.

use std::collections::HashSet;

use portcullis::config::Storage;
use portcullis::model::grant::{Basis, EndReason, MAX_LIVE_GRANTS};
use portcullis::model::ids::{GrantId, Subject};
use portcullis::storage::{Feed, GrantFilter, MachineGrant, StoredIdentity};

use super::{
    DAY, Fresh, ISSUER, MINUTE, ada, at_once, client, contract, grant, new_code, redemption, refresh_token, rotation,
    some_hash,
};
use crate::support::database::{by_hand, number};

macro_rules! contract_at_once {
    ($($promise:ident),+ $(,)?) => {
        contract! { on_sqlite, crate::storage::SqlitePlace::new(); $($promise),+ }
        contract! { on_postgres, crate::storage::PostgresPlace::new().with(24); $($promise),+ }
    };
}

contract_at_once! {
    of_a_users_grants_that_end_at_once_one_is_the_last,
    redemptions_at_once_leave_no_more_grants_than_may_live,
    registrations_at_once_leave_no_more_unused_clients_than_may_be,
    shared_clients_that_register_at_once_move_until_the_addresses_hold_the_same,
    no_sign_in_outlives_an_end_that_comes_while_codes_are_issued,
    of_many_rotations_at_once_one_succeeds,
    no_lease_is_given_for_a_token_that_is_being_superseded,
    an_abandoned_token_is_handed_out_once,
    no_provider_is_replaced_while_a_code_is_redeemed,
    a_reader_of_the_feed_misses_no_end_of_many_at_once,
    a_machine_that_asks_many_times_at_once_has_one_grant,
    many_batches_at_once_do_not_stand_in_each_others_way,
}

const CALLERS: usize = 64;

/// On PostgreSQL every statement that writes to one of these tables takes up to so many milliseconds more from now on, so that
/// transactions overlap however quick the machine is.
async fn linger(fresh: &Fresh, tables: &[(&str, u32)]) {
    if matches!(fresh.settings, Storage::Sqlite(_)) {
        return;
    }
    let function = "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_sleep(random() * TG_ARGV[0]::INTEGER / 1000); RETURN NULL; END$$";
    by_hand(&fresh.settings, function).await;
    for (table, milliseconds) in tables {
        let trigger = format!(
            "CREATE TRIGGER linger AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT
             EXECUTE FUNCTION linger({milliseconds})"
        );
        by_hand(&fresh.settings, &trigger).await;
    }
    // the first calls would wait for their connections, one after another
    at_once(CALLERS, |_| {
        let store = fresh.store.clone();
        async move { store.grant(&"g_none".into()).await.unwrap() }
    })
    .await;
}

async fn of_a_users_grants_that_end_at_once_one_is_the_last(fresh: Fresh) {
    let user = |n: usize| format!("keycloak|{}", n / 16);
    let mut grants = Vec::new();
    for n in 0..CALLERS {
        let grant = fresh.signed_in_as(|grant| grant.subject = Subject::stored(user(n))).await.grant;
        grants.push(grant.id);
    }
    let now = fresh.now();
    linger(&fresh, &[("grants", 20)]).await;
    let ended = at_once(CALLERS, |n| {
        let (store, id) = (fresh.store.clone(), grants[n].clone());
        async move { store.end_grant(&id, EndReason::IdentityProvider, now).await.unwrap().unwrap() }
    })
    .await;
    let mut last: Vec<_> =
        ended.iter().filter(|ended| ended.was_last).map(|ended| ended.grant.subject.as_str()).collect();
    last.sort_unstable();
    assert_eq!(last, (0..4).map(|user| format!("keycloak|{user}")).collect::<Vec<_>>(), "one of each user");
}

async fn redemptions_at_once_leave_no_more_grants_than_may_live(fresh: Fresh) {
    let mut codes = Vec::new();
    for _ in 0..CALLERS {
        codes.push(fresh.code("c_1").await.1);
    }
    let now = fresh.now();
    linger(&fresh, &[("grants", 10), ("authorizations", 10)]).await;
    let ended: Vec<Vec<GrantId>> = at_once(CALLERS, |n| {
        let (store, code) = (fresh.store.clone(), codes[n]);
        async move {
            let redeemed = store.redeem_code(&redemption(&code, &grant("c_1", now), None, now)).await;
            redeemed.unwrap().unwrap()
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants WHERE ended_at IS NULL").await, MAX_LIVE_GRANTS);
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    assert_eq!(ended.len(), CALLERS - usize::try_from(MAX_LIVE_GRANTS).unwrap());
    assert_eq!(ended.iter().collect::<HashSet<_>>().len(), ended.len(), "each is told once");
}

async fn registrations_at_once_leave_no_more_unused_clients_than_may_be(fresh: Fresh) {
    let now = fresh.now();
    linger(&fresh, &[("clients", 5)]).await;
    at_once(CALLERS, |n| {
        let store = fresh.store.clone();
        let client = client(&format!("c_{n}"), now);
        async move { store.insert_client(&client, "A", 8, now).await.unwrap() }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM clients").await, 8);
}

async fn shared_clients_that_register_at_once_move_until_the_addresses_hold_the_same(fresh: Fresh) {
    for n in 0..CALLERS {
        fresh.register(&format!("c_{n}"), "X").await;
    }
    let now = fresh.now();
    linger(&fresh, &[("clients", 10)]).await;
    at_once(CALLERS, |n| {
        let (store, client) = (fresh.store.clone(), client(&format!("c_{n}"), now));
        async move { store.insert_client(&client, "V", 1000, now).await.unwrap() }
    })
    .await;
    let moved = number(&fresh.settings, "SELECT count(*) FROM clients WHERE address = 'V'").await;
    assert_eq!(moved, i64::try_from(CALLERS / 2).unwrap());
}

async fn no_sign_in_outlives_an_end_that_comes_while_codes_are_issued(fresh: Fresh) {
    let mut claimed = Vec::new();
    for _ in 0..CALLERS {
        claimed.push(fresh.claimed("c_1").await.id);
    }
    let until = fresh.now() + MINUTE;
    linger(&fresh, &[("authorizations", 40)]).await;
    at_once(CALLERS, |n| {
        let (store, id) = (fresh.store.clone(), claimed[n].clone());
        async move {
            if n == 8 {
                let ends = GrantFilter { subject: Some("keycloak|ada".to_owned()), ..GrantFilter::default() };
                store.cancel_sign_ins(&ends).await.unwrap();
            } else {
                store.issue_code(&id, &new_code(&some_hash(), until, &ada())).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM authorizations WHERE stage = 'code_issued'").await, 0);
}

async fn of_many_rotations_at_once_one_succeeds(fresh: Fresh) {
    let (signed_in, now) = (fresh.signed_in("c_1").await, fresh.now());
    linger(&fresh, &[("grants", 4)]).await;
    let rotated = at_once(CALLERS, |_| {
        let (store, id, used) = (fresh.store.clone(), signed_in.grant.id.clone(), signed_in.token.hash);
        async move {
            // the lease of one process, in which two requests got past the single flight
            let _ = store.take_refresh_lease(&used, "us", now + MINUTE, now).await.unwrap();
            let successor = refresh_token(now);
            let rotated = store.rotate_refresh_token(&rotation(&id, &used, &successor, now)).await.unwrap();
            assert_eq!(store.refresh_token(&successor.hash).await.unwrap().is_some(), rotated);
            rotated
        }
    })
    .await;
    assert_eq!(rotated.into_iter().filter(|rotated| *rotated).count(), 1);
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM refresh_tokens").await, 2);
}

async fn no_lease_is_given_for_a_token_that_is_being_superseded(fresh: Fresh) {
    let mut signed_in = Vec::new();
    for n in 0..CALLERS / 2 {
        let one = fresh.signed_in(&format!("c_{n}")).await;
        let now = fresh.now();
        assert!(fresh.store.take_refresh_lease(&one.token.hash, "us", now + MINUTE, now).await.unwrap());
        signed_in.push((one.grant.id, one.token.hash));
    }
    let now = fresh.now();
    // the lease is held, then the token is used: another process gets it at no moment
    let answers = at_once(CALLERS, |n| {
        let (store, (grant, used)) = (fresh.store.clone(), signed_in[n / 2].clone());
        async move {
            if n % 2 == 0 {
                let successor = refresh_token(now);
                store.rotate_refresh_token(&rotation(&grant, &used, &successor, now)).await.unwrap()
            } else {
                store.take_refresh_lease(&used, "another process", now + MINUTE, now).await.unwrap()
            }
        }
    })
    .await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, n % 2 == 0, "{n}");
    }
}

async fn an_abandoned_token_is_handed_out_once(fresh: Fresh) {
    for _ in 0..CALLERS {
        fresh.code("c_1").await;
    }
    fresh.clock.advance(DAY);
    let now = fresh.now();
    linger(&fresh, &[("authorizations", 10)]).await;
    let taken = at_once(CALLERS, |_| {
        let store = fresh.store.clone();
        async move { store.take_abandoned_tokens(now, 1).await.unwrap().len() }
    })
    .await;
    assert_eq!(taken.into_iter().sum::<usize>(), CALLERS);
    assert!(fresh.store.take_abandoned_tokens(now, 100).await.unwrap().is_empty(), "some were handed out twice");
}

async fn no_provider_is_replaced_while_a_code_is_redeemed(fresh: Fresh) {
    let other = "https://other.example";
    let identity = |issuer: &str| StoredIdentity {
        id: "keycloak".into(),
        issuer: issuer.to_owned(),
        client_id: "portcullis".to_owned(),
    };
    linger(&fresh, &[("grants", 10), ("identities", 10)]).await;
    for round in 0..24 {
        let (code, grant, now) = (fresh.code("c_1").await.1, grant("c_1", fresh.now()), fresh.now());
        let redemption = redemption(&code, &grant, None, now);
        let (replaced, redeemed) = tokio::join!(
            async {
                tokio::time::sleep(std::time::Duration::from_micros(100 * round)).await;
                fresh.store.replace_identity(ISSUER, &identity(other)).await.unwrap()
            },
            fresh.store.redeem_code(&redemption)
        );
        let redeemed = redeemed.unwrap().is_some();
        assert!(replaced != redeemed, "replaced and redeemed are both {replaced}");
        if redeemed {
            fresh.store.end_grant(&grant.id, EndReason::IdentityProvider, now).await.unwrap();
        } else {
            assert!(fresh.store.replace_identity(other, &identity(ISSUER)).await.unwrap());
        }
    }
}

async fn a_reader_of_the_feed_misses_no_end_of_many_at_once(fresh: Fresh) {
    let mut grants = Vec::new();
    for n in 0..CALLERS {
        grants.push(fresh.signed_in_as(|grant| grant.client_id = format!("c_{n}").as_str().into()).await.grant.id);
    }
    linger(&fresh, &[("grant_ends", 10)]).await;
    let mut position = fresh.store.newest_grant_end().await.unwrap();
    let now = fresh.now();
    let ends = tokio::spawn({
        let (store, grants) = (fresh.store.clone(), grants.clone());
        async move {
            at_once(CALLERS, |n| {
                let (store, id) = (store.clone(), grants[n].clone());
                async move { store.end_grant(&id, EndReason::IdentityProvider, now).await.unwrap().unwrap() }
            })
            .await
        }
    });
    let mut told = Vec::new();
    loop {
        let is_over = ends.is_finished();
        match fresh.store.grants_ended_after(position).await.unwrap() {
            Feed::Ended(ended, newest) => {
                told.extend(ended);
                position = newest;
            }
            Feed::Gap => panic!("nothing was deleted"),
        }
        if is_over {
            break;
        }
    }
    ends.await.unwrap();
    let all: HashSet<_> = grants.into_iter().collect();
    assert_eq!(told.len(), all.len());
    assert_eq!(told.into_iter().collect::<HashSet<_>>(), all);
}

async fn many_batches_at_once_do_not_stand_in_each_others_way(fresh: Fresh) {
    let mut grants = Vec::new();
    for n in 0..32 {
        fresh.pending("c_1").await;
        grants.push(fresh.signed_in(&format!("c_{}", n / 16)).await.grant.id);
    }
    let now = fresh.now();
    linger(&fresh, &[("grants", 2), ("authorizations", 10)]).await;
    at_once(CALLERS, |n| {
        let (store, mut ids) = (fresh.store.clone(), grants.clone());
        let turn = n % ids.len();
        ids.rotate_left(turn);
        async move {
            match n % 4 {
                0 => drop(store.end_grants(&ids, EndReason::IdentityProvider, now).await.unwrap()),
                1 => drop(store.end_unusable_grants(MINUTE, now + 100 * DAY, 10).await.unwrap()),
                2 => drop(store.cancel_sign_ins(&GrantFilter::default()).await.unwrap()),
                _ => drop(store.take_abandoned_tokens(now + DAY, 10).await.unwrap()),
            }
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants WHERE ended_at IS NULL").await, 0);
}

async fn a_machine_that_asks_many_times_at_once_has_one_grant(fresh: Fresh) {
    linger(&fresh, &[("grants", 20)]).await;
    let now = fresh.now();
    let ids: HashSet<GrantId> = at_once(CALLERS, |_| {
        let (store, wanted) = (fresh.store.clone(), grant("ci", now));
        async move {
            match store.keep_machine_grant(wanted, Basis::ClientCredentials, None).await.unwrap().unwrap() {
                MachineGrant::Begun(grant) | MachineGrant::Extended(grant) => grant.id,
            }
        }
    })
    .await
    .into_iter()
    .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants").await, 1);
}
