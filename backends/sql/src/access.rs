use deploy_core::{
    access::{Action, Permit, Resource},
    error::{BackendError, BackendResult, ErrorKind},
};

/// Refuses a permit for something else than `action` on `resource`.
pub(crate) fn demand(
    permit: &Permit,
    action: Action,
    resource: &Resource,
    operation: &'static str,
) -> BackendResult<()> {
    if permit.covers(action, resource) {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::PermissionDenied, operation)
        .with("needs", format_args!("{} on {resource}", action.as_str()))
        .with("has", format_args!("{} on {}", permit.action().as_str(), permit.resource())))
}
