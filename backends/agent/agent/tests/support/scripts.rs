//! Attempts whose steps are scripts that a test writes down.
use super::{ACCOUNT, Fixture, FromStore, executor::place};
use deploy_agent::{Followed, HostSide as _, JournaledHost};
use deploy_agent_protocol::v1;
use deploy_core::backend::{ArtifactKind, ArtifactStore};
use deploy_test_support::releases::{pack, put};
use std::{sync::Arc, time::Duration};

/// What was told of an attempt.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) end: Followed,
    pub(crate) log: Vec<u8>,
    pub(crate) steps: Vec<String>,
}

impl Told {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.log).into_owned()
    }

    #[track_caller]
    pub(crate) fn ended(&self) -> &v1::Ended {
        match &self.end {
            Followed::Ended(ended) => ended,
            other => panic!("{other:?}, after {}", self.text()),
        }
    }

    #[track_caller]
    pub(crate) fn outcome(&self) -> (v1::Outcome, i32, &str) {
        let ended = self.ended();
        (ended.outcome(), ended.code, &ended.reason)
    }
}

/// Which attempt an order is about.
pub(crate) fn follow_of(order: &v1::Attempt) -> v1::Follow {
    v1::Follow {
        place: order.place.clone(),
        generation: order.generation,
        token: order.token.clone(),
        log_offset: 0,
    }
}

pub(crate) fn kill_of(order: &v1::Attempt, grace_s: u32) -> v1::Kill {
    let v1::Follow { place, generation, token, .. } = follow_of(order);
    v1::Kill { place, generation, token, grace_s }
}

pub(crate) fn probe_of(order: &v1::Attempt) -> v1::Probe {
    let v1::Follow { place, generation, token, .. } = follow_of(order);
    v1::Probe { place, generation, token }
}

/// Follows an attempt to its end.
pub(crate) async fn told(host: &JournaledHost, order: &v1::Attempt) -> Told {
    let mut following = host.follow(follow_of(order)).await.unwrap();
    let (mut log, mut steps) = (Vec::new(), Vec::new());
    while let Some(said) = following.next().await {
        match said {
            Followed::Log { offset, bytes } => {
                assert_eq!(offset, log.len() as u64);
                log.extend_from_slice(&bytes);
            }
            Followed::Step(begun) => steps.push(begun),
            end => return Told { end, log, steps },
        }
    }
    panic!("the end of the attempt was not told");
}

impl Fixture {
    /// An attempt whose steps are these scripts. One that is empty is the default of its step.
    pub(crate) async fn order(&self, generation: u64, scripts: &[(&str, &str)]) -> v1::Attempt {
        let custom = scripts.iter().filter(|it| !it.1.is_empty());
        let files: Vec<_> =
            custom.map(|(step, text)| (format!("{step}.sh"), text.as_bytes())).collect();
        let files = files.iter().map(|(path, bytes)| (path.as_str(), *bytes));
        let files: Vec<_> = files.chain([("descriptor.toml", &b"format = 1"[..])]).collect();
        let descriptor = pack(&files).unwrap();
        let stored = put(&*self.store, ArtifactKind::Descriptor, &descriptor).await.unwrap();
        let steps = scripts.iter().map(|(step, text)| v1::Step {
            name: (*step).to_owned(),
            timeout_s: 60,
            script: if text.is_empty() { String::new() } else { format!("{step}.sh") },
            check: String::new(),
            rerunnable: false,
        });
        v1::Attempt {
            place: Some(place(&self.on())),
            generation,
            token: format!("{:016x}{generation:016x}", self.number),
            rollout: "r1".to_owned(),
            release: format!("web-{generation}"),
            version: "1.0".to_owned(),
            direction: "forward".to_owned(),
            keeps_release: true,
            step_key_prefix: "key".to_owned(),
            steps: steps.collect(),
            environment: [("P_DIR".to_owned(), self.dir.path().display().to_string())].into(),
            descriptor: Some(v1::Artifact {
                digest: stored.digest.as_bytes().to_vec(),
                size: stored.size,
            }),
            healthy_deadline_s: 5,
            kill_grace_s: 1,
            ..v1::Attempt::default()
        }
    }

    pub(crate) async fn start(&self, order: &v1::Attempt) -> Result<v1::Accepted, v1::Refused> {
        let artifacts = FromStore(Arc::<_>::clone(&self.store) as Arc<dyn ArtifactStore>);
        self.host().start(order.clone(), &artifacts).await
    }

    /// Starts an attempt and follows it to its end.
    pub(crate) async fn run(&self, order: &v1::Attempt) -> Told {
        self.start(order).await.unwrap();
        told(&self.host(), order).await
    }

    /// What a step has written to `name`.
    pub(crate) fn trace(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// Waits until a step has written something to `name`.
    pub(crate) async fn wait_for(&self, name: &str) {
        eventually(&format!("{name} is written"), || !self.trace(name).is_empty()).await;
    }

    /// The processes of this fixture's attempts, and what they have started as far as it does not hide.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mark = format!("P_DIR={}", self.dir.path().display());
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
        let marked = |pid: &i32| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|it| it == mark.as_bytes())
        };
        numbers.filter(marked).collect()
    }

    /// The number of the shim of an attempt.
    pub(crate) fn shim(&self, generation: u64) -> i32 {
        let started = std::fs::read_to_string(self.attempt(generation).join("started")).unwrap();
        started.split(' ').next().unwrap().parse().unwrap()
    }

    /// Whom steps run as.
    pub(crate) fn account(&self) -> String {
        let own = || nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        self.account.as_ref().map_or_else(own, |_| ACCOUNT.to_owned())
    }
}

/// Waits until `done` holds.
#[expect(clippy::disallowed_methods, reason = "this waits on real processes")]
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("this did not come: {what}");
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}
