//! How many calls a user has open. One connection of HTTP/2 carries many, a stream may stay open for as long as its
//! grant, and each call may need a connection to its upstream: one user must not take what is there for all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::authenticate::VerifiedToken;

/// The most at once of one user, whatever the grant: as many as one address may have connections.
const PER_USER: usize = 1024;

/// The open calls of every user, by subject. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct OpenCalls(Arc<Mutex<HashMap<String, usize>>>);

/// An open call, until it is dropped.
pub(super) struct OpenCall {
    all: OpenCalls,
    token: Arc<VerifiedToken>,
}

impl OpenCalls {
    /// Opens a call of this token's user; `None` when the user has too many.
    pub(super) fn open(&self, token: &Arc<VerifiedToken>) -> Option<OpenCall> {
        let mut counts = self.counts();
        match counts.get_mut(&token.subject) {
            Some(count) if *count >= PER_USER => return None,
            Some(count) => *count += 1,
            None => drop(counts.insert(token.subject.clone(), 1)),
        }
        drop(counts);
        Some(OpenCall { all: self.clone(), token: Arc::clone(token) })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        if let Some(count) = counts.get_mut(&self.token.subject) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.token.subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{OpenCalls, PER_USER};
    use crate::gateway::authenticate::VerifiedToken;

    #[test]
    fn a_user_has_so_many_calls_and_nothing_is_remembered_of_those_that_ended() {
        let calls = OpenCalls::default();
        let token = Arc::new(VerifiedToken::of_grant("g_1"));
        let mut open: Vec<_> = (0..PER_USER).map(|_| calls.open(&token).unwrap()).collect();
        let other_grant = Arc::new(VerifiedToken::of_grant("g_2"));
        assert!(calls.open(&other_grant).is_none(), "of the same user");
        open.pop();
        assert!(calls.open(&other_grant).is_some());
        open.clear();
        assert!(calls.counts().is_empty());
    }
}
