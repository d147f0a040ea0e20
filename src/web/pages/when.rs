//! Times for people: how long ago, and the date.

use std::time::Duration;

use crate::clock::Timestamp;

/// How long ago something was, in the largest unit that fits.
pub(super) fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => return "less than a minute ago".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// A time on a page that was made at `now`: how long ago it was.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    ago(now.since(at).as_secs())
}

/// How long something lasts, in the largest unit that tells it exactly.
pub(super) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length)).unwrap_or((1, "second"));
    let count = seconds / length;
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ago, lasting};

    #[test]
    fn a_duration_is_told_exactly() {
        for (seconds, told) in [(30 * 86_400, "30 days"), (86_400, "1 day"), (129_600, "36 hours"), (90, "90 seconds")]
        {
            assert_eq!(lasting(Duration::from_secs(seconds)), told);
        }
    }

    #[test]
    fn a_time_is_told_in_the_largest_unit_that_fits() {
        for (seconds, told) in [
            (0, "less than a minute ago"),
            (59, "less than a minute ago"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (20 * 86_400, "20 days ago"),
        ] {
            assert_eq!(ago(seconds), told);
        }
    }
}
