//! The descriptor that people start from.

/// The text of a `descriptor.toml` that says what holds where nothing is said, with a comment on everything that can be.
#[must_use]
pub const fn default_descriptor() -> &'static str {
    include_str!("default.toml")
}
