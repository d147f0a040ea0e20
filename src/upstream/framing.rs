//! The framing of answers (RFC 9112 6.3): one reading only, for us, for the proxy in front of us and for the client.
//!
//! Defends against: response smuggling and truncated answers. hyper reads an answer with both framings as chunked,
//! leaves its `Content-Length` in place and keeps the connection: that length would then frame what we send, and what a
//! confused server sent after it would be read as the next caller's answer.

use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderValue};

/// Whether the connection that an answer came on can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Every reader sees the same end of the answer.
    Sound,
    /// The server may have meant another end.
    Never,
}

/// Leaves one framing in an answer's headers.
///
/// # Errors
/// When its body can be read in two ways; the text is for the operator.
pub(super) fn settle(headers: &mut HeaderMap) -> Result<Reuse, &'static str> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return length(headers).map(|()| Reuse::Sound);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !chunked || codings.next().is_some() {
        // we ask for none (no TE), and could not pass one on
        return Err("its Transfer-Encoding is another than \"chunked\"");
    }
    Ok(if headers.remove(CONTENT_LENGTH).is_some() { Reuse::Never } else { Reuse::Sound })
}

/// One decimal number in one field: `5, 5`, `05` and repeated fields are read in different ways (RFC 9110 8.6).
fn length(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    if let (Some(only), None) = (fields.next(), fields.next())
        && is_plain(only.as_bytes())
    {
        return Ok(());
    }
    let mut lengths =
        headers.get_all(CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let Some(first) = lengths.next().map(decimal) else { return Ok(()) };
    let length = first.filter(|_| lengths.all(|other| decimal(other) == first));
    let length = length.ok_or("it has no Content-Length that can be read in one way only")?;
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

/// A number in its usual form, without leading zeros or spaces: such a field stays as it is.
fn is_plain(text: &[u8]) -> bool {
    decimal(text).is_some() && text.trim_ascii().len() == text.len() && (text == b"0" || !text.starts_with(b"0"))
}

fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
    use ::http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{Reuse, settle};

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn with_two_framings_chunked_wins_and_the_connection_is_not_reused() {
        for coding in ["chunked", "Chunked"] {
            let mut both = headers(&[(CONTENT_LENGTH, "5"), (TRANSFER_ENCODING, coding), (CONTENT_LENGTH, "6")]);
            assert_eq!(settle(&mut both), Ok(Reuse::Never));
            assert!(!both.contains_key(CONTENT_LENGTH));
        }
        assert_eq!(settle(&mut headers(&[(TRANSFER_ENCODING, "chunked")])), Ok(Reuse::Sound));
        assert_eq!(settle(&mut HeaderMap::new()), Ok(Reuse::Sound));
    }

    #[test]
    fn a_transfer_coding_that_we_cannot_pass_on_is_refused() {
        for coding in ["gzip, chunked", "chunked, gzip", "identity", "chunked, chunked", "xchunked", ""] {
            assert!(settle(&mut headers(&[(TRANSFER_ENCODING, coding), (CONTENT_LENGTH, "5")])).is_err(), "{coding}");
        }
        let twice = [(TRANSFER_ENCODING, "chunked"), (TRANSFER_ENCODING, "chunked")];
        assert!(settle(&mut headers(&twice)).is_err());
    }

    #[test]
    fn a_length_is_one_number_or_none() {
        for (written, length) in [("5", "5"), ("005", "5"), ("5, 5", "5"), (" 5,05 ", "5"), ("0", "0")] {
            let mut fields = headers(&[(CONTENT_LENGTH, written), (CONTENT_LENGTH, written)]);
            assert_eq!(settle(&mut fields), Ok(Reuse::Sound), "{written}");
            let lengths: Vec<_> = fields.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lengths, [length], "{written}");
        }
        for bad in ["", "+5", "-5", "5 5", "5,6", "5,", "0x5", "99999999999999999999", "5.0"] {
            assert!(settle(&mut headers(&[(CONTENT_LENGTH, bad)])).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_response_keeps_at_most_one_framing(
            lengths in prop::collection::vec("[0-9 ,+]{0,4}", 0..3),
            codings in prop::collection::vec("chunked|gzip|chunked, gzip", 0..3),
        ) {
            let fields = lengths.iter().map(|length| (CONTENT_LENGTH, length.as_str()));
            let fields: Vec<_> = fields.chain(codings.iter().map(|coding| (TRANSFER_ENCODING, coding.as_str()))).collect();
            let mut headers = headers(&fields);
            if settle(&mut headers).is_ok() {
                prop_assert!(headers.get_all(CONTENT_LENGTH).iter().count() + headers.get_all(TRANSFER_ENCODING).iter().count() <= 1);
            }
        }
    }
}
