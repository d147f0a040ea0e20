//! The pages: their texts, their headers, and their defence against XSS and clickjacking.
mod content;
mod gallery;
mod safety;
mod sign_ins;
