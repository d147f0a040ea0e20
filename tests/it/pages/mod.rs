//! The pages: what they must say, what they must never let through, and that a browser gets them with their headers.
mod content;
mod gallery;
mod safety;
