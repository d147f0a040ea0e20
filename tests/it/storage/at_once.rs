//! Rules that look at more than the row that they change, and callers that come at once. On SQLite there is one writer; on
//! PostgreSQL these fail without their locks (`storage::exclusive`, and the trigger of the feed). The rotation rests on the order
//! of its statements; the batches would only deadlock now and then.

use std::collections::HashSet;
use std::time::Duration;

use portcullis::config::Database;
use portcullis::model::authorization::{Authorization, DeviceRequest, ProviderStanding, Purpose, SignIn, Stage};
use portcullis::model::device_code::NewDeviceCode;
use portcullis::model::grant::{Basis, EndReason, Grant, MAX_LIVE_GRANTS};
use portcullis::model::ids::{AuthorizationId, ClientId, GrantId, IdentityId, Subject};
use portcullis::model::provider_logout::ProviderLogout;
use portcullis::model::signing_key::StoredSigningKey;
use portcullis::storage::{
    CheckLease, CodeIssue, DeviceAnswer, Feed, GrantFilter, GrantsOf, MachineGrant, NewAccountSession, NewCode,
    Redemption, StoredIdentity,
};

use super::provider_logouts::logout;
use super::signing_keys::key;
use super::{
    DAY, Fresh, ISSUER, MINUTE, ada, at_once, authorization, client, contract, grant, new_code, redemption,
    refresh_token, rotation, some_hash,
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
    no_sign_in_outlives_a_logout_of_its_session_that_comes_while_codes_are_issued,
    a_logout_token_that_comes_many_times_at_once_counts_once,
    of_many_processes_that_check_a_standing_at_once_one_asks,
    of_many_rotations_at_once_one_succeeds,
    no_lease_is_given_for_a_token_that_is_being_superseded,
    an_abandoned_token_is_handed_out_once,
    no_provider_is_replaced_while_a_code_is_redeemed,
    no_grant_outlives_its_client_whose_codes_are_redeemed_while_it_is_deleted,
    a_reader_of_the_feed_misses_no_end_of_many_at_once,
    of_many_answers_to_a_device_code_at_once_one_counts,
    of_many_openings_of_one_account_session_at_once_one_succeeds,
    no_account_session_outlives_an_end_that_comes_while_sessions_are_opened,
    a_machine_that_asks_many_times_at_once_has_one_grant,
    no_grant_outlives_its_client_that_is_disabled_while_it_asks,
    many_batches_at_once_do_not_stand_in_each_others_way,
    of_many_next_signing_keys_at_once_one_is_published,
    no_signing_key_that_is_published_at_once_escapes_a_withdrawal,
}

const CALLERS: usize = 64;

