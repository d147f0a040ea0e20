//! How a client proves who it is at the token endpoint.

use std::collections::HashMap;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::HeaderMap;
use serde_json::Value;

use super::directory::{App, Platform};
use super::error::EntraError;
use super::state::State;

/// The only type of an assertion.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion is valid for ten minutes at the most.
const LONGEST: i64 = 600;

type Form = HashMap<String, String>;

fn refused(number: u32, text: &str) -> EntraError {
    EntraError::new("invalid_client", number, text)
}

impl State {
    /// The client of a request. `platform` is that of the redirect URI, where there is one: a web application must prove itself, a
    /// public client must not.
    pub(super) fn client(
        &mut self,
        headers: &HeaderMap,
        form: &Form,
        endpoint: &str,
        platform: Platform,
    ) -> Result<App, EntraError> {
        let (id, secret) = shown(headers, form);
        let Some(app) = self.app(&id).cloned() else {
            let text = format!("Application with identifier '{id}' was not found in the directory.");
            return Err(EntraError::new("unauthorized_client", 700_016, text));
        };
        let assertion = form.get("client_assertion");
        match (secret, assertion) {
            (None, None) if platform == Platform::Web => Err(refused(
                7_000_218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )),
            (None, None) => Ok(app),
            _ if platform == Platform::Public => Err(refused(
                700_025,
                "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
            )),
            (Some(secret), _) if app.secrets.contains(&secret) => Ok(app),
            (Some(_), _) => Err(refused(7_000_215, "Invalid client secret provided.")),
            (None, Some(assertion)) => {
                if form.get("client_assertion_type").is_none_or(|kind| kind != JWT_BEARER) {
                    return Err(refused(7_000_216, "'client_assertion_type' is not supported."));
                }
                self.check_assertion(&app, assertion, endpoint).map(|()| app)
            }
        }
    }

    /// An assertion of the client's own names it as issuer and subject and is under a certificate; any other is that of a
    /// federated identity.
    fn check_assertion(&mut self, app: &App, assertion: &str, endpoint: &str) -> Result<(), EntraError> {
        let unreadable = || refused(50027, "JWT token is invalid or malformed.");
        let (message, signature) = assertion.rsplit_once('.').ok_or_else(unreadable)?;
        let (header, claims) = message.split_once('.').ok_or_else(unreadable)?;
        let (header, claims) = (read(header).ok_or_else(unreadable)?, read(claims).ok_or_else(unreadable)?);
        if claims["iss"] != app.client_id.as_str() {
            return check_federated(app, &claims, self.now());
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok().ok_or_else(unreadable)?;
        if !is_signed(app, &header, message.as_bytes(), &signature) {
            return Err(refused(
                700_027,
                "Client assertion failed signature validation: the key was not found or does not fit.",
            ));
        }
        if claims["sub"] != app.client_id.as_str() || claims["aud"] != endpoint {
            return Err(refused(700_023, "Client assertion audience claim does not match Realm issuer."));
        }
        let (now, time) = (self.now(), |name: &str| claims[name].as_i64().unwrap_or_default());
        if !(now - 300..=now + 300).contains(&time("nbf")) || time("exp") <= now || time("exp") > now + LONGEST + 300 {
            return Err(refused(700_024, "Client assertion is not within its valid time range."));
        }
        if time("exp") - time("nbf") > LONGEST {
            return Err(refused(700_024, "Client assertion is valid for too long."));
        }
        let jti = claims["jti"].as_str().filter(|jti| !jti.is_empty()).ok_or_else(unreadable)?;
        if !self.used_assertions.insert(jti.to_owned()) {
            return Err(refused(700_027, "Client assertion was used before."));
        }
        Ok(())
    }
}

/// The certificate is named by its SHA-256 (`x5t#S256`) under PS256; the former way, SHA-1 (`x5t`) under RS256, is not copied
/// here.
fn is_signed(app: &App, header: &Value, message: &[u8], signature: &[u8]) -> bool {
    let Some((n, e)) = header["x5t#S256"].as_str().and_then(|thumbprint| app.certificates.get(thumbprint)) else {
        return false;
    };
    let key = RsaPublicKeyComponents { n, e };
    match header["alg"].as_str() {
        Some("PS256") => key.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok(),
        Some("RS256") => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok(),
        _ => false,
    }
}

/// Issuer, subject and audience must each be that of one federated credential; the number says which is not.
fn check_federated(app: &App, claims: &Value, now: i64) -> Result<(), EntraError> {
    let issuer = |it: &&super::FederatedCredential| claims["iss"] == it.issuer.as_str();
    let subject = |it: &&super::FederatedCredential| claims["sub"] == it.subject.as_str();
    let audience = |it: &&super::FederatedCredential| claims["aud"] == it.audience.as_str();
    let all = &app.federated;
    if !all.iter().any(|it| issuer(&it)) {
        return Err(refused(700_211, "No matching federated identity record found for presented assertion issuer."));
    }
    if !all.iter().any(|it| issuer(&it) && subject(&it)) {
        return Err(refused(700_213, "No matching federated identity record found for presented assertion subject."));
    }
    if !all.iter().any(|it| issuer(&it) && subject(&it) && audience(&it)) {
        return Err(refused(700_212, "No matching federated identity record found for presented assertion audience."));
    }
    if claims["exp"].as_i64().is_none_or(|exp| exp <= now) {
        return Err(refused(700_024, "Client assertion is not within its valid time range."));
    }
    Ok(())
}

/// Id and secret: in the header, encoded as a form (RFC 6749 2.3.1), or in the form.
fn shown(headers: &HeaderMap, form: &Form) -> (String, Option<String>) {
    let basic = headers.get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let pair = basic.and_then(|value| String::from_utf8(BASE64.decode(value.as_bytes()).ok()?).ok());
    let decode = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((id, secret)) => (decode(id).unwrap_or_default(), decode(secret)),
        None => (form.get("client_id").cloned().unwrap_or_default(), form.get("client_secret").cloned()),
    }
}

pub(super) fn read(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
}
