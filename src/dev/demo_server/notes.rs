//! Notes per user, in memory, limited in length and number.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;

/// The maximum length of a note, in characters.
pub(super) const MAX_TEXT: usize = 1000;
/// The maximum number of notes per user.
pub(super) const MAX_PER_USER: usize = 100;
/// The maximum number of users with notes.
const MAX_USERS: usize = 100;

/// One note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(transform = super::schema::standard_formats)]
pub(super) struct Note {
    /// Its number, for deleting it.
    pub(super) id: u64,
    /// Its text.
    pub(super) text: String,
}

/// Why a note could not be stored or found. The message is the tool's error.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoteError {
    #[error("a note has 1 to {MAX_TEXT} characters, this one has {0}")]
    Length(usize),
    #[error("you have {MAX_PER_USER} notes, which is the maximum: delete one first")]
    Full,
    #[error("{MAX_USERS} users have notes, which is the maximum: restart the server to clear them")]
    TooManyUsers,
    #[error("you have no note {0}: list_notes shows yours")]
    Unknown(u64),
}

#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<HashMap<String, Notebook>>);

#[derive(Debug, Default)]
struct Notebook {
    last_id: u64,
    notes: Vec<Note>,
}

impl Notes {
    pub(super) fn add(&self, user: &str, text: &str) -> Result<Note, NoteError> {
        let length = text.chars().count();
        if length == 0 || length > MAX_TEXT {
            return Err(NoteError::Length(length));
        }
        let mut notebooks = self.lock();
        if !notebooks.contains_key(user) && notebooks.len() >= MAX_USERS {
            return Err(NoteError::TooManyUsers);
        }
        let notebook = notebooks.entry(user.to_owned()).or_default();
        if notebook.notes.len() >= MAX_PER_USER {
            return Err(NoteError::Full);
        }
        notebook.last_id += 1;
        let note = Note { id: notebook.last_id, text: text.to_owned() };
        notebook.notes.push(note.clone());
        Ok(note)
    }

    pub(super) fn list(&self, user: &str) -> Vec<Note> {
        self.lock().get(user).map(|notebook| notebook.notes.clone()).unwrap_or_default()
    }

    pub(super) fn delete(&self, user: &str, id: u64) -> Result<Note, NoteError> {
        let mut notebooks = self.lock();
        let notebook = notebooks.get_mut(user).ok_or(NoteError::Unknown(id))?;
        let at = notebook.notes.iter().position(|note| note.id == id).ok_or(NoteError::Unknown(id))?;
        Ok(notebook.notes.remove(at))
    }

    /// Ignores poisoning: a panic elsewhere leaves the notes intact.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Notebook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PER_USER, MAX_TEXT, MAX_USERS, NoteError, Notes};

    #[test]
    fn notes_are_bounded_in_length_number_and_users() {
        let notes = Notes::default();
        assert_eq!(notes.add("a", ""), Err(NoteError::Length(0)));
        assert_eq!(notes.add("a", &"é".repeat(MAX_TEXT + 1)), Err(NoteError::Length(MAX_TEXT + 1)));
        for _ in 0..MAX_PER_USER {
            notes.add("a", &"é".repeat(MAX_TEXT)).unwrap();
        }
        assert_eq!(notes.add("a", "one more"), Err(NoteError::Full));
        for user in 1..MAX_USERS {
            notes.add(&format!("user {user}"), "x").unwrap();
        }
        assert_eq!(notes.add("another", "x"), Err(NoteError::TooManyUsers));
        notes.delete("a", 1).unwrap();
        assert_eq!(notes.add("a", "again").unwrap().id, MAX_PER_USER as u64 + 1);
    }

    #[test]
    fn a_user_neither_sees_nor_deletes_the_notes_of_another() {
        let notes = Notes::default();
        let id = notes.add("alice", "hers").unwrap().id;
        assert!(notes.list("bob").is_empty());
        assert_eq!(notes.delete("bob", id), Err(NoteError::Unknown(id)));
        assert_eq!(notes.list("alice").len(), 1);
    }
}
