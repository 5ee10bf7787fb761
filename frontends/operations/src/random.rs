//! Random bytes, of which identifiers and secrets are made.
use deploy_wire::{Problem, ProblemCode};

/// # Errors
/// If the operating system gives no random numbers.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|err| {
        let message = format!("the operating system gives no random numbers: {err}");
        Problem::new(ProblemCode::Internal, message)
    })?;
    Ok(bytes)
}
