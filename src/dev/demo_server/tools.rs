//! The tools of the built-in MCP server.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{Implementation, ProgressNotificationParam, RequestMetaObject, ServerCapabilities, ServerConfig};
use rmcp::{Json, Peer, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::caller::{Caller, UNIDENTIFIED};
use super::notes::{Note, Notes};
use super::schema::standard_formats;

const MAX_STEPS: u32 = 100;
const MAX_MILLISECONDS: u64 = 10_000;

/// The tools of one session; all sessions share the notes.
#[derive(Debug, Clone)]
pub(super) struct DemoTools {
    notes: Arc<Notes>,
}

/// The arguments of `count_slowly`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = standard_formats)]
struct Count {
    /// How far to count.
    #[serde(default = "default_steps")]
    #[schemars(range(min = 1, max = 100))]
    steps: u32,
    /// How long to wait before each step.
    #[serde(default = "default_milliseconds")]
    #[schemars(range(min = 0, max = 10_000))]
    milliseconds: u64,
}

const fn default_steps() -> u32 {
    5
}

const fn default_milliseconds() -> u64 {
    1000
}

/// The arguments of `add_note`.
#[derive(Debug, Deserialize, JsonSchema)]
struct NewNote {
    /// What the note says.
    #[schemars(length(min = 1, max = 1000))]
    text: String,
}

/// The arguments of `delete_note`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = standard_formats)]
struct NoteId {
    /// The note's number, from `list_notes`.
    id: u64,
}

/// The result of `list_notes`.
#[derive(Debug, Serialize, JsonSchema)]
struct NoteList {
    /// Your notes, oldest first.
    notes: Vec<Note>,
}

#[tool_router]
impl DemoTools {
    pub(super) const fn new(notes: Arc<Notes>) -> Self {
        Self { notes }
    }

    #[tool(
        description = "Shows who Portcullis says is calling: the signed-in user, with email address and groups, the \
                       application that calls, and what the user allowed it. Takes no arguments.",
        annotations(title = "Who am I?", read_only_hint = true, open_world_hint = false)
    )]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Json<Caller> {
        Json(Caller::of(&request.headers))
    }

    #[tool(
        description = "Counts from 1 to `steps`, waiting `milliseconds` before each step, and reports progress. \
                       Shows that answers stream through the gateway. Can be cancelled.",
        annotations(title = "Count slowly", read_only_hint = true, open_world_hint = false)
    )]
    async fn count_slowly(
        &self,
        Parameters(Count { steps, milliseconds }): Parameters<Count>,
        meta: RequestMetaObject,
        peer: Peer<RoleServer>,
        cancelled: CancellationToken,
    ) -> Result<String, String> {
        if steps == 0 || steps > MAX_STEPS {
            return Err(format!("steps is {steps}, but must be 1 to {MAX_STEPS}"));
        }
        if milliseconds > MAX_MILLISECONDS {
            return Err(format!("milliseconds is {milliseconds}, but must be at most {MAX_MILLISECONDS}"));
        }
        let token = meta.get_progress_token();
        for step in 1..=steps {
            tokio::select! {
                () = cancelled.cancelled() => return Err(format!("cancelled before step {step} of {steps}")),
                () = tokio::time::sleep(Duration::from_millis(milliseconds)) => {}
            }
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(steps))
                    .with_message(format!("step {step} of {steps}"));
                // fails only when the client is gone, which cancels the call
                let _ = peer.notify_progress(progress).await;
            }
        }
        Ok(format!("counted to {steps}"))
    }

    #[tool(
        description = "Stores a note that only the signed-in user can see, until the server restarts. Returns the \
                       note with its number.",
        annotations(title = "Add a note", destructive_hint = false, idempotent_hint = false, open_world_hint = false)
    )]
    async fn add_note(
        &self,
        Extension(request): Extension<Parts>,
        Parameters(NewNote { text }): Parameters<NewNote>,
    ) -> Result<Json<Note>, String> {
        self.notes.add(&user_of(&request)?, &text).map(Json).map_err(|error| error.to_string())
    }

    #[tool(
        description = "Lists the notes of the signed-in user, oldest first. Takes no arguments.",
        annotations(title = "List my notes", read_only_hint = true, open_world_hint = false)
    )]
    async fn list_notes(&self, Extension(request): Extension<Parts>) -> Result<Json<NoteList>, String> {
        Ok(Json(NoteList { notes: self.notes.list(&user_of(&request)?) }))
    }

    #[tool(
        description = "Deletes a note of the signed-in user by its number, and returns the deleted note.",
        annotations(
            title = "Delete a note",
            destructive_hint = true,
            idempotent_hint = false,
            open_world_hint = false
        )
    )]
    async fn delete_note(
        &self,
        Extension(request): Extension<Parts>,
        Parameters(NoteId { id }): Parameters<NoteId>,
    ) -> Result<Json<Note>, String> {
        self.notes.delete(&user_of(&request)?, id).map(Json).map_err(|error| error.to_string())
    }
}

#[tool_handler]
impl ServerHandler for DemoTools {
    fn get_info(&self) -> ServerConfig {
        let mut server = Implementation::new("portcullis-demo", crate::VERSION);
        server.title = Some("Portcullis demo".to_owned());
        server.description = Some("A small MCP server to try Portcullis with".to_owned());
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build()).with_server_info(server).with_instructions(
            "A demonstration server behind Portcullis. Call whoami to see who is signed in, count_slowly to watch \
             progress arrive, and add_note, list_notes and delete_note to keep notes that only the signed-in user sees.",
        )
    }
}

/// The user whose notes a call may use.
fn user_of(request: &Parts) -> Result<String, String> {
    Caller::of(&request.headers)
        .user
        .ok_or_else(|| format!("{UNIDENTIFIED}, so there is no user whose notes these could be"))
}
