//! Which write goes next. Few writes run at once (on SQLite one); the others wait in queues by class, so that a flood of what
//! strangers may ask for (registrations, approvals) does not delay users who are signed in.
//!
//! Defends against: resource exhaustion. The queues give priority and backpressure.
//!
//! A higher class goes first, but a lower one is passed over a limited number of times. What strangers can fill is bounded
//! (`limits.waiting_writes`): beyond that a write is refused at once, before it delays others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;

/// How often a class that waits is passed over before it has a turn.
const PASSES: u32 = 8;

/// What a write is for, from the most urgent to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Refreshes, redemptions and ends: a client has its tokens by them, or must lose them.
    Token,
    /// What follows the claim of a sign-in: the provider's code is spent by then, so a refusal would cost the user the
    /// sign-in. There are no more of these than claims.
    Claimed,
    /// The claim of a sign-in that a user has agreed to, and taking it back.
    SignIn,
    /// What no caller waits for: deletions, resealing.
    Upkeep,
    /// The answer to a consent page, which any browser can open.
    Approval,
    /// Any stranger can register, from as many addresses as they have.
    Registration,
}

impl Turn {
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
pub(super) struct Turns(Arc<Mutex<Line>>);

struct Line {
    /// How many writes may begin at once.
    free: usize,
    /// How many may wait of each class that is bounded.
    most: usize,
    classes: [Class; Turn::ALL.len()],
}

struct Class {
    turn: Turn,
    waiting: VecDeque<oneshot::Sender<Taken>>,
    passed_over: u32,
}

/// The turn of one write; the next one's when it is dropped.
pub(super) struct Taken(Option<Turns>);

impl Turns {
    /// Empty queues for so many writers. In each class that strangers can fill, at most `most` may wait.
    pub(super) fn new(writers: usize, most: usize) -> Self {
        let classes = Turn::ALL.map(|turn| Class { turn, waiting: VecDeque::new(), passed_over: 0 });
        Self(Arc::new(Mutex::new(Line { free: writers, most, classes })))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`StoreError::Busy`] at once, when too many of this class wait.
    pub(super) async fn take(&self, turn: Turn) -> Result<Taken, StoreError> {
        let given = {
            let mut line = self.line();
            if line.free > 0 {
                line.free -= 1;
                return Ok(Taken(Some(self.clone())));
            }
            line.wait(turn)?
        };
        given.await.or(Err(StoreError::Busy))
    }

