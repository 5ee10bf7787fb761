//! People: some interfere at random, some help a rollout that waits for them.
use super::{Checked, World};
use crate::scenario::parse;
use deploy_core::{
    id::HostName,
    rollout::{Input, Rollout, SkipKind},
};

impl World {
    pub(super) fn command_at_random(&mut self) -> Checked {
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        let host = self.rng.pick(&hosts).clone();
        let (by, note) = (parse("ann"), String::new());
        let command = match self.rng.below(12) {
            0 => Input::Abort { by, note, kill: self.rng.one_in(2) },
            1 | 2 => Input::Confirm { by },
            3 => Input::Kill { host, by },
            4 => Input::Pause { by, note },
            5 | 6 => Input::Resume { by },
            7 => Input::Retry { host: Some(host), by },
            8 => Input::Retry { host: None, by },
            9 => Input::Rollback { by, note },
            10 => Input::Skip { host, kind: SkipKind::Skip, by },
            _ => Input::Skip { host, kind: SkipKind::Exclude, by },
        };
        self.command(&command)
    }

    /// Half of the commands come from another process, behind the driver's back.
    fn command(&mut self, command: &Input) -> Checked {
        self.stats.commands += u64::from(self.live().admits(command).is_ok());
        if self.rng.one_in(2) {
            return self.decide(std::slice::from_ref(command));
        }
        let rollout = Rollout::replay(&self.journal).map_err(|err| err.to_string())?;
        let pending = rollout.instruct(command, self.clock());
        self.append(pending.records(), "by another: ")?;
        self.reload()?;
        self.decide(&[Input::Tick])
    }

    /// A person does what a rollout that stands still waits for.
    pub(super) fn help(&mut self) -> Checked {
        self.helped += 1;
        let (by, note) = (parse("ann"), String::new());
        let stuck = self.helped > 20;
        let command = match self.rng.below(6) {
            _ if stuck => Input::Abort { by, note, kill: true },
            0 => Input::Retry { host: None, by },
            1 if self.helped > 5 => Input::Rollback { by, note },
            2 => Input::Confirm { by },
            3 if self.helped > 8 => Input::Abort { by, note, kill: false },
            _ => Input::Resume { by },
        };
        self.command(&command)?;
        let by = parse("ann");
        self.command(&Input::Confirm { by })
    }
}
