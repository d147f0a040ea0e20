//! Claims to rights: what becomes the groups of a user, whoever said it: an ID token, the userinfo endpoint, or the access token of
//! another issuer. All rules afterwards (who may sign in, which scopes a user may have, what a server is told) see the result
//! alone.
//!
//! Defends against: rights by a claim that is not what it should be (it gives no groups, and the log says so), names of one source
//! that pose as names of another (prefixes are exclusive), addresses that the provider did not verify, and look-alike domains.
//!
//! | file | what |
//! |---|---|
//! | `groups` | what one document says of a user's groups, source by source |
//! | `reader` | the sources of one provider, and what is told of claims that cannot be read |
//! | `domain` | the domain of a verified address |

mod domain;
mod groups;
mod reader;

pub(crate) use domain::domain_of;
pub(crate) use groups::SaidGroups;
pub(crate) use reader::{GroupReader, SaidAddress};
