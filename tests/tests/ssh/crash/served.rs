//! `deploy serve`, killed at its N-th system call: rollouts go on, and whoever asked for one asks again and gets the same one.
use super::{Round, Site};
use crate::fleet::{Fleet, asked_for, until};
use deploy_test_support::{
    served::{Request, Served},
    strace::{self, Point},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const HOSTS: usize = 2;
/// How many rollouts are under way at a time: most of each is waiting.
const WORKERS: usize = 3;

#[test]
fn a_server_killed_at_its_nth_system_call_goes_on_where_it_was() {
    if !strace::is_there("the crash points of the server") {
        return;
    }
    let wanted: usize = asked_for("CRASH_POINTS", 60);
    let mut sites: Vec<Place> = (0..WORKERS).map(|_| Place::new()).collect();
    let counts = sites[0].count();
    let points = Mutex::new(strace::spread(&counts, wanted).into_iter());
    let killed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for site in &mut sites {
            scope.spawn(|| {
                while let Some(point) = { points.lock().unwrap().next() } {
                    killed.fetch_add(usize::from(site.crash(&point)), Ordering::Relaxed);
                }
            });
        }
    });
    let killed = killed.into_inner();
    eprintln!("servers: killed at {killed} of {wanted} points, in {} kinds of calls", counts.len());
    // One that makes fewer calls than the one they were counted in is not killed.
    assert!(
        killed >= wanted - wanted / 4,
        "killed at {killed} of {wanted} points only: {counts:?}"
    );
}

/// Hosts, and the token of the server that looks after them.
struct Place {
    site: Site,
    token: String,
}

impl Place {
    fn new() -> Self {
        let site = Site::new(HOSTS);
        let server = start(&site.fleet, &[]);
        let token = server.token.clone().expect("the first start makes a token");
        Self { site, token }
    }

    /// How often the busiest thread of a server makes each call in a rollout that nobody interrupts.
    fn count(&mut self) -> BTreeMap<String, usize> {
        let file = self.site.fleet.path("calls");
        let starts =
            roll_out(&self.site.release(), &self.token, &strace::counting(&file), "counted");
        assert_eq!(starts, 1, "nobody killed it");
        strace::counted(&file).unwrap()
    }

    fn crash(&mut self, point: &Point) -> bool {
        let what = format!("{point:?}");
        roll_out(&self.site.release(), &self.token, &strace::killing(point), &what) > 1
    }
}

/// Has a release rolled out by a server behind the words of `before`, and by others once that is gone. Says how many there were.
fn roll_out(round: &Round<'_>, token: &str, before: &[String], what: &str) -> usize {
    let (mut server, mut starts) = (start(round.fleet, before), 1);
    let mut ask = |method: &str, path: &str, key: &str, body: &Value| {
        let mut answer = None;
        until(&format!("{what}: {path} is answered"), || {
            answer = server.ask(&Request {
                method,
                path,
                token,
                headers: &[("idempotency-key", key)],
                body,
            });
            if answer.is_none() && server.is_gone().unwrap() {
                server = start(round.fleet, &[]);
                starts += 1;
            }
            answer.is_some()
        });
        answer.unwrap()
    };
    let asked = json!({"service": "web", "release": round.release});
    let (status, started) = ask("POST", "/api/v1/rollouts", &round.release, &asked);
    assert_eq!(status, 202, "{what}: {started}");
    let path = format!("/api/v1/rollouts/{}", started["id"].as_str().unwrap());
    until(&format!("{what}: the rollout ends"), || {
        ask("GET", &path, &round.release, &Value::Null).1["state"] == "succeeded"
    });
    drop(server);
    round.look(what);
    starts
}

/// A server of the hosts of `fleet`, behind the words of `before`.
fn start(fleet: &Fleet, before: &[String]) -> Served {
    let deploy = fleet.command(&[]);
    let mut command = strace::behind(before, Path::new(deploy.get_program()));
    command.args(deploy.get_args()).stderr(Stdio::null());
    Served::start(command, &[]).unwrap()
}
