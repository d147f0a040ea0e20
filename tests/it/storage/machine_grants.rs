//! Grants that no user consented to: one for each subject, client, resource and scope, and extended.

use portcullis::model::api_key::{NEVER, NewApiKey};
use portcullis::model::grant::{Basis, EndReason, Grant, MAX_LIVE_GRANTS};
use portcullis::model::ids::{GrantId, Subject};
use portcullis::oauth::scope::ScopeSet;
use portcullis::storage::MachineGrant;

use super::{DAY, Fresh, HOUR, ISSUER, contract, grant, some_hash};

contract! {
    a_disabled_client_begins_and_extends_nothing,
    a_live_grant_is_extended_and_its_end_never_comes_closer,
    grants_of_another_scope_basis_or_user_are_not_extended,
    an_ended_or_expired_grant_is_not_extended,
    no_grant_is_kept_under_an_issuer_that_was_replaced,
    grants_of_machines_neither_count_nor_end_beside_those_of_users,
    a_key_is_found_by_its_hash_until_its_grant_is_deleted,
}

fn wanted(fresh: &Fresh) -> Grant {
    let now = fresh.now();
    let standing = portcullis::model::authorization::ProviderStanding::default();
    Grant { id: GrantId::random(), standing, expires_at: now + HOUR, ..grant("ci", now) }
}

async fn kept(fresh: &Fresh, wanted: Grant, basis: Basis) -> (Grant, bool) {
    match fresh.store.keep_machine_grant(wanted, basis, None).await.unwrap().unwrap() {
        MachineGrant::Begun(grant) => (grant, true),
        MachineGrant::Extended(grant) => (grant, false),
        MachineGrant::ClientDisabled => panic!("no client is disabled here"),
    }
}

async fn a_disabled_client_begins_and_extends_nothing(fresh: Fresh) {
    let first = wanted(&fresh);
    kept(&fresh, first.clone(), Basis::ClientCredentials).await;
    fresh.store.disable_client(&first.client_id, fresh.now()).await.unwrap();
    for basis in [Basis::ClientCredentials, Basis::Assertion] {
        let answer = fresh.store.keep_machine_grant(wanted(&fresh), basis, None).await.unwrap();
        assert!(matches!(answer, Some(MachineGrant::ClientDisabled)), "{answer:?}");
    }
}

async fn a_live_grant_is_extended_and_its_end_never_comes_closer(fresh: Fresh) {
    let first = wanted(&fresh);
    let (begun, new) = kept(&fresh, first.clone(), Basis::ClientCredentials).await;
    assert!(new && begun.id == first.id);
    let later = Grant { expires_at: first.expires_at + HOUR, ..wanted(&fresh) };
    let (extended, new) = kept(&fresh, later.clone(), Basis::ClientCredentials).await;
    assert!(!new && extended.id == first.id && extended.expires_at == later.expires_at);
    let (extended, new) = kept(&fresh, wanted(&fresh), Basis::ClientCredentials).await;
    assert!(!new && extended.expires_at == later.expires_at, "it is not shortened");
    let (store, basis) = (&fresh.store, Basis::ClientCredentials);
    let found = store.machine_grant(&first, basis, later.expires_at).await.unwrap();
    assert_eq!(found.map(|grant| grant.id), Some(first.id.clone()));
    assert!(
        store.machine_grant(&first, basis, later.expires_at + HOUR).await.unwrap().is_none(),
        "it ends before that"
    );
}

async fn grants_of_another_scope_basis_or_user_are_not_extended(fresh: Fresh) {
    let first = wanted(&fresh);
    kept(&fresh, first.clone(), Basis::ClientCredentials).await;
    for other in [
        Grant { scope: ScopeSet::parse("mcp:access more").unwrap(), ..wanted(&fresh) },
        Grant { subject: Subject::stored("client|other".to_owned()), ..wanted(&fresh) },
        Grant { resource: "https://mcp.example.com/other".to_owned(), ..wanted(&fresh) },
        Grant { client_id: "other".into(), ..wanted(&fresh) },
    ] {
        assert!(kept(&fresh, other.clone(), Basis::ClientCredentials).await.1, "{other:?}");
    }
    assert!(kept(&fresh, wanted(&fresh), Basis::Assertion).await.1);
    let signed_in = fresh.signed_in_as(|grant| grant.client_id = "ci".into()).await.grant;
    let same = Grant { id: GrantId::random(), expires_at: signed_in.expires_at, ..signed_in.clone() };
    let (_, _) = kept(&fresh, same, Basis::Assertion).await;
    assert_eq!(fresh.store.grant(&signed_in.id).await.unwrap().unwrap().expires_at, signed_in.expires_at);
}

