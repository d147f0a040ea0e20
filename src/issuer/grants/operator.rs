//! Ends grants for an operator's command: chosen ones, all that a filter matches, or those of a client.
//!
//! Defends against: a sign-in in progress that becomes a grant of what was just ended (sign-ins are cancelled first), and a
//! provider's token that outlives the user's last grant (the grants of a user end in one transaction).

use std::collections::BTreeMap;

use super::ends::GrantEnds;
use super::provider_tokens::Revocations;
use crate::audit::{Actor, Event};
use crate::model::grant::EndReason;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::storage::{EndedGrant, GrantFilter, StoreError};

/// How many grants one transaction ends, at least: all grants of a user end in the same one.
const BATCH: usize = 100;
/// How many rows one query reads.
const PAGE: i64 = 500;

/// Live grants, by user.
#[derive(Debug, Default)]
pub(crate) struct ChosenGrants(BTreeMap<String, Vec<GrantId>>);

impl ChosenGrants {
    fn add(&mut self, subject: &Subject, grant: GrantId) {
        match self.0.get_mut(subject.as_str()) {
            Some(grants) => grants.push(grant),
            None => drop(self.0.insert(subject.as_str().to_owned(), vec![grant])),
        }
    }

    /// How many grants.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// How many users they are of.
    pub(crate) fn users(&self) -> usize {
        self.0.len()
    }

    /// Batches that do not split the grants of a user.
    fn batches(self) -> impl Iterator<Item = Vec<GrantId>> {
        let mut users = self.0.into_values();
        std::iter::from_fn(move || {
            let mut batch = users.next()?;
            while batch.len() < BATCH
                && let Some(grants) = users.next()
            {
                batch.extend(grants);
            }
            Some(batch)
        })
    }
}

/// What an operator's command ended.
#[derive(Debug, Default)]
pub(crate) struct EndReport {
    /// The grants.
    pub(crate) ended: Vec<EndedGrant>,
    /// The number of sign-ins in progress that were cancelled.
    pub(crate) cancelled_sign_ins: u64,
    /// The number of sessions at users' own pages that ended.
    pub(crate) ended_sessions: u64,
    /// The outcome of revoking their offline tokens, by provider.
    pub(crate) revocations: BTreeMap<IdentityId, Revocations>,
}

impl GrantEnds {
    /// The live grants that this filter matches.
    pub(crate) async fn matching(&self, filter: &GrantFilter) -> Result<ChosenGrants, StoreError> {
        let (now, mut chosen, mut after) = (self.clock.now(), ChosenGrants::default(), None);
        loop {
            let page = self.store.list_grants(filter, after.as_ref(), now, PAGE).await?;
            let Some(last) = page.last() else { return Ok(chosen) };
            after = Some(last.id.clone());
            for grant in page {
                chosen.add(&grant.subject, grant.id);
            }
        }
    }

