//! Bodies that are held in memory, within the budget.
//!
//! Defends against memory exhaustion and slowloris bodies.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::pool::{Holder, Pool, Share, Shortage};

/// How long a body may take to arrive, and how long each part of one that streams may.
pub(crate) const BODY_ARRIVAL: Duration = Duration::from_secs(15);
/// How long a body waits for room in memory before it is read.
const ROOM: Duration = Duration::from_secs(2);
/// Bodies up to this size are not counted: there are at most as many as requests and calls, which are counted. Also the
/// first allocation for a body of unknown length.
const SMALL: usize = 4 * 1024;

/// Whose memory a body takes.
#[derive(Clone)]
pub(crate) struct Room {
    pub(super) pool: Pool,
    pub(super) holder: Holder,
}

impl Room {
    fn refused(&self, shortage: Shortage) -> CollectError {
        self.pool.count_refusal(shortage);
        CollectError::NoRoom(shortage)
    }
}

/// Why a body was not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectError {
    /// It declares more than it may have.
    TooLarge,
    /// It did not arrive in 15 seconds.
    TooSlow,
    /// It ended early.
    Broken,
    /// There is no memory for it now.
    NoRoom(Shortage),
}

/// What came of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// All of it.
    Whole(Bytes),
    /// It declared no length and is larger than the limit: what was read so far. The rest is still to come.
    Beginning(Bytes),
}

/// Collects a body. A declared length is reserved before a byte is read, an undeclared one as it grows; up to [`SMALL`]
/// bytes need no reservation. A reservation is released with the last reference to the bytes, wherever they went.
///
/// # Errors
/// See [`CollectError`].
pub(crate) async fn collect<B>(body: &mut B, limit: usize, room: Room) -> Result<Collected, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > limit {
        return Err(CollectError::TooLarge);
    }
    let mut held = Reserved { bytes: Vec::new(), room, share: None };
    if declared > SMALL {
        let Room { pool, holder } = &held.room;
        let share = pool.wait(holder.clone(), declared, ROOM).await;
        held.share = Some(share.map_err(|shortage| held.room.refused(shortage))?);
    }
    held.bytes.reserve_exact(declared);
    let whole = match tokio::time::timeout(BODY_ARRIVAL, held.fill(body, limit)).await {
        Ok(filled) => filled?,
        Err(_elapsed) => return Err(CollectError::TooSlow),
    };
    let bytes = held.into_bytes();
    Ok(if whole { Collected::Whole(bytes) } else { Collected::Beginning(bytes) })
}

/// Bytes, and their part of the budget.
struct Reserved {
    bytes: Vec<u8>,
    room: Room,
    share: Option<Share>,
}

impl Reserved {
    /// Reads until the end, or over the limit; whether it was the end.
    async fn fill<B>(&mut self, body: &mut B, limit: usize) -> Result<bool, CollectError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_broken| CollectError::Broken)?.into_data() else { continue };
            let size = self.bytes.len().saturating_add(data.len());
            if size > self.bytes.capacity() {
                self.grow(size.max(self.bytes.capacity().saturating_mul(2).max(SMALL).min(limit)))?;
            }
            self.bytes.extend_from_slice(&data);
            if size > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn grow(&mut self, capacity: usize) -> Result<(), CollectError> {
        match &mut self.share {
            _ if capacity <= SMALL => {}
            Some(share) => {
                let more = capacity.saturating_sub(share.amount());
                share.grow(more).map_err(|shortage| self.room.refused(shortage))?;
            }
            None => {
                let share = self.room.pool.take(self.room.holder.clone(), capacity);
                self.share = Some(share.map_err(|shortage| self.room.refused(shortage))?);
            }
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }

    fn into_bytes(mut self) -> Bytes {
        match &mut self.share {
            None => self.bytes.into(),
            Some(share) => {
                share.shrink(self.bytes.capacity());
                Bytes::from_owner(self)
            }
        }
    }
}

impl AsRef<[u8]> for Reserved {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::StreamExt;
    use futures_util::future::join_all;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::{BODY_ARRIVAL, CollectError, Collected, Room, collect};
    use crate::limits::pool::{Holder, Pool, Shortage};

    const MIB: usize = 1024 * 1024;

    fn room(pool: &Pool, user: &str) -> Room {
        Room { pool: pool.clone(), holder: Holder::User(user.into()) }
    }

