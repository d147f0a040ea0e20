//! The error numbers of Entra ID: one line for the operator with the setting that each is about, and words for the user.
//!
//! Nothing is decided by a number: Microsoft may change them, and says so. They lead people to the mend, no more.

use std::borrow::Cow;
use std::fmt;

use crate::config::TenantId;
use crate::identity::exchange::{Explanation, Verdict};
use crate::telemetry::excerpt;

/// What Entra ID said, as far as it is worth repeating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct Aadsts {
    number: u32,
    text: String,
    trace: Option<TenantId>,
    correlation: Option<TenantId>,
}

/// What the user can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The administrators of their organisation decide it.
    AskAdministrator,
    /// An administrator has to consent first.
    NeedsConsent,
    /// Their account is not one of the tenant.
    OtherAccount,
    /// Once more, and it may work.
    Again,
    /// They said no.
    Declined,
    /// Our registration or configuration is wrong.
    TellOperator,
}

/// Number, what the user is told, and the hint for the operator.
const KNOWN: &[(u32, Told, &str)] = {
    use Told::{Again, AskAdministrator, Declined, NeedsConsent, OtherAccount, TellOperator};
    &[
        (16000, OtherAccount, "the user is signed in with an account that this tenant does not know"),
        (28000, TellOperator, "`scopes` names scopes of several APIs in one token request: keep those of one"),
        (28003, TellOperator, "the token request named no scope: this is a fault of Portcullis, please report it"),
        (50000, Again, "Entra ID could not make the token; it passes by itself"),
        (
            50011,
            TellOperator,
            "register PUBLIC_URL/callback/ID as a redirect URI of the platform Web, letter by letter",
        ),
        (
            50013,
            TellOperator,
            "the token for on-behalf-of is not for our API: check app_id_uri, and that scopes names a scope of it",
        ),
        (
            50020,
            OtherAccount,
            "the user is of another tenant: invite them as a guest, or use tenant = \"organizations\"",
        ),
        (50034, OtherAccount, "the account does not exist in this tenant"),
        (50053, AskAdministrator, "the account is locked after too many wrong passwords"),
        (50055, Again, "the user's password has expired: a new sign-in lets them change it"),
        (50057, AskAdministrator, "the account is disabled"),
        (
            50058,
            Again,
            "the browser has no session there, and none may be begun: set `prompt` to another value than none",
        ),
        (50072, Again, "the user has to register for multi-factor authentication, which a new sign-in offers"),
        (50074, Again, "multi-factor authentication is required, which a new sign-in asks for"),
        (50076, Again, "multi-factor authentication is required, which a new sign-in asks for"),
        (50078, Again, "the multi-factor authentication of the user is too old: a new sign-in asks for it"),
        (50079, Again, "the user has to register for multi-factor authentication, which a new sign-in offers"),
        (
            50105,
            AskAdministrator,
            "assign the user, or a group of theirs, to the enterprise application, or set \"Assignment required\" to No",
        ),
        (50126, Again, "wrong name or password"),
        (50131, AskAdministrator, "a conditional access policy demands another device"),
        (50132, Again, "the session was revoked: a password was changed, or an administrator ended it"),
        (50133, Again, "the session ended with a change of the password"),
        (50140, Again, "the user was asked whether to stay signed in, and did not answer"),
        (50158, Again, "conditional access demands a further step, which a new sign-in asks for"),
        (
            50173,
            Again,
            "the refresh token was revoked: the password was changed, or an administrator revoked the sessions",
        ),
        (
            50194,
            TellOperator,
            "the app registration is for one tenant only: name that tenant in `tenant`, or make it multi-tenant",
        ),
        (50196, Again, "Entra ID takes the requests for a loop: it passes by itself"),
        (53000, AskAdministrator, "a conditional access policy demands a compliant device"),
        (53001, AskAdministrator, "a conditional access policy demands a joined device"),
        (53002, AskAdministrator, "a conditional access policy demands an approved application"),
        (
            53003,
            AskAdministrator,
            "a conditional access policy blocks this sign-in: see the sign-in log in the Entra admin center",
        ),
        (53004, Again, "the user has to register for multi-factor authentication first"),
        (54005, Again, "the code was used before"),
        (
            65001,
            NeedsConsent,
            "consent to the permissions of the app registration for the tenant: \"Grant admin consent\" in API permissions",
        ),
        (65002, NeedsConsent, "the owner of the API has to pre-authorise our client id"),
        (65004, Declined, "the user declined to consent"),
        (65005, TellOperator, "add the scope of `scopes` to the API permissions of the app registration"),
        (70000, Again, "the code or refresh token is not valid, or for other scopes"),
        (70001, TellOperator, "`client_id` is not known in this tenant: check `client_id` and `tenant`"),
        (
            70002,
            TellOperator,
            "the credential is wrong: check `client_secret`, or the certificate of the app registration",
        ),
        (70008, Again, "the code or refresh token has expired"),
        (
            70011,
            TellOperator,
            "a scope is written wrongly: short names need app_id_uri, whole names have the API in front",
        ),
        (70016, Again, "the device has not been confirmed yet"),
        (70021, TellOperator, "no federated credential of the app registration has this issuer, subject and audience"),
        (70043, Again, "the sign-in frequency of conditional access has passed: the user signs in again"),
        (75011, TellOperator, "the user is signed in by another method than the one that is asked for"),
        (80014, Again, "the on-premises agent that checks passwords did not answer in time"),
        (90002, TellOperator, "there is no such tenant: check `tenant` and `authority`"),
        (90009, TellOperator, "the application asks for a token for itself: write its client id as app_id_uri"),
        (90014, TellOperator, "a parameter is missing in the request: this is a fault of Portcullis, please report it"),
        (90019, TellOperator, "name the tenant in `tenant`"),
        (90023, Again, "Entra ID could not answer; it passes by itself"),
        (90033, Again, "a part of Entra ID is down; it passes by itself"),
        (90072, OtherAccount, "the account is not in this tenant and was not invited"),
        (90094, NeedsConsent, "an administrator has to consent: \"Grant admin consent\" in API permissions"),
        (90095, NeedsConsent, "an administrator has been asked to consent, and has not answered yet"),
        (130_500, AskAdministrator, "the sign-in is blocked for this kind of phone"),
        (165_000, Again, "the browser lost the cookies of the sign-in page"),
        (240_002, Again, "the token cannot be exchanged any more"),
        (399_218, Again, "the user has to authenticate in another way"),
        (500_011, TellOperator, "the API of `scopes` is not in this tenant: check app_id_uri"),
        (500_121, Again, "multi-factor authentication was not finished"),
        (500_133, Again, "the token for on-behalf-of has expired: check the clock of this machine"),
        (501_481, TellOperator, "the PKCE verifier does not fit: this is a fault of Portcullis, please report it"),
        (501_491, TellOperator, "the PKCE challenge is malformed: this is a fault of Portcullis, please report it"),
        (530_003, AskAdministrator, "a conditional access policy demands a device that it knows"),
        (530_035, AskAdministrator, "the security defaults of the tenant block this sign-in"),
        (650_051, NeedsConsent, "the application is being added to the tenant: try again in a minute"),
        (650_052, NeedsConsent, "the tenant has no subscription for the API, or no consent to it"),
        (
            650_053,
            TellOperator,
            "the scope does not exist at that API: expose it there, and set app_id_uri so that it is not looked for in Microsoft Graph",
        ),
        (650_056, TellOperator, "the app registration lacks the permission that `scopes` asks for"),
        (650_057, TellOperator, "add the API of `scopes` to the API permissions of the app registration"),
        (700_003, AskAdministrator, "the device was removed from the directory"),
        (700_005, Again, "the code belongs to another tenant"),
        (700_016, TellOperator, "`client_id` is not known in this tenant: check `client_id` and `tenant`"),
        (700_024, TellOperator, "the assertion is not valid now: check the clock of this machine"),
        (
            700_025,
            TellOperator,
            "the registration is a public client: register the redirect URI for the platform Web, or set \"Allow public client flows\" to No",
        ),
        (
            700_027,
            TellOperator,
            "the assertion does not verify: upload the certificate of client_certificate to the app registration",
        ),
        (
            700_030,
            TellOperator,
            "the certificate has expired or its subject is not allowed: make a new one and upload it",
        ),
        (
            700_054,
            TellOperator,
            "the registration does not allow this response type: this is a fault of Portcullis, please report it",
        ),
        (700_082, Again, "the refresh token has expired: it was not used for 90 days"),
        (
            700_084,
            Again,
            "the refresh token of a single-page application has expired after 24 hours: register the redirect URI for the platform Web",
        ),
        (
            700_211,
            TellOperator,
            "no federated credential has the issuer of this token: compare it with \"Issuer\" there",
        ),
        (
            700_212,
            TellOperator,
            "no federated credential has the audience of this token: compare it with \"Audience\" there",
        ),
        (
            700_213,
            TellOperator,
            "no federated credential has the subject of this token: compare it with \"Subject identifier\" there",
        ),
        (700_222, TellOperator, "a federated credential cannot be used for this account type"),
        (901_002, TellOperator, "Entra ID does not take `resource`: remove send_resource"),
        (1_002_012, TellOperator, "the scope of a machine is written API/.default"),
        (5_000_224, TellOperator, "the resource is not available in this cloud: check `authority`"),
        (7_000_112, TellOperator, "the application is disabled in this tenant"),
        (7_000_114, TellOperator, "a token of a machine cannot be used on behalf of a user"),
        (7_000_215, TellOperator, "`client_secret` is wrong: copy the value of the secret, not its id"),
        (7_000_216, TellOperator, "the credential is missing or in a form that is not accepted"),
        (7_000_218, TellOperator, "the registration demands a credential: set client_secret or client_certificate"),
        (7_000_222, TellOperator, "the client secret has expired: make a new one under \"Certificates & secrets\""),
        (9_002_313, TellOperator, "the request is malformed: this is a fault of Portcullis, please report it"),
        (
            9_002_325,
            TellOperator,
            "the redirect URI is registered for a single-page application: register it for the platform Web",
        ),
        (
            9_002_326,
            TellOperator,
            "the redirect URI is registered for a single-page application: register it for the platform Web",
        ),
        (
            9_002_327,
            TellOperator,
            "the redirect URI is registered for a single-page application: register it for the platform Web",
        ),
        (
            9_002_346,
            TellOperator,
            "the registration is for personal accounts only: set tenant = \"9188040d-6c67-4c5b-b112-36a304b66dad\"",
        ),
        (
            9_010_010,
            TellOperator,
            "`resource` is not the API of the scopes: app_id_uri must be an Application ID URI of the registration that owns them, and its tokens of version 2",
        ),
    ]
};

