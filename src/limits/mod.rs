//! What a process has, and who may use how much of it: how often, how many at once, how many bytes.
//!
//! Defends against: floods of requests, slowloris bodies, exhaustion of descriptors and memory, brute force of
//! passwords and codes.
//!
//! | file | what |
//! |---|---|
//! | `rate` | how often: named limiters |
//! | `machine` | what the system lets this process have |
//! | `budget` | how that is divided into pools |
//! | `pool` | one number of things, shared out among those who ask |
//! | `body` | bodies that are held in memory, within the budget |

mod body;
mod budget;
mod machine;
mod pool;
mod rate;

pub(crate) use crate::wire::ClientAddress;
pub(crate) use body::{CollectError, Collected, Room, collect};
pub(crate) use budget::{Admission, Budget};
pub(crate) use pool::{Holder, Pool, Share, Shortage};
pub(crate) use rate::Limiter;
