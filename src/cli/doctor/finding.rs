//! What the doctor finds: each kind of fault has an id, which stays, and names a setting and its mend.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::shown::escaped;
use crate::config::{Location, Places, Severity};

macro_rules! ids {
    ($($name:ident = $text:literal $severity:ident;)*) => {
        /// A kind of fault. Its text is for programs, and `docs/doctor.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Id { $($name,)* }

        impl Id {
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(super) const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

ids! {
    Database = "storage.database" Error;
    ProviderUnreachable = "provider.unreachable" Error;
    ProviderTls = "provider.tls" Error;
    ProviderDiscovery = "provider.discovery" Error;
    ProviderRedirects = "provider.discovery_redirects" Error;
    ProviderDocument = "provider.discovery_document" Error;
    ProviderIssuer = "provider.issuer" Error;
    ProviderEndpoints = "provider.endpoints" Error;
    ProviderKeysUnreachable = "provider.keys_unreachable" Error;
    ProviderKeysUnusable = "provider.keys_unusable" Error;
    ProviderSigning = "provider.signing_algorithm" Error;
    ProviderClock = "provider.clock" Error;
    ProviderCodeFlow = "provider.code_flow" Error;
    ProviderPkce = "provider.pkce" Error;
    ProviderAuthorization = "provider.authorization_refused" Error;
    ProviderAuthorizationEndpoint = "provider.authorization_endpoint" Error;
    ProviderRedirectUri = "provider.redirect_uri" Error;
    ProviderRedirectPolicy = "provider.redirect_uri_policy" Error;
    ProviderPlatform = "provider.redirect_uri_platform" Error;
    ProviderTenant = "provider.tenant" Error;
    ProviderRealmDisabled = "provider.realm_disabled" Error;
    ProviderHttps = "provider.https_required" Error;
    ProviderClientUnknown = "provider.client_unknown" Error;
    ProviderClientDisabled = "provider.client_disabled" Error;
    ProviderStandardFlow = "provider.standard_flow" Error;
    ProviderPushedRequests = "provider.pushed_requests" Error;
    ProviderRequestObject = "provider.request_object" Error;
    ProviderScope = "provider.scope" Error;
    ProviderScopeUnlisted = "provider.scope_unlisted" Warning;
    ProviderOffline = "provider.offline_access" Error;
    ProviderOfflineUnlisted = "provider.offline_access_unlisted" Warning;
    ProviderResource = "provider.resource" Error;
    ProviderTokenEndpoint = "provider.token_endpoint" Error;
    ProviderSecret = "provider.client_secret" Error;
    ProviderAuthentication = "provider.client_authentication" Error;
    ProviderAnySecret = "provider.any_secret" Error;
    ProviderCredential = "provider.credential" Error;
    ProviderCertificate = "provider.client_certificate" Error;
    ProviderCertificateEnds = "provider.client_certificate_ends" Warning;
    ProviderFederation = "provider.federated_credential" Error;
    ProviderDpop = "provider.dpop" Error;
    ProviderMadeUp = "provider.accepts_made_up" Error;
    ProviderSlow = "provider.slow" Warning;
    IssuerUnusable = "issuer.unusable" Error;
    AssertionIssuerUnusable = "assertion_issuer.unusable" Error;
    UpstreamUnreachable = "upstream.unreachable" Error;
    UpstreamPath = "upstream.path" Error;
    UpstreamRedirects = "upstream.redirects" Error;
    UpstreamRedirectsEachCall = "upstream.redirects_each_call" Warning;
    UpstreamOldTransport = "upstream.old_transport" Error;
    UpstreamCredentials = "upstream.credentials" Error;
    UpstreamHost = "upstream.host" Error;
    UpstreamWebPage = "upstream.web_page" Error;
    UpstreamFails = "upstream.fails" Error;
    UpstreamNotMcp = "upstream.not_mcp" Error;
    UpstreamSlow = "upstream.slow" Warning;
    PublicUnreachable = "public_url.unreachable" Error;
    PublicTls = "public_url.tls" Error;
    PublicRedirects = "public_url.redirects" Error;
    PublicHost = "public_url.host" Error;
    PublicAnswer = "public_url.answer" Error;
    PublicIssuer = "public_url.issuer" Error;
    PublicChallenge = "public_url.challenge" Error;
    PublicBuffers = "public_url.buffers" Error;
    PublicHeaders = "public_url.drops_headers" Error;
    PublicParameterHeaders = "public_url.drops_parameter_headers" Warning;
    PublicAddress = "public_url.client_address" Error;
    PublicProxy = "public_url.untrusted_proxy" Warning;
    PublicNotExamined = "public_url.not_examined" Warning;
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) id: Id,
    /// The section of the configuration that it is about: `upstream "expenses"`, or nothing for `public_url`.
    pub(super) section: String,
    /// The key there that is to be compared or changed.
    pub(super) key: &'static str,
    /// What is wrong.
    pub(super) what: String,
    /// The setting of another program, by the name that it has there.
    pub(super) elsewhere: Option<String>,
    /// What to do.
    pub(super) mend: String,
}

impl Finding {
    /// A fault of this section; the other parts are added.
    pub(super) fn new(id: Id, section: &str, key: &'static str, what: impl Into<String>) -> Self {
        Self { id, section: section.to_owned(), key, what: what.into(), elsewhere: None, mend: String::new() }
    }

    pub(super) fn elsewhere(mut self, name: impl Into<Option<String>>) -> Self {
        self.elsewhere = name.into();
        self
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    /// For a program.
    pub(super) fn json(&self, file: &str, places: &Places) -> Value {
        let (line, column, variable) = match places.find(&self.section, self.key) {
            Location::File => (None, None, None),
            Location::Line { line, column } => (Some(line), Some(column), None),
            Location::Variable(name) => (None, None, Some(name)),
        };
        json!({
            "id": self.id.as_str(),
            "severity": self.id.severity().as_str(),
            "message": self.what,
            "file": file,
            "line": line,
            "column": column,
            "variable": variable,
            "section": self.section,
            "key": self.key,
            "elsewhere": self.elsewhere,
            "mend": self.mend,
        })
    }

    /// For a person.
    pub(super) fn write(&self, file: &str, places: &Places, out: &mut dyn Write) -> io::Result<()> {
        match places.find(&self.section, self.key) {
            Location::File => write!(out, "{file}")?,
            Location::Line { line, column } => write!(out, "{file}:{line}:{column}")?,
            Location::Variable(name) => write!(out, "{name}")?,
        }
        let (severity, id) = (self.id.severity().as_str(), self.id.as_str());
        let colon = if self.section.is_empty() { "" } else { ": " };
        writeln!(out, ": {severity}[{id}]: {}{colon}{}: {}", self.section, self.key, escaped(&self.what))?;
        if let Some(elsewhere) = &self.elsewhere {
            writeln!(out, "    there: {}", escaped(elsewhere))?;
        }
        if !self.mend.is_empty() {
            writeln!(out, "    mend: {}", escaped(&self.mend))?;
        }
        Ok(())
    }
}
