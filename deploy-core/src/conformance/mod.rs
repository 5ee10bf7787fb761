//! Proves a backend.