async fn an_ended_or_expired_grant_is_not_extended(fresh: Fresh) {
    let first = wanted(&fresh);
    kept(&fresh, first.clone(), Basis::ClientCredentials).await;
    fresh.store.end_grant(&first.id, EndReason::Operator, fresh.now()).await.unwrap().unwrap();
    let second = wanted(&fresh);
    assert!(kept(&fresh, second.clone(), Basis::ClientCredentials).await.1);
    let expired = Grant { created_at: second.expires_at, expires_at: second.expires_at + HOUR, ..wanted(&fresh) };
    assert!(kept(&fresh, expired, Basis::ClientCredentials).await.1);
}

async fn no_grant_is_kept_under_an_issuer_that_was_replaced(fresh: Fresh) {
    let known = fresh.signed_in_as(|_| {}).await.grant;
    let keep = |issuer| fresh.store.keep_machine_grant(wanted(&fresh), Basis::Assertion, Some(issuer));
    assert_eq!(known.identity.as_str(), "keycloak");
    assert!(keep(ISSUER).await.unwrap().is_some());
    assert!(keep("https://elsewhere.example").await.unwrap().is_none());
}

async fn grants_of_machines_neither_count_nor_end_beside_those_of_users(fresh: Fresh) {
    let user = |grant: &mut Grant| grant.client_id = "ci".into();
    let (machine, _) = kept(&fresh, wanted(&fresh), Basis::Assertion).await;
    let mut last = None;
    for _ in 0..MAX_LIVE_GRANTS + 5 {
        last = Some(fresh.signed_in_as(user).await.grant);
    }
    assert!(fresh.store.grant(&machine.id).await.unwrap().unwrap().ended_at.is_none());
    let filter = portcullis::storage::GrantFilter { client: Some("ci".to_owned()), ..Default::default() };
    let live = fresh.store.list_grants(&filter, None, fresh.now(), 100).await.unwrap();
    assert_eq!(live.len(), usize::try_from(MAX_LIVE_GRANTS).unwrap() + 1);
    let users: Vec<_> = live.into_iter().map(|grant| grant.id).filter(|id| *id != machine.id).collect();
    let ended = fresh.store.end_grants(&users, EndReason::Operator, fresh.now()).await.unwrap();
    assert!(ended.iter().all(|ended| ended.was_last), "the machine's does not need the provider's token");
    assert!(last.is_some());
}

async fn a_key_is_found_by_its_hash_until_its_grant_is_deleted(fresh: Fresh) {
    let (hash, now) = (some_hash(), fresh.now());
    let new = NewApiKey {
        name: "nightly \u{202e}report".to_owned(),
        owner: None,
        resource: "https://mcp.example.com/mcp".to_owned(),
        scope: ScopeSet::parse("mcp:access").unwrap(),
        expires_at: NEVER,
    };
    let grant = fresh.store.insert_api_key(&new, &hash, now).await.unwrap();
    assert!(grant.id.as_str().starts_with("k_") && grant.subject.as_str() == format!("key|{}", grant.id));
    assert_eq!(fresh.store.grant(&grant.id).await.unwrap(), Some(grant.clone()));
    assert_eq!(fresh.store.api_key(&hash).await.unwrap().map(|key| key.id), Some(grant.id.clone()));
    assert!(fresh.store.api_key(&some_hash()).await.unwrap().is_none());
    assert!(fresh.store.insert_api_key(&new, &hash, now).await.is_err(), "a key is one key");
    fresh.store.note_api_key_use(&grant.id, now + HOUR).await.unwrap();
    fresh.store.note_api_key_use(&grant.id, now).await.unwrap();
    let listed = fresh.store.list_api_keys(Some(&new.resource), None, now, 10).await.unwrap();
    assert_eq!((listed.len(), &listed[0].name, listed[0].last_used_at), (1, &new.name, now + HOUR));
    assert!(fresh.store.list_api_keys(Some("https://elsewhere"), None, now, 10).await.unwrap().is_empty());
    assert!(fresh.store.unregistered_clients().await.unwrap().is_empty(), "a key is no client that could leave");
    assert!(!fresh.store.known_identities().await.unwrap().contains(&grant.identity), "and has no provider");
    fresh.store.end_grant(&grant.id, EndReason::Operator, now).await.unwrap().unwrap();
    assert!(fresh.store.list_api_keys(None, None, now, 10).await.unwrap().is_empty());
    assert!(fresh.store.api_key(&hash).await.unwrap().is_some(), "its use is recognised");
    fresh.store.delete_expired(&super::expiry::retention(), now + 2 * DAY, 100).await.unwrap();
    assert!(fresh.store.api_key(&hash).await.unwrap().is_none());
}
