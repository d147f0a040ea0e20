//! `[[identity]]` with `kind = "entra"`: Microsoft Entra ID, its national clouds, External ID, and Azure AD B2C.

mod cloud;
mod credential;
mod read;
mod settings;

pub(super) use read::{Written, check_redirect_uri, read};
pub use settings::{
    EntraCredential, EntraPrompt, EntraSettings, EntraTenant, GroupsOverage, ManagedIdentity, ManagedIdentityEndpoint,
};
