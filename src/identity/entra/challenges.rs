//! What Entra ID wants to be asked with when a user signs in again.
//!
//! A renewal that conditional access refuses may carry `claims`: the next authorization request has to repeat them, or the new
//! sign-in brings a token that is refused again. The client that has to begin it knows nothing of them, so they are kept here
//! for the client, in this process and for a few minutes. Where they are lost, conditional access still asks the user for
//! what it wants at the sign-in itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::{Clock, Timestamp};
use crate::model::ids::ClientId;

/// How long a client may take to begin the sign-in.
const KEPT_FOR: Duration = Duration::from_mins(15);
/// How many clients are remembered; then the oldest is forgotten.
const MOST: usize = 1000;
/// The longest `claims`. What goes to a provider in one parameter stays far below 4000 characters.
const LONGEST: usize = 2000;

/// The claims for each client.
pub(in crate::identity) struct Challenges {
    clock: Clock,
    by_client: Mutex<HashMap<ClientId, Challenge>>,
}

struct Challenge {
    claims: String,
    until: Timestamp,
}

impl Challenges {
    pub(in crate::identity) fn new(clock: Clock) -> Self {
        Self { clock, by_client: Mutex::default() }
    }

    /// Keeps the claims for the next sign-ins through a client. What is no JSON object, or too long, is dropped: it is sent on.
    pub(in crate::identity) fn keep(&self, client: &ClientId, claims: &str) {
        if claims.len() > LONGEST || serde_json::from_str::<Map<String, Value>>(claims).is_err() {
            tracing::warn!("the claims that Entra ID wants at the next sign-in are not a short JSON object: not kept");
            return;
        }
        let now = self.clock.now();
        let mut kept = self.lock();
        kept.retain(|_, challenge| now < challenge.until);
        if kept.len() >= MOST
            && let Some(oldest) = kept.iter().min_by_key(|(_, challenge)| challenge.until).map(|(id, _)| id.clone())
        {
            kept.remove(&oldest);
        }
        kept.insert(client.clone(), Challenge { claims: claims.to_owned(), until: now + KEPT_FOR });
    }

    /// The claims to send when a user signs in through a client.
    pub(in crate::identity) fn of(&self, client: &ClientId) -> Option<String> {
        let now = self.clock.now();
        self.lock().get(client).filter(|challenge| now < challenge.until).map(|challenge| challenge.claims.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, Challenge>> {
        // no panic can leave the map half changed
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Challenges, LONGEST, MOST};
    use crate::clock::{Clock, Timestamp};

    const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

    #[test]
    fn claims_are_kept_for_their_client_and_for_a_while() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let challenges = Challenges::new(clock.clone());
        challenges.keep(&"c_1".into(), CLAIMS);
        assert_eq!(challenges.of(&"c_1".into()).as_deref(), Some(CLAIMS));
        assert_eq!(challenges.of(&"c_2".into()), None);
        clock.advance(Duration::from_mins(15));
        assert_eq!(challenges.of(&"c_1".into()), None);
    }

    #[test]
    fn what_is_no_short_object_is_not_sent_on() {
        let challenges = Challenges::new(Clock::manual(Timestamp(1_800_000_000)));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(LONGEST));
        for claims in ["", "null", "[]", "x", "\"&prompt=none\"", &long] {
            challenges.keep(&"c_1".into(), claims);
            assert_eq!(challenges.of(&"c_1".into()), None, "{claims}");
        }
    }

    #[test]
    fn no_number_of_clients_takes_more_than_their_share_of_memory() {
        let clock = Clock::manual(Timestamp(1_800_000_000));
        let challenges = Challenges::new(clock.clone());
        for client in 0..=MOST {
            challenges.keep(&format!("c_{client}").as_str().into(), CLAIMS);
            clock.advance(Duration::from_millis(800));
        }
        assert_eq!(challenges.lock().len(), MOST);
        assert!(challenges.of(&format!("c_{MOST}").as_str().into()).is_some());
    }
}