    /// Gives the turn to the next one that still waits for it.
    fn pass(&self) {
        loop {
            let next = {
                let mut line = self.line();
                let next = line.next();
                line.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Taken(Some(self.clone()))) {
                Ok(()) => return,
                // its caller went away: not dropped as it is, or a line of such callers would be a deep recursion
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wait(&mut self, turn: Turn) -> Result<oneshot::Receiver<Taken>, StoreError> {
        let class = self.classes.iter_mut().find(|class| class.turn == turn).ok_or(StoreError::Busy)?;
        let most = if turn.is_bounded() { self.most } else { usize::MAX };
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

    fn next(&mut self) -> Option<oneshot::Sender<Taken>> {
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

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass();
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

    use super::{PASSES, Taken, Turn, Turns};
    use crate::storage::StoreError;

    /// How many may wait of a class that is bounded.
    const MOST: usize = 20;

    /// Lets all of these wait while the turn is taken, and answers in which order they had theirs.
    async fn order(waiting: &[Turn]) -> Vec<Turn> {
        let (turns, order) = (Turns::new(1, MOST), Arc::new(Mutex::new(Vec::new())));
        let taken = turns.take(Turn::Upkeep).await.unwrap();
        let waiting = waiting.iter().map(|turn| async {
            let taken = turns.take(*turn).await.unwrap();
            order.lock().unwrap().push(*turn);
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
        use Turn::{Approval, Claimed, Registration, SignIn, Token, Upkeep};
        assert_eq!(
            order(&[Registration, Approval, Upkeep, SignIn, Claimed, Token, Registration, Token]).await,
            [Token, Token, Claimed, SignIn, Upkeep, Approval, Registration, Registration]
        );
    }

    #[tokio::test]
    async fn tokens_and_claimed_sign_ins_go_first_past_lines_that_are_full() {
        use Turn::{Approval, Claimed, Registration, SignIn, Token, Upkeep};
        let full = [[SignIn; MOST], [Approval; MOST], [Registration; MOST]].concat();
        let urgent = [Token, Claimed, Token, Claimed];
        let order = order(&[&full[..], &urgent].concat()).await;
        assert_eq!(order[..4], [Token, Token, Claimed, Claimed], "although they came last");
        assert_eq!(order.len(), full.len() + urgent.len());

        let turns = Turns::new(1, MOST);
        let taken = turns.take(Upkeep).await.unwrap();
        let mut waiting: Vec<_> = full.iter().map(|turn| Box::pin(turns.take(*turn))).collect();
        for waiting in &mut waiting {
            assert!(poll!(waiting).is_pending());
        }
        for turn in [SignIn, Approval, Registration] {
            assert!(matches!(turns.take(turn).await, Err(StoreError::Busy)), "{turn:?}");
        }
        for turn in [Token, Claimed, Upkeep] {
            let mut many: Vec<_> = (0..10 * MOST).map(|_| Box::pin(turns.take(turn))).collect();
            for one in &mut many {
                assert!(poll!(one).is_pending(), "{turn:?} is never refused");
            }
        }
        drop(taken);
    }

    #[tokio::test]
    async fn the_least_urgent_is_passed_over_a_limited_number_of_times() {
        let flood = [Turn::Token; 100];
        let order = order(&[&flood[..], &[Turn::Registration, Turn::Upkeep]].concat()).await;
        let at = |turn| order.iter().position(|other| *other == turn).unwrap();
        assert_eq!(at(Turn::Registration), PASSES as usize);
        assert_eq!(at(Turn::Upkeep), PASSES as usize + 1);
    }

    #[tokio::test]
    async fn queues_that_strangers_can_fill_are_bounded_and_abandoned_waits_make_room() {
        let turns = Turns::new(1, MOST);
        let first = turns.take(Turn::Token).await.unwrap();
        let mut waiting: Vec<_> = (0..MOST).map(|_| Box::pin(turns.take(Turn::Registration))).collect();
        for waiting in &mut waiting {
            assert!(poll!(waiting).is_pending());
        }
        assert!(matches!(turns.take(Turn::Registration).await, Err(StoreError::Busy)));
        let mut token = pin!(turns.take(Turn::Token));
        assert!(poll!(&mut token).is_pending(), "others still may wait");
        waiting.pop();
        let mut next = pin!(turns.take(Turn::Registration));
        assert!(poll!(&mut next).is_pending());
        drop(first);
        drop(token.await.unwrap());
        drop(waiting);
        drop(next.await.unwrap());
        assert!(turns.take(Turn::Registration).await.is_ok(), "the line is empty again");
    }

    #[tokio::test]
    async fn a_turn_that_was_given_to_a_caller_who_left_goes_on() {
        let turns = Turns::new(1, MOST);
        let taken: Taken = turns.take(Turn::Token).await.unwrap();
        let mut leaves = Box::pin(turns.take(Turn::Token));
        let mut stays = Box::pin(turns.take(Turn::Token));
        assert!(poll!(&mut leaves).is_pending() && poll!(&mut stays).is_pending());
        drop(taken);
        assert!(poll!(&mut stays).is_pending(), "it is the other's turn");
        drop(leaves);
        assert!(matches!(poll!(&mut stays), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn as_many_write_at_once_as_there_are_writers() {
        let turns = Turns::new(3, MOST);
        let taken =
            (turns.take(Turn::Token).await, turns.take(Turn::Registration).await, turns.take(Turn::Token).await);
        let mut fourth = pin!(turns.take(Turn::Token));
        assert!(poll!(&mut fourth).is_pending());
        drop(taken.1);
        let fourth = fourth.await.unwrap();
        let mut fifth = pin!(turns.take(Turn::Token));
        assert!(poll!(&mut fifth).is_pending());
        drop((taken.0, taken.2, fourth));
        drop(fifth.await.unwrap());
        let all = (turns.take(Turn::Token).await, turns.take(Turn::Token).await, turns.take(Turn::Token).await);
        assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "none was lost");
    }
}
