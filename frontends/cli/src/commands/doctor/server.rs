//! Whether a server can be worked with.
use super::{ok, wrong};
use crate::{app::App, contexts::ServerChoice, plane::RemotePlane};
use deploy_core::{backend::Clock as _, memory::SystemClock, time::Timestamp};
use deploy_wire::{DoctorCheck, Problem, Token};
use std::time::Duration;

/// A token that expires sooner than this should be replaced.
const SOON: Duration = Duration::from_hours(7 * 24);

/// A clock that is further off than this is wrong.
const OFF: Duration = Duration::from_secs(30);

/// Asks the server what it is, and what the token is worth there.
pub(super) async fn checks(app: &App, choice: &ServerChoice) -> Vec<DoctorCheck> {
    let plane = match app.connect(choice) {
        Ok(plane) => plane,
        Err(problem) => return vec![failed("server", problem)],
    };
    let token = match plane.current_token().await {
        Ok(token) => token,
        Err(problem) => return vec![failed("server", problem)],
    };
    let mut checks = vec![ok("server", plane.url())];
    checks.push(worth(&token));
    checks.extend(itself(&plane).await);
    checks
}

fn failed(name: &str, problem: Problem) -> DoctorCheck {
    let (name, result) = (name.to_owned(), "failed".to_owned());
    DoctorCheck { name, result, detail: problem.message, hint: problem.hint }
}

/// What the token is worth.
fn worth(token: &Token) -> DoctorCheck {
    let actions = match token.actions.is_empty() {
        true => "reads".to_owned(),
        false => token.actions.join(", "),
    };
    let detail = format!(
        "{} speaks for {} until {}: {actions}",
        token.id, token.principal, token.expires_at
    );
    let left = token.expires_at.parse::<Timestamp>().map(|it| it.since(SystemClock::new().now()));
    match left {
        Ok(left) if left < SOON => {
            wrong("token", "warning", detail, "`deploy token create` makes a new one")
        }
        _ => ok("token", detail),
    }
}

/// What the server says of itself.
async fn itself(plane: &RemotePlane) -> Vec<DoctorCheck> {
    let server = match plane.server().await {
        Ok(server) => server,
        Err(problem) => return vec![failed("version", problem)],
    };
    let mine = env!("CARGO_PKG_VERSION");
    let versions = format!("{} there, {mine} here", server.version);
    let version = match server.version == mine {
        true => ok("version", versions),
        false => wrong(
            "version",
            "warning",
            versions,
            "what is new in the newer of the two may be missing in the other",
        ),
    };
    let here = SystemClock::new().now();
    let clock = match server.now.parse::<Timestamp>() {
        Ok(there) if there.since(here).max(here.since(there)) > OFF => {
            let detail = format!("it is {there} there, and {here} here");
            wrong(
                "clock",
                "warning",
                detail,
                "one of the two clocks is wrong: times are those of the server",
            )
        }
        _ => ok("clock", "the same time there and here"),
    };
    vec![version, clock, ok("rollouts", format!("{} are driven there", server.driven))]
}
