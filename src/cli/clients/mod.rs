//! `portcullis clients`: lists, shows, disables, enables and deletes the applications that may use the gateway.
//!
//! | file | what |
//! |---|---|
//! | `record` | a client as an operator sees it |
//! | `list`, `show` | prints them |
//! | `switch` | disables and enables one |
//! | `delete` | deletes one |

mod delete;
mod list;
mod record;
mod show;
mod switch;

use std::io;

use clap::Subcommand;

use super::{Outcome, Terminal};

/// List, show, disable, enable and delete applications
///
/// These commands work on the database while `serve` runs, which obeys them within a second.
#[derive(Debug, Subcommand)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  portcullis clients list\n  portcullis clients disable c_…\n  portcullis clients delete c_…"
)]
pub(super) enum Clients {
    List(list::List),
    Show(show::Show),
    Disable(switch::Disable),
    Enable(switch::Enable),
    Delete(delete::Delete),
}

impl Clients {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<Outcome> {
        match self {
            Self::List(list) => list.run(terminal),
            Self::Show(show) => show.run(terminal),
            Self::Disable(disable) => disable.run(terminal),
            Self::Enable(enable) => enable.run(terminal),
            Self::Delete(delete) => delete.run(terminal),
        }
    }
}