impl Aadsts {
    /// Reads the description of an error; `None` when no number stands in it. `codes` are those of the error document.
    pub(in crate::identity) fn read(description: &str, codes: &[u32]) -> Option<Self> {
        let rest = description.split_once("AADSTS").map(|(_, rest)| rest);
        let digits = rest.map(|rest| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len());
        let (number, text) = match rest.zip(digits).and_then(|(rest, digits)| rest.split_at_checked(digits)) {
            Some((number, text)) => (number.parse().ok().or_else(|| codes.first().copied())?, text),
            None => (*codes.first()?, description),
        };
        let end = ["\r", "\n", "Trace ID"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default().trim_start_matches(':').trim();
        let id = |name: &str| {
            let (_, rest) = description.split_once(name)?;
            TenantId::parse(rest.trim_start().split(|c: char| !(c.is_ascii_hexdigit() || c == '-')).next()?)
        };
        let (trace, correlation) = (id("Trace ID:"), id("Correlation ID:"));
        Some(Self { number, text: excerpt(text).into_owned(), trace, correlation })
    }

    pub(in crate::identity) const fn number(&self) -> u32 {
        self.number
    }

    /// Which setting it is about.
    pub(in crate::identity) fn hint(&self) -> Option<&'static str> {
        KNOWN.iter().find(|(number, ..)| *number == self.number).map(|(_, _, hint)| *hint)
    }

