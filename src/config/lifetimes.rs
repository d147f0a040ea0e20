//! `[lifetimes]`: lifetimes of codes, tokens, grants and clients.

use std::time::Duration;

use serde::Deserialize;

use super::problem::Mistake;
use super::quantity::Scalar;
use super::reading::{Reading, Section};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Lifetimes of codes, tokens, grants and clients.
#[derive(Debug, Clone)]
pub struct Lifetimes {
    /// An authorization code, from the end of the sign-in.
    pub code: Duration,
    /// A consent form, from when it is shown.
    pub consent: Duration,
    /// A sign-in at the provider, from consent to the callback.
    pub authorization: Duration,
    /// An access token.
    pub access_token: Duration,
    /// An unused refresh token.
    pub refresh_idle: Duration,
    /// A grant, regardless of its use.
    pub max_grant_age: Duration,
    /// How long a used refresh token gets the same response again.
    pub replay_window: Duration,
    /// A registered client that never got a grant.
    pub unused_client: Duration,
    /// A registered client after its last grant.
    pub used_client: Duration,
    /// The `max-age` of our key set.
    pub jwks_max_age: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            code: MINUTE,
            consent: 15 * MINUTE,
            authorization: 20 * MINUTE,
            access_token: HOUR,
            refresh_idle: 30 * DAY,
            max_grant_age: 90 * DAY,
            replay_window: Duration::from_secs(30),
            // users register a client and sign in after a weekend or a holiday
            unused_client: 30 * DAY,
            used_client: 90 * DAY,
            jwks_max_age: 5 * MINUTE,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    code: Option<Scalar>,
    consent: Option<Scalar>,
    authorization: Option<Scalar>,
    access_token: Option<Scalar>,
    refresh_idle: Option<Scalar>,
    max_grant_age: Option<Scalar>,
    replay_window: Option<Scalar>,
    unused_client: Option<Scalar>,
    used_client: Option<Scalar>,
    jwks_max_age: Option<Scalar>,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Lifetimes> {
    let written: Written = reading.shape(section)?;
    let mut lifetimes = Lifetimes::default();
    let all = [
        ("code", written.code, &mut lifetimes.code, 10 * MINUTE),
        ("consent", written.consent, &mut lifetimes.consent, HOUR),
        ("authorization", written.authorization, &mut lifetimes.authorization, DAY),
        ("access_token", written.access_token, &mut lifetimes.access_token, 30 * DAY),
        ("refresh_idle", written.refresh_idle, &mut lifetimes.refresh_idle, 3650 * DAY),
        ("max_grant_age", written.max_grant_age, &mut lifetimes.max_grant_age, 3650 * DAY),
        ("replay_window", written.replay_window, &mut lifetimes.replay_window, 5 * MINUTE),
        ("unused_client", written.unused_client, &mut lifetimes.unused_client, 3650 * DAY),
        ("used_client", written.used_client, &mut lifetimes.used_client, 3650 * DAY),
        ("jwks_max_age", written.jwks_max_age, &mut lifetimes.jwks_max_age, DAY),
    ];
    let mut whole = true;
    for (key, value, lifetime, longest) in all {
        let Some(value) = value else { continue };
        let duration = value.duration().and_then(|duration| bounded(duration, longest));
        match reading.keep(&section.at(key), duration) {
            Some(duration) => *lifetime = duration,
            None => whole = false,
        }
    }
    if whole {
        compare(&mut lifetimes, section, reading);
    }
    Some(lifetimes)
}

fn bounded(duration: Duration, longest: Duration) -> Result<Duration, Mistake> {
    if duration.is_zero() {
        return Err(Mistake::new("must be longer than 0s"));
    }
    if duration > longest {
        return Err(Mistake::new(format!("must be at most {}", words(longest))));
    }
    Ok(duration)
}

fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, length) = [("d", DAY), ("h", HOUR), ("m", MINUTE)]
        .into_iter()
        .find(|(_, length)| seconds.is_multiple_of(length.as_secs()))
        .unwrap_or(("s", Duration::from_secs(1)));
    format!("{}{unit}", seconds / length.as_secs())
}

/// Checks the lifetimes against each other. A default is shortened or extended to fit; a configured value is an error.
fn compare(lifetimes: &mut Lifetimes, section: &Section<'_>, reading: &mut Reading<'_>) {
    let Lifetimes { max_grant_age, consent, authorization, .. } = *lifetimes;
    let pairs = [
        ("access_token", &mut lifetimes.access_token),
        ("refresh_idle", &mut lifetimes.refresh_idle),
        ("replay_window", &mut lifetimes.replay_window),
    ];
    for (key, lifetime) in pairs {
        if *lifetime <= max_grant_age {
            continue;
        }
        if section.has(key) {
            let mistake = Mistake::new(format!("is longer than max_grant_age, which is {}", words(max_grant_age)));
            reading.error(&section.at(key), mistake.hint("shorten it, or lengthen max_grant_age"));
        }
        *lifetime = max_grant_age;
    }
    let sign_in = consent + authorization;
    if lifetimes.unused_client < sign_in {
        if section.has("unused_client") {
            let mistake = Mistake::new("a client would be forgotten while its first user signs in");
            let hint = format!("consent and authorization together are {}", words(sign_in));
            reading.error(&section.at("unused_client"), mistake.hint(hint));
        }
        lifetimes.unused_client = sign_in;
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, HOUR, MINUTE, words};

    #[test]
    fn a_duration_prints_as_an_operator_would_write_it() {
        for (duration, said) in
            [(DAY, "1d"), (90 * DAY, "90d"), (36 * HOUR, "36h"), (35 * MINUTE, "35m"), (MINUTE / 2, "30s")]
        {
            assert_eq!(words(duration), said);
        }
    }
}
