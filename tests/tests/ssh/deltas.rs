//! Upgrades over SSH by what changed, with every byte to the hosts counted.
use crate::fleet::Fleet;
use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

const SIZE: usize = 2_000_000;
const DESCRIPTOR: &str = "format = 1\n[steps.verify]\nenabled = false\n";

/// Stands before the SSH server of a host, passes everything on and counts what goes to it.
struct Tap {
    port: u16,
    sent: Arc<AtomicU64>,
}

impl Tap {
    fn before(host: &str, server: u16) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let (port, sent) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
        let (host, counted) = (host.to_owned(), Arc::clone(&sent));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect((host.as_str(), server)).unwrap();
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let counted = Arc::clone(&counted);
                thread::spawn(move || pass_on(client, server, Some(&counted)));
                thread::spawn(move || pass_on(back, forth, None));
            }
        });
        Self { port, sent }
    }

    /// How many bytes went to the host since this was asked last.
    fn sent(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, counted: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        counted.map(|it| it.fetch_add(read as u64, Ordering::SeqCst));
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}

/// Bytes that do not get smaller.
fn noise(mut state: u64, count: usize) -> Vec<u8> {
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Puts a tap before each host.
fn tap(fleet: &Fleet) -> Vec<Tap> {
    let server = fleet.sshd.port().unwrap();
    let taps: Vec<_> = fleet.hosts.iter().map(|it| Tap::before(it, server)).collect();
    let mut config = String::new();
    for (host, tap) in fleet.hosts.iter().zip(&taps) {
        writeln!(config, "Host {host}\n  Port {}", tap.port).unwrap();
    }
    let usual = fs::read_to_string(fleet.path("ssh_config")).unwrap();
    fs::write(fleet.path("ssh_config"), config + &usual).unwrap();
    taps
}

fn release(fleet: &Fleet, version: &str, program: &[u8]) {
    let package = fleet.package(version);
    fs::write(PathBuf::from(&package).join("program"), program).unwrap();
    let descriptor = fleet.descriptor(&[("descriptor.toml", DESCRIPTOR)]);
    let create = ["release", "create", "web", version, "--package", &package];
    fleet.deploy(&[&create[..], &["--descriptor", &descriptor]].concat()).ended(0);
}

fn roll_out(fleet: &Fleet, version: &str) {
    let release = format!("web-{version}");
    let start = ["--accept-new-host-keys", "rollout", "start", "web", &release, "--yes"];
    fleet.deploy(&start).ended(0);
    for host in 0..fleet.hosts.len() {
        let installed = fleet.root(host).join("srv/web/current/version.txt");
        assert_eq!(fs::read_to_string(installed).unwrap(), version);
    }
}

#[test]
fn an_upgrade_over_ssh_sends_what_changed_and_the_whole_where_that_does_not_fit() {
    let fleet = Fleet::new(3);
    let taps = tap(&fleet);
    fleet.service("web", "min_healthy_time = \"0s\"\nhealthy_deadline = \"1m\"\n");
    let mut program = noise(1, SIZE);
    release(&fleet, "1", &program);
    program.splice(700_000..720_000, noise(2, 20_000));
    release(&fleet, "2", &program);

    let plan = fleet.deploy(&["plan", "web", "web-1"]).ended(0);
    assert!(
        plan.out.contains("the whole package, once a host and not from host to host"),
        "{}",
        plan.out
    );
    roll_out(&fleet, "1");
    let first: Vec<u64> = taps.iter().map(Tap::sent).collect();
    assert!(first.iter().all(|it| *it > SIZE as u64), "{first:?}");

    let plan = fleet.deploy(&["plan", "web", "web-2"]).ended(0);
    let said = " to each of 3 hosts over SSH, by delta, if zstd and the package of web-1 are there; not from host to host";
    assert!(plan.out.contains(said), "{}", plan.out);
    let plan = fleet.deploy(&["plan", "web", "web-2", "--output", "json"]).ended(0).json();
    let transfer = &plan["transfers"][0];
    assert_eq!(
        (&transfer["via"], &transfer["way"]),
        (&"ssh".into(), &"delta".into()),
        "{transfer}"
    );
    let planned = transfer["bytes"].as_u64().unwrap();
    assert!((20_000..30_000).contains(&planned), "{transfer}");

    // On the last of them, what the patch builds upon was damaged.
    let packages = fleet.root(2).join("srv/web/.deploy/packages");
    let old = fs::read_dir(packages).unwrap().map(|it| it.unwrap().path());
    let old = old.filter(|it| it.extension().is_some_and(|it| it == "gz")).last().unwrap();
    let mut bytes = fs::read(&old).unwrap();
    bytes.iter_mut().skip(SIZE / 2).take(SIZE / 4).for_each(|it| *it ^= 1);
    fs::write(&old, bytes).unwrap();

    let _of_plans: Vec<u64> = taps.iter().map(Tap::sent).collect();
    roll_out(&fleet, "2");
    let sent: Vec<u64> = taps.iter().map(Tap::sent).collect();
    assert!(sent[..2].iter().all(|it| *it < planned + 250_000), "{sent:?}");
    assert!(sent[2] > SIZE as u64, "{sent:?}");
    for host in 0..3 {
        let installed = fs::read(fleet.root(host).join("srv/web/current/program")).unwrap();
        assert!(installed == program, "host {host} has another program");
    }
    let id = fleet.newest().unwrap();
    let log = |host: usize| {
        fleet.deploy(&["rollout", "logs", &id, "--host", &fleet.hosts[host]]).ended(0).out
    };
    assert!(log(0).contains("the package came as a patch of"), "{}", log(0));
    assert!(log(2).contains("the package came whole: a patch did not fit"), "{}", log(2));

    // Everything that it takes to go back is there.
    fleet.deploy(&["--accept-new-host-keys", "rollout", "rollback", &id, "--yes"]).ended(0);
    let back: Vec<u64> = taps.iter().map(Tap::sent).collect();
    assert!(back[..2].iter().all(|it| *it < 250_000), "{back:?}");
}
