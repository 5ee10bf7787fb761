//! Values as they lie in a row: JSON, the version of its format, and a checksum.
use crate::{
    arg::Arg,
    row::{Damage, Row},
};
use deploy_core::{
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
};
use serde::{Serialize, de::DeserializeOwned};

/// The newest format of everything but records that this program reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// A value that is ready to be stored: the columns `format, checksum, body`.
#[derive(Debug)]
pub(crate) struct Body {
    format: u32,
    checksum: i64,
    json: String,
}

impl Body {
    pub(crate) fn encode<T: Serialize>(
        operation: &'static str,
        format: u32,
        value: &T,
    ) -> BackendResult<Self> {
        let json = serde_json::to_string(value)
            .map_err(|err| BackendError::new(ErrorKind::Internal, operation).because(err))?;
        Ok(Self { format, checksum: checksum(&json), json })
    }

    pub(crate) fn args(&self) -> [Arg<'_>; 3] {
        [i64::from(self.format).into(), self.checksum.into(), self.json.as_str().into()]
    }
}

/// Reads the columns `format, checksum, body`, of which `format` is the one at `at`.
pub(crate) fn decode<T: DeserializeOwned>(row: &Row, at: usize, known: u32) -> Result<T, Damage> {
    let format = row.int(at)?;
    if format > i64::from(known) {
        return Err(Damage::NewerFormat { found: format, known });
    }
    let json = row.text(at + 2)?;
    if row.int(at + 1)? != checksum(&json) {
        return Err(Damage::Checksum);
    }
    Ok(serde_json::from_str(&json)?)
}

/// Finds flipped bits, which neither database does by default. It is no defence against somebody who may write.
fn checksum(json: &str) -> i64 {
    let digest = Digest::of(json.as_bytes());
    digest.as_bytes().first_chunk().map_or(0, |head| i64::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_same_for_ever() {
        // SHA-256 of `{}` begins with 44136fa3 55b3678a.
        assert_eq!(checksum("{}"), 0x4413_6fa3_55b3_678a);
        assert_ne!(checksum("{} "), checksum("{}"));
    }
}
