//! Killed at its N-th system call.
use super::{Round, Site};
use crate::fleet::asked_for;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const HOSTS: usize = 4;
/// How many rollouts are under way at a time: most of each is waiting.
const WORKERS: usize = 3;
const SIGKILL: i32 = 9;

/// The calls by which the driver changes anything: what it writes, makes durable, and sends. Which call of a kind that is, the
/// standard library, the runtime and SQLite decide.
const KINDS: [&[&str]; 3] =
    [&["pwrite64", "pwritev", "write", "writev"], &["fdatasync", "fsync"], &["sendmsg", "sendto"]];

#[test]
fn a_driver_killed_at_its_nth_system_call_is_taken_over() {
    let wanted: usize = asked_for("CRASH_POINTS", 216);
    let mut sites: Vec<Site> = (0..WORKERS).map(|_| Site::new(HOSTS)).collect();
    let counts = count_calls(&sites[0].release());
    // There may be fewer calls than kills that are wanted: what happens beside a call differs each time.
    let points = spread(&counts, wanted);
    let points = Mutex::new(points.iter().cycle().take(wanted));
    let killed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for site in &mut sites {
            scope.spawn(|| {
                while let Some(point) = { points.lock().unwrap().next() } {
                    killed.fetch_add(
                        usize::from(crash_at(&site.release(), point)),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    // A rollout that made fewer calls than the one they were counted in is not killed.
    let (killed, least) = (killed.into_inner(), wanted - wanted / 15);
    assert!(killed >= least, "killed at {killed} of {wanted} points only: {counts:?}");
}

/// Just before a thread of the driver makes this call for this time.
#[derive(Debug)]
struct Point {
    call: &'static str,
    nth: usize,
}

/// Kills the driver at `point`, and lets another take over. Says whether it came to the killing.
fn crash_at(round: &Round<'_>, point: &Point) -> bool {
    let Point { call, nth } = point;
    let ended = trace(round, &[&format!("inject={call}:signal=SIGKILL:when={nth}")], "/dev/null");
    let killed = ended.signal() == Some(SIGKILL);
    assert!(killed || ended.success(), "{point:?}: {ended}");
    round.settle(&format!("{point:?}"));
    killed
}

/// How often the busiest thread of a driver makes each call in a rollout that nobody interrupts.
fn count_calls(round: &Round<'_>) -> BTreeMap<&'static str, usize> {
    let file = round.fleet.path("trace");
    let ended =
        trace(round, &[&format!("trace={}", KINDS.concat().join(","))], file.to_str().unwrap());
    assert!(ended.success(), "{ended}");
    round.settle("uninterrupted");
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let text = fs::read_to_string(&file).unwrap();
    // `THREAD CALL(…`; a call that is resumed has been counted.
    for (thread, rest) in text.lines().filter_map(|it| it.split_once(' ')) {
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut busiest = BTreeMap::new();
    for call in KINDS.concat() {
        let counts = by_thread.iter().filter(|((_, it), _)| *it == call).map(|(_, count)| *count);
        busiest.extend(counts.max().map(|it| (call, it)));
    }
    busiest
}

/// `wanted` points, evenly over all that there are: as many of each kind as of the others, where there are as many.
fn spread(counts: &BTreeMap<&'static str, usize>, wanted: usize) -> Vec<Point> {
    let of = |kind: &[&str]| kind.iter().filter_map(|it| counts.get(it)).sum::<usize>();
    let mut kinds = KINDS;
    kinds.sort_by_key(|kind| of(kind));
    let mut points = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let all: Vec<Point> = kind
            .iter()
            .flat_map(|call| {
                (1..=counts.get(call).copied().unwrap_or(0)).map(|nth| Point { call, nth })
            })
            .collect();
        assert!(!all.is_empty(), "the driver makes none of {kind:?}: {counts:?}");
        let share = ((wanted - points.len()) / (kinds.len() - at)).min(all.len());
        let total = all.len();
        let chosen = all.into_iter().enumerate();
        let even = |at: &usize| at * share / total != (at + 1) * share / total;
        points.extend(chosen.filter(|(at, _)| even(at)).map(|(_, point)| point));
    }
    points
}

/// Drives a rollout under `strace`.
fn trace(round: &Round<'_>, expressions: &[&str], to: &str) -> ExitStatus {
    let deploy = round.fleet.command(&round.start());
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-o", to]);
    for expression in expressions {
        strace.args(["-e", expression]);
    }
    strace.arg(deploy.get_program()).args(deploy.get_args());
    let output = strace.output().expect("strace is installed by `cargo xtask packages`");
    output.status
}
