//! What a protected resource announces (RFC 9728), for every path under which clients look for it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::config::{Config, ResourceNames, Upstream};
use crate::oauth::metadata::ResourceMetadata;
use crate::oauth::paths::RESOURCE_METADATA;

/// The documents, made once.
pub(super) fn documents(config: &Config) -> HashMap<String, Bytes> {
    let mut documents = HashMap::new();
    for upstream in &config.upstreams {
        for names in [&upstream.plain, &upstream.slashed] {
            documents.insert(names.metadata_path.clone(), document(config, upstream, names));
        }
        let plain = document(config, upstream, &upstream.plain);
        if config.upstreams.len() == 1 {
            documents.insert(RESOURCE_METADATA.to_owned(), plain.clone());
        }
        documents.insert(format!("{}{RESOURCE_METADATA}", upstream.settings.path), plain);
    }
    documents
}

fn document(config: &Config, upstream: &Upstream, names: &ResourceNames) -> Bytes {
    let metadata = ResourceMetadata {
        resource: names.resource.clone(),
        authorization_servers: [config.public_url.as_str().to_owned()],
        scopes_supported: upstream.settings.scopes.clone(),
        bearer_methods_supported: ["header"],
        resource_name: upstream.settings.name.clone(),
    };
    // a struct of texts and lists of texts always serialises
    serde_json::to_vec(&metadata).unwrap_or_default().into()
}
