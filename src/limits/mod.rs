//! What a process has, and who may use how much of it: how often, how many at once, how many bytes.
//!
//! Defends against: floods of requests, slowloris bodies, exhaustion of descriptors and memory, brute force of
//! passwords and client secrets.
//!
//! | file | what |
//! |---|---|
//! | `rate` | how often: the handle that counts |
//! | `limit` | every rate limit by name: its number, and what it defends against |
//! | `key` | whom it counts |
//! | `sketch` | what counts, in memory of a fixed size |
//! | `machine` | what the system lets this process have |
//! | `budget` | how that is divided into pools |
//! | `pool` | one number of things, shared out among those who ask |
//! | `body` | bodies that are held in memory, within the budget |

mod body;
mod budget;
mod key;
mod limit;
mod machine;
mod pool;
mod rate;
mod sketch;

pub(crate) use body::{BODY_ARRIVAL, CollectError, Collected, Room, collect};
pub(crate) use budget::{Admission, Budget};
pub(crate) use key::{Key, Part};
pub(crate) use limit::{Limit, Limited};
pub(crate) use pool::{Holder, Pool, Share, Shortage};
pub(crate) use rate::Limits;
