//! Chance, from the operating system: for names that must not be guessed, or not come twice.
use deploy_core::{
    id::TokenId,
    token::{ApiToken, TokenSecret},
};
use deploy_wire::{Problem, ProblemCode};

fn bytes<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|err| {
        let message = format!("the operating system gives no random numbers: {err}");
        Problem::new(ProblemCode::Internal, message)
    })?;
    Ok(bytes)
}

/// A token that nobody has seen.
pub(crate) fn token() -> Result<ApiToken, Problem> {
    let id = TokenId::from_bits(u64::from_le_bytes(bytes()?));
    Ok(ApiToken::new(id, TokenSecret::from_bytes(bytes()?)))
}

/// A name for a request.
pub(crate) fn request_id() -> String {
    // A request whose name came twice would only be harder to find in a log.
    let bits = bytes().map_or(0, u64::from_le_bytes);
    format!("{bits:016x}")
}
