//! What follows from an authority: in which cloud it is, and of what kind.

use url::Url;

/// The authority of the worldwide cloud.
pub(super) const WORLDWIDE: &str = "https://login.microsoftonline.com";

/// The host of an authority.
fn host(authority: &Url) -> &str {
    authority.host_str().unwrap_or_default()
}

/// Azure AD B2C: hosts of its own, or a path that names a policy.
pub(super) fn is_b2c(authority: &Url) -> bool {
    host(authority).ends_with(".b2clogin.com") || !matches!(authority.path(), "" | "/")
}

/// The root of Microsoft Graph in the cloud of an authority. The cloud of the US Department of Defense has the authority of the
/// US government's: there it must be set.
pub(super) fn graph_of(authority: &Url) -> &'static str {
    match host(authority) {
        "login.microsoftonline.us" => "https://graph.microsoft.us",
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => "https://microsoftgraph.chinacloudapi.cn",
        _ => "https://graph.microsoft.com",
    }
}

/// The audience of federated credentials in the cloud of an authority.
pub(super) fn exchange_audience_of(authority: &Url) -> &'static str {
    match host(authority) {
        "login.microsoftonline.us" => "api://AzureADTokenExchangeUSGov",
        "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => "api://AzureADTokenExchangeChina",
        _ => "api://AzureADTokenExchange",
    }
}
