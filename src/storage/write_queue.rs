//! The order of writes. Few writes run at once (on SQLite one); the others wait in queues by class, so that a flood of what
//! unauthenticated callers may ask for (registrations, approvals) does not delay users who are signed in.
//!
//! Defends against: resource exhaustion. The queues give priority and backpressure.
//!
//! A higher class goes first, but a lower one is passed over a limited number of times. What unauthenticated callers can fill
//! is bounded (`limits.waiting_writes`): beyond that a write is refused at once, before it delays others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;

/// How often a class that waits is passed over before it runs.
const PASSES: u32 = 8;

/// The purpose of a write, from the most urgent to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// Refreshes, redemptions and ends: a client gets its tokens from them, or must lose them.
    Token,
    /// The writes after the claim of a sign-in: the provider's code is spent by then, so a refusal would cost the user the
    /// sign-in. Each claim has at most one.
    Claimed,
    /// The claim of a sign-in that a user has agreed to, and taking it back.
    SignIn,
    /// Writes that no caller waits for: deletions, resealing.
    Upkeep,
    /// The answer to a consent page, which any browser can open.
    Approval,
    /// Any unauthenticated caller can register, from as many addresses as they have.
    Registration,
}

impl Priority {
    const ALL: [Self; 6] = [Self::Token, Self::Claimed, Self::SignIn, Self::Upkeep, Self::Approval, Self::Registration];

    /// Whether the number that may wait is bounded. Work that must not be lost half-way is not refused; the time limit of a call
    /// bounds it.
    const fn is_bounded(self) -> bool {
        match self {
            Self::Token | Self::Claimed | Self::Upkeep => false,
            Self::SignIn | Self::Approval | Self::Registration => true,
        }
    }
}

/// The queues in front of the writers. Cheap to clone.
#[derive(Clone)]
pub(super) struct WriteQueue(Arc<Mutex<Queues>>);

struct Queues {
    /// How many writes may begin at once.
    free: usize,
    /// How many may wait of each class that is bounded.
    most: usize,
    classes: [Class; Priority::ALL.len()],
}

struct Class {
    priority: Priority,
    waiting: VecDeque<oneshot::Sender<WriteSlot>>,
    passed_over: u32,
}

/// The right to write now. It passes to the next write in the queue when it is dropped.
pub(super) struct WriteSlot(Option<WriteQueue>);

impl WriteQueue {
    /// Empty queues for so many writers. In each class that unauthenticated callers can fill, at most `most` may wait.
    pub(super) fn new(writers: usize, most: usize) -> Self {
        let classes = Priority::ALL.map(|priority| Class { priority, waiting: VecDeque::new(), passed_over: 0 });
        Self(Arc::new(Mutex::new(Queues { free: writers, most, classes })))
    }

    /// Waits until a write of this priority may run.
    ///
    /// # Errors
    /// [`StoreError::Busy`] at once, when too many of this class wait.
    pub(super) async fn take(&self, priority: Priority) -> Result<WriteSlot, StoreError> {
        let given = {
            let mut waiting = self.waiting();
            if waiting.free > 0 {
                waiting.free -= 1;
                return Ok(WriteSlot(Some(self.clone())));
            }
            waiting.wait(priority)?
        };
        given.await.or(Err(StoreError::Busy))
    }

