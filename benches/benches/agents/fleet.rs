//! Agents at whose end nothing is run, but for the first, which runs what it is told. Of one service they say that it prints.
use crate::{logs::PRINTING, server::program};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent::{
    FetchArtifact, Followed, Following, GatewayConnector, HostOptions, HostSide, Identity,
    JournaledHost, Names, Policy, Session, enrol,
};
use deploy_agent_protocol::{
    LONGEST_CHUNK,
    v1::{
        Accepted, Attempt, AttemptId, Check, Checked, Collect, Collected, Confirm, Ended, Follow,
        Holding, Kill, Limits, NeverStarted, Observe, Observed, Outcome, Probe, Refused, Resolve,
        Resolved, Room, RoomLeft, Stage, Staged, answer::Kind,
    },
};
use deploy_benches::Failure;
use deploy_core::{backend::Clock, memory::SystemClock};
use futures_util::{StreamExt as _, future::join_all, stream};
use std::{
    fs::{self, DirBuilder},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;

/// How many machines enrol at the same time.
const AT_ONCE: usize = 64;
/// What a log is made of that nobody has printed.
static PRINTED: [u8; LONGEST_CHUNK] = [b'.'; LONGEST_CHUNK];

/// Enrols so many agents at `server` by the join token that is on standard input, each with a folder of its own below `folder`,
/// and stays. The first of them runs attempts below `hosts`; the others have printed `prints` bytes in each attempt of the service that prints.
pub(crate) async fn connect(
    server: &str,
    count: usize,
    folder: &Path,
    hosts: &Path,
    prints: u64,
) -> Result<(), Failure> {
    let mut token = String::new();
    io::stdin().read_to_string(&mut token)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let enrolled = stream::iter((0..count).map(|number| {
        let (token, clock) = (token.as_str(), Arc::clone(&clock));
        async move { enrolled(number, server, token, folder, clock).await }
    }));
    let agents: Vec<_> = enrolled.buffer_unordered(AT_ONCE).collect().await;
    let mut sessions = Vec::with_capacity(count);
    for agent in agents {
        let (number, identity, state) = agent?;
        let host: Arc<dyn HostSide> = match number {
            0 => Arc::new(real(&state, folder, hosts).await?),
            _ => Arc::new(Nothing { prints }),
        };
        let connect = Arc::new(GatewayConnector::new(&state, Arc::clone(&clock)));
        let session = Session::new(host, connect, identity);
        sessions.push(tokio::spawn(async move { session.run().await }));
    }
    join_all(sessions).await;
    Ok(())
}

async fn enrolled(
    number: usize,
    server: &str,
    token: &str,
    folder: &Path,
    clock: Arc<dyn Clock>,
) -> Result<(usize, Identity, PathBuf), Failure> {
    let state = folder.join(number.to_string());
    DirBuilder::new().recursive(true).mode(0o711).create(&state)?;
    let mut names = Names::default();
    names.host = Some(format!("host-{number}"));
    names.instance = Some(format!("bench/here/{number}"));
    let credentials = enrol(&state, server, token, names, clock).await?;
    Ok((number, Identity::new(credentials.host(), "boot", credentials.signers()), state))
}

/// A host as it is, whose attempts are processes of this machine.
async fn real(state: &Path, folder: &Path, hosts: &Path) -> Result<JournaledHost, Failure> {
    let policy = folder.join("host.toml");
    fs::write(&policy, policy_of(hosts))?;
    let options = HostOptions::new("host-0", state, Policy::read(&policy)?);
    Ok(JournaledHost::open(options.with_program(program("DEPLOY_AGENT", "deploy-agent"))).await?)
}

/// What a host lets be done below `hosts`.
pub(crate) fn policy_of(hosts: &Path) -> String {
    let me = rustix::process::geteuid().as_raw();
    let accounts = if me == 0 { "accounts = [\"root\"]\n" } else { "" };
    format!("folders = [\"{}\"]\n{accounts}", hosts.display())
}

/// A host on which everything has been done as soon as it is ordered.
#[derive(Debug)]
struct Nothing {
    /// How long the log is of an attempt of the service that prints.
    prints: u64,
}

#[async_trait]
impl HostSide for Nothing {
    async fn start(
        &self,
        _attempt: Attempt,
        _artifacts: &dyn FetchArtifact,
    ) -> Result<Accepted, Refused> {
        Ok(Accepted {})
    }

    async fn follow(&self, follow: Follow) -> Result<Following, Refused> {
        let (to, from) = mpsc::channel(1);
        let prints = follow.place.as_ref().is_some_and(|it| it.service == PRINTING);
        let length = if prints { self.prints } else { 0 };
        let ended = Ended {
            token: follow.token,
            generation: follow.generation,
            outcome: Outcome::Succeeded.into(),
            log_length: length,
            ..Ended::default()
        };
        tokio::spawn(tell(to, follow.log_offset, length, ended));
        Ok(Following::new(from))
    }

    async fn probe(&self, _probe: Probe) -> Kind {
        Kind::NeverStarted(NeverStarted::default())
    }

    async fn kill(&self, _kill: Kill) -> Kind {
        Kind::NeverStarted(NeverStarted::default())
    }

    async fn confirm(&self, _confirm: Confirm) -> Kind {
        Kind::NeverStarted(NeverStarted::default())
    }

    async fn stage(&self, _stage: Stage, _artifacts: &dyn FetchArtifact) -> Kind {
        Kind::Staged(Staged::default())
    }

    async fn room(&self, _room: Room, _artifacts: &dyn FetchArtifact) -> Kind {
        Kind::RoomLeft(RoomLeft::default())
    }

    async fn collect(&self, _collect: Collect) -> Kind {
        Kind::Collected(Collected::default())
    }

    async fn check(&self, _check: Check) -> Kind {
        Kind::Checked(Checked::default())
    }

    async fn resolve(&self, _resolve: Resolve) -> Kind {
        Kind::Resolved(Resolved::default())
    }

    async fn observe(&self, _observe: Observe) -> Kind {
        Kind::Observed(Observed::default())
    }

    fn open(&self) -> Vec<AttemptId> {
        Vec::new()
    }

    async fn holdings(&self) -> Vec<Holding> {
        Vec::new()
    }

    fn running(&self) -> u32 {
        0
    }

    async fn confirm_end(&self, _attempt: &AttemptId) {}

    async fn log_durable(&self, _attempt: &AttemptId, _offset: u64) {}

    async fn limit(&self, _: Limits) {}

    async fn shutdown(&self) {}
}

/// Tells a log from `offset` on, and how it ended, as long as somebody listens.
async fn tell(to: mpsc::Sender<Followed>, mut offset: u64, length: u64, ended: Ended) {
    while offset < length {
        let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
        let piece = PRINTED.get(..left).unwrap_or(&PRINTED);
        let log = Followed::Log { offset, bytes: Bytes::from_static(piece) };
        if to.send(log).await.is_err() {
            return;
        }
        offset += piece.len() as u64;
    }
    // Nobody listens any more.
    let _over = to.send(Followed::Ended(ended)).await;
}