/// On PostgreSQL every statement that writes to one of these tables takes up to so many milliseconds more from now on, so that
/// transactions overlap however quick the machine is.
async fn linger(fresh: &Fresh, tables: &[(&str, u32)]) {
    if matches!(fresh.settings.database, Database::Sqlite(_)) {
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

/// Some callers bring codes to sign-ins of a session, one of them reports its logout, and the others redeem what they got.
async fn no_sign_in_outlives_a_logout_of_its_session_that_comes_while_codes_are_issued(fresh: Fresh) {
    for names in [(true, true), (true, false), (false, true)] {
        let session = some_hash();
        let subject = Subject::new(&IdentityId::from("keycloak"), &format!("{names:?}"));
        let standing = ProviderStanding { offline: false, session: Some(session), ..ada().standing };
        let sign_in = SignIn { subject: subject.clone(), standing, ..ada() };
        let mut claimed = Vec::new();
        for _ in 0..CALLERS {
            claimed.push(fresh.claimed("c_1").await.id);
        }
        let now = fresh.now();
        let logout = ProviderLogout {
            subject: names.0.then(|| subject.clone()),
            session: names.1.then_some(session),
            ..logout(now)
        };
        if names == (true, true) {
            linger(&fresh, &[("authorizations", 30), ("provider_logouts", 30)]).await;
        }
        at_once(CALLERS, |n| {
            let (store, id, sign_in, logout) =
                (fresh.store.clone(), claimed[n].clone(), sign_in.clone(), logout.clone());
            async move {
                if n == 8 {
                    assert!(store.keep_provider_logout(&logout).await.unwrap());
                    store.apply_logout(&logout, now).await.unwrap();
                    let (those, reason) = (GrantsOf::LoggedOut(&logout), EndReason::BackChannelLogout);
                    while !store.end_grants_of(those, reason, now, 10).await.unwrap().is_empty() {}
                    return;
                }
                let code = some_hash();
                let new = NewCode { asserted_at: Some(now), ..new_code(&code, now + MINUTE, &sign_in) };
                if store.issue_code(&id, &new).await.unwrap() == CodeIssue::Issued {
                    let SignIn { subject, standing, .. } = sign_in;
                    let grant = Grant { subject, standing, ..grant("c_1", now) };
                    store.redeem_code(&redemption(&code, &grant, None, now)).await.unwrap();
                }
            }
        })
        .await;
        let theirs = format!("SELECT count(*) FROM grants WHERE ended_at IS NULL AND subject = '{subject}'");
        assert_eq!(number(&fresh.settings, &theirs).await, 0, "{names:?}");
    }
}

async fn a_logout_token_that_comes_many_times_at_once_counts_once(fresh: Fresh) {
    linger(&fresh, &[("provider_logouts", 20)]).await;
    let logout = logout(fresh.now());
    let kept = at_once(CALLERS, |_| {
        let (store, logout) = (fresh.store.clone(), logout.clone());
        async move { store.keep_provider_logout(&logout).await.unwrap() }
    })
    .await;
    assert_eq!(kept.into_iter().filter(|kept| *kept).count(), 1);
}

async fn of_many_processes_that_check_a_standing_at_once_one_asks(fresh: Fresh) {
    let (signed_in, now) = (fresh.signed_in("c_1").await, fresh.now());
    fresh.signed_in("c_2").await;
    let subject = signed_in.grant.subject;
    let logout = ProviderLogout { subject: Some(subject.clone()), ..logout(now) };
    fresh.store.apply_logout(&logout, now).await.unwrap();
    linger(&fresh, &[("standing_checks", 20), ("grants", 20)]).await;
    let asked = at_once(CALLERS, |n| {
        let (store, subject) = (fresh.store.clone(), subject.clone());
        async move {
            // every fourth one does not look whether another has the check
            for check in store.due_standing_checks(now, 10).await.unwrap() {
                if n % 4 > 0 && !store.claim_standing_check(&check, now, now + MINUTE).await.unwrap() {
                    return false;
                }
            }
            let lease = store.take_check_lease(&subject, &format!("holder {n}"), now + MINUTE, now).await.unwrap();
            matches!(lease, CheckLease::Taken(_))
        }
    })
    .await;
    assert_eq!(
        asked.into_iter().filter(|asked| *asked).count(),
        1,
        "a provider that rotates takes the second for theft"
    );
}

async fn of_many_rotations_at_once_one_succeeds(fresh: Fresh) {
    let (signed_in, now) = (fresh.signed_in("c_1").await, fresh.now());
    linger(&fresh, &[("grants", 4)]).await;
    let rotated = at_once(CALLERS, |_| {
        let (store, id, used) = (fresh.store.clone(), signed_in.grant.id.clone(), signed_in.token.hash);
        async move {
            // the lease of one process, in which two requests got past the single flight
            let _ = store.take_refresh_lease(&used, "us", now + MINUTE, now).await.unwrap().is_some();
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
        let one = fresh.signed_in_alone(&format!("c_{n}")).await;
        let now = fresh.now();
        assert!(fresh.store.take_refresh_lease(&one.token.hash, "us", now + MINUTE, now).await.unwrap().is_some());
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
                store.take_refresh_lease(&used, "another process", now + MINUTE, now).await.unwrap().is_some()
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
                tokio::time::sleep(Duration::from_micros(100 * round)).await;
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

async fn no_grant_outlives_its_client_whose_codes_are_redeemed_while_it_is_deleted(fresh: Fresh) {
    let mut codes = Vec::new();
    for n in 0..CALLERS / 2 {
        let client = format!("c_{n}");
        fresh.register(&client, "A").await;
        codes.push((fresh.code(&client).await.1, client));
    }
    let now = fresh.now();
    // between the look at the client and the note of its use
    linger(&fresh, &[("grants", 40)]).await;
    at_once(CALLERS, |n| {
        let (store, (code, client)) = (fresh.store.clone(), codes[n / 2].clone());
        async move {
            if n % 2 == 0 {
                let grant = Grant { subject: Subject::stored(format!("keycloak|{n}")), ..grant(&client, now) };
                let redemption = Redemption { client_is_configured: false, ..redemption(&code, &grant, None, now) };
                store.redeem_code(&redemption).await.unwrap();
            } else {
                tokio::time::sleep(Duration::from_millis(u64::try_from(n).unwrap())).await;
                let id = client.as_str().into();
                store.delete_client(&id).await.unwrap();
                store.end_grants_of(GrantsOf::Client(&id), EndReason::IdentityProvider, now, 100).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants WHERE ended_at IS NULL").await, 0);
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

async fn of_many_next_signing_keys_at_once_one_is_published(fresh: Fresh) {
    fresh.store.insert_first_signing_key(&key("ES256", fresh.now().0)).await.unwrap();
    linger(&fresh, &[("signing_keys", 10)]).await;
    let (now, later) = (fresh.now().0, fresh.now() + MINUTE);
    let published = at_once(CALLERS, |n| {
        let store = fresh.store.clone();
        // some replicas run with another configuration already
        let next = StoredSigningKey { active_from: later, ..key(["ES256", "EdDSA"][n % 2], now) };
        async move { store.insert_next_signing_key(&next, DAY).await.unwrap() }
    })
    .await;
    assert_eq!(published.into_iter().filter(|published| *published).count(), 1);
    assert_eq!(fresh.store.signing_keys().await.unwrap().len(), 2);
}

async fn no_signing_key_that_is_published_at_once_escapes_a_withdrawal(fresh: Fresh) {
    fresh.store.insert_first_signing_key(&key("ES256", fresh.now().0)).await.unwrap();
    linger(&fresh, &[("signing_keys", 10), ("withdrawn_keys", 10)]).await;
    let (now, later) = (fresh.now().0, fresh.now() + MINUTE);
    let made = at_once(CALLERS, |n| {
        let store = fresh.store.clone();
        let new = StoredSigningKey { active_from: later, ..key("ES256", now) };
        async move {
            let is_there = if n % 8 == 0 {
                store.replace_signing_keys(&new).await.unwrap();
                true
            } else {
                store.insert_next_signing_key(&new, DAY).await.unwrap()
            };
            is_there.then_some(new.id)
        }
    })
    .await;
    let left = fresh.store.signing_keys().await.unwrap();
    let withdrawn: HashSet<_> = fresh.store.withdrawn_keys().await.unwrap().into_iter().map(|key| key.id).collect();
    assert!(left.len() == 1 || left.len() == 2, "the last replacement, and perhaps one that came after it");
    let made: Vec<_> = made.into_iter().flatten().collect();
    assert_eq!(
        withdrawn.len(),
        1 + made.len() - left.len(),
        "the first one, and all that came before the last replacement"
    );
    assert!(left.iter().all(|key| !withdrawn.contains(&key.id)));
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

async fn of_many_answers_to_a_device_code_at_once_one_counts(fresh: Fresh) {
    let (now, hash) = (fresh.now(), some_hash());
    let authorization = authorization("c_1", now);
    let Purpose::Client(request) = authorization.purpose.clone() else { panic!("{authorization:?}") };
    let access = request.into_access();
    let new = NewDeviceCode {
        hash: &hash,
        user_code: &some_hash(),
        access: &access,
        address: "203.0.113.7",
        agent: None,
        interval: 5,
        created_at: now,
        expires_at: now + 10 * MINUTE,
    };
    assert!(fresh.store.insert_device_code(&new).await.unwrap());
    let taken = NewDeviceCode { hash: &some_hash(), ..new };
    assert!(!fresh.store.insert_device_code(&taken).await.unwrap(), "its user code is taken");
    linger(&fresh, &[("device_codes", 20)]).await;
    let answers = at_once(CALLERS, |_| {
        let request =
            DeviceRequest { device_code: hash, device_code_expires_at: now + 10 * MINUTE, access: access.clone() };
        let answer =
            Authorization { id: AuthorizationId::random(), purpose: Purpose::Device(request), ..authorization.clone() };
        let store = fresh.store.clone();
        async move { (store.answer_device_code(&hash, &answer, now).await.unwrap(), answer) }
    })
    .await;
    let recorded: Vec<_> = answers.iter().filter(|(answer, _)| *answer == DeviceAnswer::Recorded).collect();
    let [(_, recorded)] = recorded[..] else { panic!("{} count", recorded.len()) };
    assert!(answers.iter().all(|(answer, _)| *answer != DeviceAnswer::Posted));
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM authorizations").await, 1, "the others left nothing");
    assert_eq!(fresh.store.authorization(&recorded.id).await.unwrap().as_ref(), Some(recorded));
    let polled = fresh.store.poll_device_code(&hash).await.unwrap().unwrap();
    assert_eq!((polled.client_id.as_str(), polled.answer), ("c_1", Some(Stage::Pending)));
    let again = fresh.store.answer_device_code(&hash, recorded, now).await.unwrap();
    assert_eq!(again, DeviceAnswer::Posted);
}

async fn of_many_openings_of_one_account_session_at_once_one_succeeds(fresh: Fresh) {
    let now = fresh.now();
    let pending = Authorization { purpose: Purpose::Account, ..authorization("", now) };
    assert!(fresh.store.insert_authorization(&pending).await.unwrap());
    assert_eq!(fresh.store.authorization(&pending.id).await.unwrap(), Some(pending.clone()));
    assert!(fresh.store.claim_authorization(&pending.id, 0, now).await.unwrap());
    let client = fresh.claimed("c_1").await.id;
    linger(&fresh, &[("authorizations", 20)]).await;
    let subject = ada().subject;
    let opened = at_once(CALLERS, |n| {
        let (store, subject) = (fresh.store.clone(), subject.clone());
        // every fourth one tries it with a client's sign-in
        let id = if n % 4 == 0 { client.clone() } else { pending.id.clone() };
        async move {
            let session = NewAccountSession {
                hash: &some_hash(),
                subject: &subject,
                identity: &IdentityId::from("keycloak"),
                issuer: ISSUER,
                name: Some("Ada"),
                provider_session: None,
                asserted_at: None,
            };
            (n, store.open_account_session(&id, &session, now).await.unwrap())
        }
    })
    .await;
    let opened: Vec<_> = opened.into_iter().filter(|(_, opened)| *opened).map(|(n, _)| n).collect();
    assert!(matches!(opened[..], [n] if n % 4 != 0), "{opened:?}");
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM account_sessions").await, 1);
}

async fn no_account_session_outlives_an_end_that_comes_while_sessions_are_opened(fresh: Fresh) {
    let (now, subject) = (fresh.now(), ada().subject);
    let mut claimed = Vec::new();
    for _ in 0..CALLERS {
        let pending = Authorization { purpose: Purpose::Account, ..authorization("", now) };
        assert!(fresh.store.insert_authorization(&pending).await.unwrap());
        assert!(fresh.store.claim_authorization(&pending.id, 0, now).await.unwrap());
        claimed.push(pending.id);
    }
    linger(&fresh, &[("authorizations", 40)]).await;
    at_once(CALLERS, |n| {
        let (store, id, subject) = (fresh.store.clone(), claimed[n].clone(), subject.clone());
        async move {
            if n == 8 {
                let ends = GrantFilter { subject: Some(subject.as_str().to_owned()), ..GrantFilter::default() };
                store.cancel_sign_ins(&ends).await.unwrap();
                store.end_account_sessions(Some(subject.as_str()), None).await.unwrap();
                return;
            }
            let session = NewAccountSession {
                hash: &some_hash(),
                subject: &subject,
                identity: &IdentityId::from("keycloak"),
                issuer: ISSUER,
                name: None,
                provider_session: None,
                asserted_at: None,
            };
            store.open_account_session(&id, &session, now).await.unwrap();
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM account_sessions").await, 0);
}

async fn a_machine_that_asks_many_times_at_once_has_one_grant(fresh: Fresh) {
    linger(&fresh, &[("grants", 20)]).await;
    let now = fresh.now();
    let ids: HashSet<GrantId> = at_once(CALLERS, |_| {
        let (store, wanted) = (fresh.store.clone(), grant("ci", now));
        async move {
            match store.keep_machine_grant(wanted, Basis::ClientCredentials, None).await.unwrap().unwrap() {
                MachineGrant::Begun(grant) | MachineGrant::Extended(grant) => grant.id,
                MachineGrant::ClientDisabled => panic!("it is not disabled"),
            }
        }
    })
    .await
    .into_iter()
    .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants").await, 1);
}

async fn no_grant_outlives_its_client_that_is_disabled_while_it_asks(fresh: Fresh) {
    linger(&fresh, &[("grants", 40)]).await;
    let now = fresh.now();
    at_once(CALLERS, |n| {
        let (store, mut wanted) = (fresh.store.clone(), grant("agent", now));
        // one assertion for each user
        wanted.subject = Subject::stored(format!("keycloak|{n}"));
        async move {
            if n == 8 {
                let agent = ClientId::from("agent");
                assert!(store.disable_client(&agent, now).await.unwrap());
                let whose = GrantsOf::Client(&agent);
                while !store.end_grants_of(whose, EndReason::Operator, now, 100).await.unwrap().is_empty() {}
            } else {
                store.keep_machine_grant(wanted, Basis::Assertion, None).await.unwrap().unwrap();
            }
        }
    })
    .await;
    assert_eq!(number(&fresh.settings, "SELECT count(*) FROM grants WHERE ended_at IS NULL").await, 0);
}
