//! Chance, from the operating system: for names that must not come twice.

/// A name for a request.
pub(crate) fn request_id() -> String {
    let mut bits = [0; 8];
    // A request whose name came twice would only be harder to find in a log.
    let bits = getrandom::fill(&mut bits).map_or(0, |()| u64::from_le_bytes(bits));
    format!("{bits:016x}")
}
