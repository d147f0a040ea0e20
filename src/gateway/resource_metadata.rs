//! Protected resource metadata (RFC 9728), at every path where clients look for it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::config::{Config, ResourceNames, Spelling, Upstream};
use crate::oauth::dpop;
use crate::oauth::metadata::ResourceMetadata;
use crate::oauth::paths::RESOURCE_METADATA;

/// The documents by path. Each is written on request, because `resource` repeats the spelling that the client used.
pub(super) struct Documents(HashMap<String, Document>);

#[derive(Clone)]
struct Document {
    names: ResourceNames,
    metadata: ResourceMetadata,
}

impl Documents {
    pub(super) fn new(config: &Config) -> Self {
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
        Self(documents)
    }

    /// The document at a path.
    pub(super) fn at(&self, path: &str, spelling: &Spelling<'_>) -> Option<Bytes> {
        let Document { names, metadata } = self.0.get(path)?;
        let metadata = ResourceMetadata { resource: spelling.resource(names), ..metadata.clone() };
        // a struct of texts and lists of texts always serialises
        Some(serde_json::to_vec(&metadata).unwrap_or_default().into())
    }
}

fn document(config: &Config, upstream: &Upstream, names: &ResourceNames) -> Document {
    let metadata = ResourceMetadata {
        resource: names.resource.clone(),
        authorization_servers: upstream.settings.accepts.authorization_servers(config.public_url.as_str()),
        scopes_supported: upstream.settings.accepts.scopes_to_ask(&upstream.settings.scopes.required),
        bearer_methods_supported: ["header"],
        resource_name: upstream.settings.name.clone(),
        dpop_signing_alg_values_supported: upstream.settings.dpop.is_on().then_some(dpop::ALGORITHMS),
        dpop_bound_access_tokens_required: upstream.settings.dpop.is_required(),
    };
    Document { names: names.clone(), metadata }
}
