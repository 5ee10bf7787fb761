//! The driving process is killed, and another goes on: nothing runs twice, and no line is lost.
mod calls;
mod evidence;
mod moments;
mod served;

use crate::fleet::{Fleet, Said};
use evidence::{Journaled, assert_sound};
use std::fs;

const STRATEGY: &str = r#"waves = ["2", "*3"]
retries = 20
retry_backoff = "50ms"
retry_max_backoff = "500ms"
"#;

const DESCRIPTOR: &str = r#"format = 1

[steps.install]
script = "install.sh"

[steps.start]
script = "start.sh"
"#;

/// Each step counts itself in a file that survives every release. On hosts where `fails-first` lies, the first try at a release
/// fails.
const INSTALL: &str = r#"steps=$DEPLOY_PATH/../../steps
echo "$DEPLOY_RELEASE $DEPLOY_GENERATION install" >>"$steps"
for line in 1 2 3 4 5; do echo "line $line"; sleep 0.02; done
if [ -e "$DEPLOY_PATH/../../fails-first" ] && [ "$(grep -c "^$DEPLOY_RELEASE .* install$" "$steps")" -eq 1 ]; then
	echo "not yet"
	exit 9
fi
. "$DEPLOY_LIB"
du_install
"#;
const START: &str = r#"echo "$DEPLOY_RELEASE $DEPLOY_GENERATION start" >>"$DEPLOY_PATH/../../steps"
echo started
"#;

/// Hosts that a service goes onto again and again.
struct Site {
    fleet: Fleet,
    releases: usize,
}

impl Site {
    /// `count` hosts; on every third, the first try at each release fails.
    fn new(count: usize) -> Self {
        let fleet = Fleet::new(count);
        fleet.service("web", STRATEGY);
        let files = [("descriptor.toml", DESCRIPTOR), ("install.sh", INSTALL), ("start.sh", START)];
        fleet.descriptor(&files);
        for host in (0..count).step_by(3) {
            fs::write(fleet.root(host).join("fails-first"), "").unwrap();
        }
        Self { fleet, releases: 0 }
    }

    /// A new release, to be rolled out.
    fn release(&mut self) -> Round<'_> {
        self.releases += 1;
        let version = self.releases.to_string();
        let (package, descriptor) = (self.fleet.package(&version), self.fleet.path("descriptor"));
        let create = ["release", "create", "web", &version, "--package", &package];
        let with = ["--descriptor", descriptor.to_str().unwrap()];
        self.fleet.deploy(&[&create[..], &with].concat()).ended(0);
        let before = Journaled::newest(&self.fleet).map(|it| it.id);
        Round { fleet: &self.fleet, release: format!("web-{version}"), before }
    }
}

/// A release that is rolled out.
struct Round<'a> {
    fleet: &'a Fleet,
    release: String,
    /// The rollout before this one.
    before: Option<String>,
}

impl Round<'_> {
    /// What the process is told that drives the rollout at first.
    fn start(&self) -> [&str; 5] {
        ["rollout", "start", "web", &self.release, "--yes"]
    }

    /// The rollout, if it was begun.
    fn rollout(&self) -> Option<Journaled> {
        Journaled::newest(self.fleet).filter(|it| Some(&it.id) != self.before.as_ref())
    }

    /// Takes the rollout over from whoever was killed, once, and looks at what has become of it.
    #[track_caller]
    fn settle(&self, what: &str) {
        let what = format!("{}, {what}", self.release);
        let resumed = match self.rollout() {
            Some(rollout) => self.fleet.deploy(&["rollout", "resume", &rollout.id]),
            // Nothing was begun, so nothing is in the way of beginning anew.
            None => self.fleet.deploy(&self.start()),
        };
        let Said { code, out, err } = &resumed;
        assert_eq!(*code, 0, "{what}: {out}\n{err}");
        self.look(&what);
    }

    /// Looks at what has become of it.
    #[track_caller]
    fn look(&self, what: &str) {
        let rollout = self.rollout().unwrap_or_else(|| panic!("{what}: there is no rollout"));
        assert_sound(self.fleet, &rollout, &self.release, what);
    }
}