    /// Gives the slot to the next one that still waits for it.
    fn pass(&self) {
        loop {
            let next = {
                let mut waiting = self.waiting();
                let next = waiting.next();
                waiting.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(WriteSlot(Some(self.clone()))) {
                Ok(()) => return,
                // its caller has gone: not dropped directly, or a chain of such callers would be a deep recursion
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn wait(&mut self, priority: Priority) -> Result<oneshot::Receiver<WriteSlot>, StoreError> {
        let class = self.classes.iter_mut().find(|class| class.priority == priority).ok_or(StoreError::Busy)?;
        let most = if priority.is_bounded() { self.most } else { usize::MAX };
        if class.waiting.len() >= most {
            class.waiting.retain(|waiting| !waiting.is_closed());
        }
        if class.waiting.len() >= most {
            return Err(StoreError::Busy);
        }
        let (give, given) = oneshot::channel();
        class.waiting.push_back(give);
        Ok(given)
    }

    fn next(&mut self) -> Option<oneshot::Sender<WriteSlot>> {
        let waits = |class: &Class| !class.waiting.is_empty();
        let due = self.classes.iter().rposition(|class| waits(class) && class.passed_over >= PASSES);
        let chosen = due.or_else(|| self.classes.iter().position(waits))?;
        for class in self.classes.iter_mut().skip(chosen + 1).filter(|class| waits(class)) {
            class.passed_over += 1;
        }
        let class = self.classes.get_mut(chosen)?;
        class.passed_over = 0;
        class.waiting.pop_front()
    }
}

impl Drop for WriteSlot {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::{Arc, Mutex};
    use std::task::Poll;

    use futures_util::future::join_all;
    use futures_util::poll;

    use super::{PASSES, Priority, WriteQueue, WriteSlot};
    use crate::storage::StoreError;

    /// How many may wait of a class that is bounded.
    const MOST: usize = 20;

    /// Lets all of these wait while the slot is taken, and returns in which order they had theirs.
    async fn order(waiting: &[Priority]) -> Vec<Priority> {
        let (queue, order) = (WriteQueue::new(1, MOST), Arc::new(Mutex::new(Vec::new())));
        let taken = queue.take(Priority::Upkeep).await.unwrap();
        let waiting = waiting.iter().map(|priority| async {
            let taken = queue.take(*priority).await.unwrap();
            order.lock().unwrap().push(*priority);
            drop(taken);
        });
        let mut all = pin!(join_all(waiting));
        assert!(poll!(&mut all).is_pending());
        drop(taken);
        all.await;
        order.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_more_urgent_write_goes_first_and_equals_go_in_order() {
        use Priority::{Approval, Claimed, Registration, SignIn, Token, Upkeep};
        assert_eq!(
            order(&[Registration, Approval, Upkeep, SignIn, Claimed, Token, Registration, Token]).await,
            [Token, Token, Claimed, SignIn, Upkeep, Approval, Registration, Registration]
        );
    }

    #[tokio::test]
    async fn tokens_and_claimed_sign_ins_go_first_past_lines_that_are_full() {
        use Priority::{Approval, Claimed, Registration, SignIn, Token, Upkeep};
        let full = [[SignIn; MOST], [Approval; MOST], [Registration; MOST]].concat();
        let urgent = [Token, Claimed, Token, Claimed];
        let order = order(&[&full[..], &urgent].concat()).await;
        assert_eq!(order[..4], [Token, Token, Claimed, Claimed], "although they came last");
        assert_eq!(order.len(), full.len() + urgent.len());

        let queue = WriteQueue::new(1, MOST);
        let taken = queue.take(Upkeep).await.unwrap();
        let mut waiting: Vec<_> = full.iter().map(|priority| Box::pin(queue.take(*priority))).collect();
        for waiting in &mut waiting {
            assert!(poll!(waiting).is_pending());
        }
        for priority in [SignIn, Approval, Registration] {
            assert!(matches!(queue.take(priority).await, Err(StoreError::Busy)), "{priority:?}");
        }
        for priority in [Token, Claimed, Upkeep] {
            let mut many: Vec<_> = (0..10 * MOST).map(|_| Box::pin(queue.take(priority))).collect();
            for one in &mut many {
                assert!(poll!(one).is_pending(), "{priority:?} is never refused");
            }
        }
        drop(taken);
    }

    #[tokio::test]
    async fn the_least_urgent_is_passed_over_a_limited_number_of_times() {
        let flood = [Priority::Token; 100];
        let order = order(&[&flood[..], &[Priority::Registration, Priority::Upkeep]].concat()).await;
        let at = |priority| order.iter().position(|other| *other == priority).unwrap();
        assert_eq!(at(Priority::Registration), PASSES as usize);
        assert_eq!(at(Priority::Upkeep), PASSES as usize + 1);
    }

    #[tokio::test]
    async fn queues_that_strangers_can_fill_are_bounded_and_abandoned_waits_make_room() {
        let queue = WriteQueue::new(1, MOST);
        let first = queue.take(Priority::Token).await.unwrap();
        let mut waiting: Vec<_> = (0..MOST).map(|_| Box::pin(queue.take(Priority::Registration))).collect();
        for waiting in &mut waiting {
            assert!(poll!(waiting).is_pending());
        }
        assert!(matches!(queue.take(Priority::Registration).await, Err(StoreError::Busy)));
        let mut token = pin!(queue.take(Priority::Token));
        assert!(poll!(&mut token).is_pending(), "others still may wait");
        waiting.pop();
        let mut next = pin!(queue.take(Priority::Registration));
        assert!(poll!(&mut next).is_pending());
        drop(first);
        drop(token.await.unwrap());
        drop(waiting);
        drop(next.await.unwrap());
        assert!(queue.take(Priority::Registration).await.is_ok(), "the line is empty again");
    }

    #[tokio::test]
    async fn a_turn_that_was_given_to_a_caller_who_left_goes_on() {
        let queue = WriteQueue::new(1, MOST);
        let taken: WriteSlot = queue.take(Priority::Token).await.unwrap();
        let mut leaves = Box::pin(queue.take(Priority::Token));
        let mut stays = Box::pin(queue.take(Priority::Token));
        assert!(poll!(&mut leaves).is_pending() && poll!(&mut stays).is_pending());
        drop(taken);
        assert!(poll!(&mut stays).is_pending(), "it is the other's turn");
        drop(leaves);
        assert!(matches!(poll!(&mut stays), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn as_many_write_at_once_as_there_are_writers() {
        let queue = WriteQueue::new(3, MOST);
        let taken = (
            queue.take(Priority::Token).await,
            queue.take(Priority::Registration).await,
            queue.take(Priority::Token).await,
        );
        let mut fourth = pin!(queue.take(Priority::Token));
        assert!(poll!(&mut fourth).is_pending());
        drop(taken.1);
        let fourth = fourth.await.unwrap();
        let mut fifth = pin!(queue.take(Priority::Token));
        assert!(poll!(&mut fifth).is_pending());
        drop((taken.0, taken.2, fourth));
        drop(fifth.await.unwrap());
        let all =
            (queue.take(Priority::Token).await, queue.take(Priority::Token).await, queue.take(Priority::Token).await);
        assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "none was lost");
    }
}