    /// A body of undeclared length, in pieces; then it breaks, or is silent for ever.
    fn pieces(
        sizes: &[usize],
        end: Option<Result<Frame<Bytes>, &'static str>>,
    ) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, &'static str>> + Unpin> {
        let frames: VecDeque<_> = sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size])))).collect();
        StreamBody::new(stream::iter(frames).chain(match end {
            Some(end) => stream::iter([end]).boxed(),
            None => stream::pending().boxed(),
        }))
    }

    fn end() -> Frame<Bytes> {
        Frame::trailers(http::HeaderMap::new())
    }

    fn mebibyte() -> Full<Bytes> {
        Full::new(Bytes::from(vec![7; MIB]))
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_after_every_way_of_ending() {
        let pool = Pool::of(10 * MIB, 4 * MIB);
        let whole = collect(&mut Full::new(Bytes::from(vec![1; MIB])), MIB, room(&pool, "a")).await.unwrap();
        assert_eq!(pool.state(), (9 * MIB, 1), "held while the bytes are");
        let Collected::Whole(bytes) = whole else { panic!("it declared its length") };
        let copy = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(pool.state(), (9 * MIB, 1), "the copy is a part of the same memory");
        drop(copy);
        assert_eq!(pool.state(), (10 * MIB, 0), "sent on");

        let declared = &mut Full::new(Bytes::from(vec![1; MIB + 1]));
        assert_eq!(collect(declared, MIB, room(&pool, "a")).await, Err(CollectError::TooLarge));
        let broken = &mut pieces(&[5000, 5000], Some(Err("broken")));
        assert_eq!(collect(broken, MIB, room(&pool, "a")).await, Err(CollectError::Broken));
        assert_eq!(collect(&mut pieces(&[5000], None), MIB, room(&pool, "a")).await, Err(CollectError::TooSlow));
        assert_eq!(pool.state(), (10 * MIB, 0), "too large, broken, too slow");

        let mut silent = pieces(&[5000], None);
        let left = tokio::time::timeout(BODY_ARRIVAL / 2, collect(&mut silent, MIB, room(&pool, "a"))).await;
        assert!(left.is_err());
        assert_eq!(pool.state(), (10 * MIB, 0), "the client went away");
    }

    #[tokio::test]
    async fn an_undeclared_length_is_reserved_as_it_grows_and_no_more_than_it_takes_is_kept() {
        let pool = Pool::of(10 * MIB, 4 * MIB);
        let mut body = pieces(&[3000, 3000, 3000], Some(Ok(end())));
        let Ok(Collected::Whole(bytes)) = collect(&mut body, MIB, room(&pool, "a")).await else {
            panic!("it is whole")
        };
        assert_eq!(bytes.len(), 9000);
        let (free, _) = pool.state();
        assert!((9000..20_000).contains(&(10 * MIB - free)), "{}", 10 * MIB - free);

        let small = Pool::of(20_000, 20_000);
        let mut large = pieces(&[5000; 10], Some(Ok(end())));
        let refused = collect(&mut large, MIB, room(&small, "a")).await;
        assert_eq!(refused, Err(CollectError::NoRoom(Shortage::Pool)));
        assert_eq!(small.refusals(), [0, 1]);
        let declared = &mut Full::new(Bytes::from(vec![1; 30_000]));
        assert_eq!(collect(declared, MIB, room(&small, "a")).await, Err(CollectError::NoRoom(Shortage::Share)));
        assert_eq!(small.refusals(), [1, 1]);
        assert_eq!(small.state(), (20_000, 0));
    }

    #[tokio::test]
    async fn nothing_of_an_undeclared_body_that_is_too_large_to_collect_is_lost() {
        let pool = Pool::of(10 * MIB, 4 * MIB);
        let mut body = pieces(&[3000, 3000, 3000], Some(Ok(end())));
        let Ok(Collected::Beginning(read)) = collect(&mut body, 7000, room(&pool, "a")).await else {
            panic!("it is larger than 7000 bytes")
        };
        assert_eq!(read.len(), 9000);
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_and_fifty_bodies_of_a_mebibyte_at_once_stay_within_the_budget() {
        let pool = Pool::of(16 * MIB, 8 * MIB);
        let collected = (0..250).map(|number| {
            let room = room(&pool, &format!("user {}", number % 50));
            async move { collect(&mut mebibyte(), MIB, room).await }
        });
        let collected = join_all(collected).await;
        let (whole, refused): (Vec<_>, Vec<_>) = collected.into_iter().partition(Result::is_ok);
        assert_eq!((whole.len(), pool.state().0), (16, 0));
        assert!(refused.iter().all(|error| matches!(error, Err(CollectError::NoRoom(_)))));
        drop(whole);
        assert_eq!(pool.state(), (16 * MIB, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_a_short_time_for_the_memory_of_another() {
        let pool = Pool::of(MIB, MIB);
        let first = collect(&mut mebibyte(), MIB, room(&pool, "a")).await.unwrap();
        let waiting = tokio::spawn({
            let room = room(&pool, "b");
            async move { collect(&mut mebibyte(), MIB, room).await.is_ok() }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
