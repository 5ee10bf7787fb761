use std::{io, path::PathBuf};

/// Why something of the authority cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A certificate is not what it should be.
    #[error("the certificate cannot be used: {0}")]
    Certificate(&'static str),
    /// Signing or making a key failed.
    #[error("a key or certificate could not be made")]
    Crypto(#[source] rcgen::Error),
    /// What is kept of the authority is no more what it was.
    #[error(
        "the authority in `{}` cannot be used: {why}; restore the file from a backup: with another authority no agent is \
         known any more", .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Others than its owner may read the keys.
    #[error("others may read the keys in `{}` (mode {mode:o}): run `chmod 600` on it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file cannot be read or written.
    #[error("`{}` cannot be {doing}", .path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name is none that a certificate can hold.
    #[error("`{}` is no name or address for the certificate of a server", .0.escape_debug())]
    Name(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A request for a certificate is not what it should be.
    #[error("the request for a certificate is refused: {0}")]
    Request(&'static str),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl From<rcgen::Error> for PkiError {
    fn from(err: rcgen::Error) -> Self {
        Self::Crypto(err)
    }
}

impl From<rustls::Error> for PkiError {
    fn from(err: rustls::Error) -> Self {
        Self::Tls(err)
    }
}
