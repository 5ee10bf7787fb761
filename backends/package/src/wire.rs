//! Numbers and texts in the documents that are not for people.
use crate::{Fault, PackageError};

/// Writes them.
#[derive(Default)]
pub(crate) struct Put {
    bytes: Vec<u8>,
}

impl Put {
    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number.to_le_bytes().first().copied().unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.bytes.extend(number.to_le_bytes().first());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// As many bytes as a number before them says.
    pub(crate) fn block(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads them, and says of which document when they are wrong.
pub(crate) struct Take<'a> {
    rest: &'a [u8],
    what: Fault,
}

impl<'a> Take<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: Fault) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn wrong(&self, detail: &str) -> PackageError {
        PackageError::malformed(self.what, detail)
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8], PackageError> {
        let split = self.rest.split_at_checked(count);
        let (taken, rest) = split.ok_or_else(|| self.wrong("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PackageError> {
        let taken = self.raw(N)?;
        taken.try_into().map_err(|_| self.wrong("it ends early"))
    }

    /// A number, written as shortly as it can be.
    pub(crate) fn number(&mut self) -> Result<u64, PackageError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.wrong("a number in it is too large or too long"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.wrong("a number in it is too large or too long"))
    }

    /// A number of at most `most`.
    pub(crate) fn at_most(&mut self, most: usize) -> Result<usize, PackageError> {
        let number = self.number()?;
        let fitting = usize::try_from(number).ok().filter(|it| *it <= most);
        fitting.ok_or_else(|| self.wrong("a number in it is too large"))
    }

    /// How many there are of something that takes a byte each at least.
    pub(crate) fn count(&mut self) -> Result<usize, PackageError> {
        self.at_most(self.rest.len())
    }

    pub(crate) fn block(&mut self) -> Result<&'a [u8], PackageError> {
        let count = self.count()?;
        self.raw(count)
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(&self) -> Result<(), PackageError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("something follows its end")) }
    }
}
