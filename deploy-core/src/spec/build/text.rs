//! Text that is checked once, and valid from then on.

/// Reads and writes each type, which has a `check` that gives the reason why a text is none. Of what is refused an error shows so many characters.
macro_rules! checked_text {
    ($Error:ident, shown up to $longest:literal; $($Name:ident, $what:literal;)+) => { $(
        impl FromStr for $Name {
            type Err = $Error;

            fn from_str(input: &str) -> Result<Self, Self::Err> {
                Self::check(input).map_err(|reason| $Error {
                    what: $what,
                    input: input.chars().take($longest).collect(),
                    reason,
                })?;
                Ok(Self(input.into()))
            }
        }

        impl TryFrom<String> for $Name {
            type Error = $Error;

            fn try_from(input: String) -> Result<Self, Self::Error> {
                input.parse()
            }
        }

        impl From<$Name> for String {
            fn from(text: $Name) -> Self {
                text.0.into()
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )+ };
}
pub(super) use checked_text;
