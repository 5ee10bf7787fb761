//! What hosts need to run steps.
use deploy_core::{error::BackendResult, host::Host};
use deploy_host::{
    quote::quote,
    transport::{HostCommand, HostOutput, Transport},
};

/// What a host needs to run steps; see `docs/host-contract.md`.
pub const TOOLS: [&str; 5] = ["flock", "setsid", "tar", "gzip", "sha256sum"];

/// The tools that a host lacks.
///
/// # Errors
/// If the host cannot be asked.
pub async fn lacking(transport: &dyn Transport, host: &Host) -> BackendResult<Vec<String>> {
    let tools = TOOLS.join(" ");
    let line = format!("for t in {tools}; do command -v \"$t\" >/dev/null || echo \"$t\"; done");
    let command = HostCommand::new(format!("sh -c {}", quote(&line)));
    let mut process = transport.open(host, &command).await?;
    drop(process.stdin());
    let mut said = Vec::new();
    while let Some(output) = process.next().await? {
        if let HostOutput::Stdout(bytes) = output {
            said.extend_from_slice(&bytes);
        }
    }
    let said = String::from_utf8_lossy(&said);
    let missing = TOOLS.into_iter().filter(|tool| said.lines().any(|it| it == *tool));
    Ok(missing.map(ToOwned::to_owned).collect())
}
