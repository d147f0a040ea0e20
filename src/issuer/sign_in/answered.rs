//! Where an answer of a browser leads.

use super::authorization_response::{Answer, ClientRedirect, Recipient};
use super::authorize::Validated;
use crate::identity::Explanation;
use crate::oauth::error::ErrorCode;
use crate::secret::{AccountSession, Token};

/// Where an answer leads.
#[derive(Debug)]
pub(crate) enum Answered {
    /// To the client, with a code or an error.
    ToClient(ClientRedirect),
    /// To the user's own page, with the cookie of its session.
    ToAccount(Token<AccountSession>),
    /// To the provider once more, without asking the user.
    ToProvider(String),
    /// To the consent page: what was remembered is not the consent of the user who signed in.
    Ask(Box<Validated>),
    /// To a page with the outcome.
    Told(Told),
    /// To a page: why the provider did not sign the user in.
    NotSignedIn(Box<NotSignedIn>),
    /// To a page: this sign-in was answered before.
    Earlier(EarlierOutcome),
}

/// A sign-in that failed for a reason that the user is told.
#[derive(Debug)]
pub(crate) struct NotSignedIn {
    /// The reason.
    pub(crate) told: Explanation,
    /// Where a link tells the client, if one waits at its redirect URI.
    pub(crate) client: Option<ClientRedirect>,
}

/// What a repeated answer leads to.
#[derive(Debug)]
pub(crate) enum EarlierOutcome {
    /// The session at the user's own page that the sign-in opened is still good.
    Account(Token<AccountSession>),
    /// A page with the outcome.
    Told(Told),
    /// A page says that it was answered before, and what is left to do for the client that asked.
    Left(EarlierAnswer),
}

/// What is left to do in an authorization that was answered before.
#[derive(Clone)]
pub enum EarlierAnswer {
    /// The client waits for its code at this URI, which holds it: the browser that holds the binding may take it there, while
    /// the code is valid. Never followed automatically: the client would redeem the code twice.
    Finish(String),
    /// Nothing: the user denied access, which is final.
    Denied,
    /// Nothing: the sign-in succeeded or failed.
    Over,
}

impl std::fmt::Debug for EarlierAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Finish(_) => "Finish(…)",
            Self::Denied => "Denied",
            Self::Over => "Over",
        })
    }
}

/// The outcome of a sign-in that no client's redirect waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A device gets its tokens.
    DeviceConnected {
        /// The name of the user who signed in.
        user: Option<String>,
    },
    /// The user denied a device.
    DeviceDenied,
    /// The identity provider did not sign the user in, so a device gets nothing.
    DeviceFailed,
    /// The identity provider did not sign the user in at their own page.
    NotSignedIn {
        /// Whether another attempt in a minute may succeed.
        passing: bool,
    },
}

/// The outcome of a sign-in that the identity provider did not grant.
pub(super) fn refused(recipient: &Recipient, code: ErrorCode, words: &str) -> Answered {
    match recipient {
        Recipient::Client(client) => Answered::ToClient(client.respond(Answer::Error(code, words))),
        Recipient::Account => Answered::Told(Told::NotSignedIn { passing: code == ErrorCode::TemporarilyUnavailable }),
        Recipient::Device(_) => Answered::Told(Told::DeviceFailed),
    }
}

/// The same with a reason for the user. The client is told when they go on: a page of the client's would say less.
pub(super) fn explained(recipient: &Recipient, code: ErrorCode, words: &str, told: Explanation) -> Answered {
    let client = match recipient {
        Recipient::Client(client) => Some(client.respond(Answer::Error(code, words))),
        Recipient::Account | Recipient::Device(_) => None,
    };
    Answered::NotSignedIn(Box::new(NotSignedIn { told, client }))
}