    /// What the user is told. `denied`: whether the error says that access was denied.
    pub(in crate::identity) fn explanation(&self, denied: bool) -> Explanation {
        let told =
            KNOWN.iter().find(|(number, ..)| *number == self.number).map_or(Told::TellOperator, |(_, told, _)| *told);
        let (happened, hint) = told.words();
        let verdict = match told {
            Told::TellOperator if !denied => Verdict::Failed,
            Told::Again if !denied => Verdict::NotCompleted,
            _ => Verdict::Denied,
        };
        let happened = format!("{happened} Microsoft calls this AADSTS{}.", self.number);
        Explanation { verdict, happened: Cow::Owned(happened), hint: hint.into() }
    }
}

impl Told {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::AskAdministrator => (
                "The administrators of your organisation do not let your account, or this device, sign in here.",
                "Ask them for access. Trying again does not help.",
            ),
            Self::NeedsConsent => (
                "An administrator of your organisation has to allow this server first.",
                "Ask them, or tell the people who run this server.",
            ),
            Self::OtherAccount => (
                "The account that you signed in with is not known to the organisation that this server belongs to.",
                "Connect again and choose another account, or ask the people who run this server to invite you.",
            ),
            Self::Again => (
                "The sign-in at Microsoft was not finished.",
                "Connect from the application again. If that does not help, tell the people who run this server.",
            ),
            Self::Declined => (
                "You declined what Microsoft asked you for, so the application got no access.",
                "If you did not mean to, connect from the application again.",
            ),
            Self::TellOperator => (
                "This server and Microsoft Entra ID do not agree about how to sign you in.",
                "You cannot mend that. Tell the people who run this server; its log names the setting.",
            ),
        }
    }
}

/// One line: the number, the words, and the ids by which Microsoft finds the request.
impl fmt::Display for Aadsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AADSTS{}: {}", self.number, self.text)?;
        match (&self.trace, &self.correlation) {
            (Some(trace), Some(correlation)) => write!(f, " (trace id {trace}, correlation id {correlation})"),
            (Some(trace), None) => write!(f, " (trace id {trace})"),
            (None, Some(correlation)) => write!(f, " (correlation id {correlation})"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
