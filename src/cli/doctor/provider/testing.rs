//! For the tests of the diagnoses: a provider where all is well.

use http::StatusCode;

use crate::identity::{Beyond, Meaning, TokenAnswer, Visit, VisitEnd};
use crate::outbound::Diagnosis;

pub(super) mod subject {
    use crate::cli::doctor::provider::subject::Subject;
    use crate::config::{GroupSources, OidcFlavour, OidcSettings, Standing};
    use crate::oauth::scope::ScopeSet;

    pub(in super::super) fn settings(flavour: OidcFlavour) -> OidcSettings {
        OidcSettings {
            flavour,
            issuer: "https://sso.example.com".to_owned(),
            discovery: "https://sso.example.com/.well-known/openid-configuration".parse().unwrap(),
            client_id: "portcullis".to_owned(),
            client_secret: None,
            scopes: ScopeSet::empty(),
            authorize_params: Vec::new(),
            standing: Standing::Offline,
            groups: GroupSources::claim("groups"),
            trust_email: false,
            replaces_issuer: None,
            ca_file: None,
        }
    }

    pub(in super::super) fn of(settings: &OidcSettings) -> Subject<'_> {
        let redirect_uri = "https://mcp.example.com/callback/corp".to_owned();
        Subject { section: "identity \"corp\"".to_owned(), settings, redirect_uri }
    }
}

/// What a healthy provider answers.
pub(super) fn beyond() -> Beyond {
    Beyond {
        keys: Ok(()),
        visit: Ok(Visit { status: StatusCode::FOUND, end: VisitEnd::Elsewhere }),
        refused_scopes: Vec::new(),
        no_credential: None,
        code: TokenAnswer::Refused {
            error: "invalid_grant".to_owned(),
            meaning: Meaning::SessionOver,
            said: Diagnosis::new("Code not valid"),
        },
        refresh_token: None,
        accepts_any_secret: false,
    }
}
