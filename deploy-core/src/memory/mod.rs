//! In-memory reference implementations.