    /// The live grants with these ids, and the ids without one.
    pub(crate) async fn chosen<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str> + Send,
    ) -> Result<(ChosenGrants, Vec<&'a str>), StoreError> {
        let ids: Vec<&str> = ids.into_iter().collect();
        let (mut chosen, mut unknown) = (ChosenGrants::default(), Vec::new());
        for id in ids {
            match self.store.grant(&id.into()).await? {
                Some(grant) if grant.ended_at.is_none() => chosen.add(&grant.subject, grant.id),
                _ => unknown.push(id),
            }
        }
        Ok((chosen, unknown))
    }

    /// Ends grants and then revokes their offline tokens at the providers.
    pub(crate) async fn end_chosen(&self, chosen: ChosenGrants, operator: &str) -> Result<EndReport, StoreError> {
        let (mut report, mut tokens) = (EndReport::default(), Vec::new());
        let mut failure = None;
        for batch in chosen.batches() {
            match self.end_these(&batch, EndReason::Operator, Actor::Operator(operator)).await {
                Ok((ended, unneeded)) => {
                    report.ended.extend(ended);
                    tokens.extend(unneeded);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        // also after a failure: the store no longer has the tokens of what ended before it
        report.revocations = self.provider_tokens.revoke_now(&tokens).await;
        failure.map_or(Ok(report), Err)
    }

    /// Ends all grants that this filter matches, and cancels the sign-ins in progress that would become such grants. Where those
    /// are all grants of a user, the user's sessions at their own page end as well.
    pub(crate) async fn end_matching(&self, filter: &GrantFilter, operator: &str) -> Result<EndReport, StoreError> {
        // sign-ins first: one that became a grant meanwhile is found by the query
        let cancelled_sign_ins = self.cancel_sign_ins(filter, Actor::Operator(operator)).await?;
        let ended_sessions = if filter.is_of_whole_users() {
            self.end_sessions(filter.subject.as_deref(), None, Actor::Operator(operator)).await?
        } else {
            0
        };
        let report = self.end_chosen(self.matching(filter).await?, operator).await?;
        Ok(EndReport { cancelled_sign_ins, ended_sessions, ..report })
    }

    /// Disables a client: it gets no more codes and tokens. Its grants end.
    pub(crate) async fn disable_client(&self, id: &ClientId, operator: &str) -> Result<EndReport, StoreError> {
        // first: none of its sign-ins becomes a grant afterwards
        if self.store.disable_client(id, self.clock.now()).await? {
            self.audit.record(&Event::ClientDisabled { client: id }, Actor::Operator(operator));
        }
        self.end_matching(&GrantFilter::of_client(id), operator).await
    }

    /// Enables a client again; `false` when it was not disabled.
    pub(crate) async fn enable_client(&self, id: &ClientId, operator: &str) -> Result<bool, StoreError> {
        let enabled = self.store.enable_client(id).await?;
        if enabled {
            self.audit.record(&Event::ClientEnabled { client: id }, Actor::Operator(operator));
        }
        Ok(enabled)
    }

    /// Forgets the metadata document of a client. Its grants end. If it was disabled it stays so: its id is not ours to take back,
    /// and the next request for it would read the document again.
    pub(crate) async fn forget_documented(&self, id: &ClientId, operator: &str) -> Result<EndReport, StoreError> {
        // first: none of its sign-ins becomes a grant afterwards
        if self.store.forget_client_document(id).await? {
            self.audit.record(&Event::ClientDeleted { client: id }, Actor::Operator(operator));
        }
        self.end_matching(&GrantFilter::of_client(id), operator).await
    }

    /// Deletes a registered client, disabled or not. Its grants end.
    pub(crate) async fn delete_client(&self, id: &ClientId, operator: &str) -> Result<EndReport, StoreError> {
        // first: none of its sign-ins becomes a grant afterwards
        let cancelled = self.forget_client(id, Actor::Operator(operator)).await?;
        if cancelled.is_some() {
            self.store.enable_client(id).await?;
        }
        let mut report = self.end_matching(&GrantFilter::of_client(id), operator).await?;
        report.cancelled_sign_ins += cancelled.unwrap_or_default();
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, ChosenGrants};
    use crate::model::ids::Subject;

    #[test]
    fn no_users_grants_are_divided_and_no_batch_grows_without_end() {
        let mut chosen = ChosenGrants::default();
        for (user, grants) in [("a", 1), ("b", 2 * BATCH), ("c", BATCH - 1), ("d", 2), ("e", 1)] {
            for n in 0..grants {
                chosen.add(&Subject::stored(format!("k|{user}")), format!("g_{user}{n}").as_str().into());
            }
        }
        assert_eq!((chosen.count(), chosen.users()), (3 * BATCH + 3, 5));
        let batches: Vec<_> = chosen.batches().collect();
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2 * BATCH + 1, BATCH + 1, 1]);
        assert_eq!(ChosenGrants::default().batches().count(), 0);
    }
}
