//! Says that this relay is there, for good.
use crate::works::Works;
use deploy_agent_protocol::v1::AnnounceRequest;
use std::time::Duration;
use tonic::Code;

/// When it is said again where nobody has heard it.
const AGAIN: Duration = Duration::from_secs(3);
/// The same where somebody has, and does not take this relay.
const REFUSED: Duration = Duration::from_secs(30);
/// However soon or late a server wants to hear of it again.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// What came of it last: only what changes is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Heard,
    NotHeard(String),
}

impl Works {
    /// The address is what hosts are told.
    pub(crate) async fn announce(&self, address: &str, boot_id: &str) {
        let mut told = Told::Nothing;
        loop {
            let request = AnnounceRequest {
                address: address.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                boot_id: boot_id.to_owned(),
                count: Some(self.count()),
            };
            let (again, now) =
                match self.link.call(async move |mut it| it.announce(request).await).await {
                    Ok(reply) => {
                        self.allow(reply.upstream);
                        let again = Duration::from_millis(reply.again_ms.into());
                        (again.clamp(BETWEEN.0, BETWEEN.1), Told::Heard)
                    }
                    Err(status) => (patience(status.code()), Told::NotHeard(in_words(&status))),
                };
            if now != told {
                match &now {
                    Told::NotHeard(reason) => tracing::warn!(reason, "hosts are not sent here"),
                    Told::Heard | Told::Nothing => tracing::info!("the server knows this relay"),
                }
                told = now;
            }
            self.clock.sleep_until(self.clock.now().after(again)).await;
        }
    }
}

const fn patience(code: Code) -> Duration {
    match code {
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => REFUSED,
        _ => AGAIN,
    }
}

fn in_words(status: &tonic::Status) -> String {
    match status.code() {
        Code::Unimplemented => "the server is older than relays: install a newer one".to_owned(),
        _ => status.message().to_owned(),
    }
}
