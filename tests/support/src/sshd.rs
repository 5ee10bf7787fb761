//! A real OpenSSH server, and a real agent.
//!
//! One [`Sshd`] stands for many hosts: it listens on as many loopback addresses as there are to be hosts, all on one port that
//! nobody else uses. Everything it needs lies in a temporary folder, and everything it started ends with it.
mod agent;

pub use agent::SshAgent;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// OpenSSH listens on no more addresses than this with one process.
const MOST_ADDRESSES: usize = 16;
/// How long the server may take to listen, or to say what a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What server to start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SshdOptions {
    /// How many hosts it is to stand for.
    pub hosts: usize,
    /// Lines for its configuration; they go before the usual ones, and so win over them.
    pub config: Vec<String>,
    /// What the environment of processes holds, apart from the usual; `HOME` is an empty folder, so that no login script of
    /// whoever runs the test has a say.
    pub env: Vec<(String, String)>,
    /// The type of its host key.
    pub host_key: String,
}

impl Default for SshdOptions {
    fn default() -> Self {
        Self { hosts: 1, config: Vec::new(), env: Vec::new(), host_key: "ed25519".into() }
    }
}

impl SshdOptions {
    /// One host, nothing special.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Standing for this many hosts.
    #[must_use]
    pub const fn with_hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// With one more line of configuration.
    #[must_use]
    pub fn with_config(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }

    /// With `name` set to `value` in the environment of what it starts.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With a host key of this type: `ed25519`, `ecdsa` or `rsa`.
    #[must_use]
    pub fn with_host_key(mut self, kind: impl Into<String>) -> Self {
        self.host_key = kind.into();
        self
    }
}

/// A running OpenSSH server.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    options: SshdOptions,
    user: String,
    /// Keeps others from taking the port.
    port: TcpListener,
    servers: Vec<Server>,
    log: Arc<Log>,
}

#[derive(Debug)]
struct Server {
    child: Child,
}

/// What the server has said.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    more: Condvar,
}

impl Sshd {
    /// Starts a server that stands for one host.
    ///
    /// # Errors
    /// If OpenSSH is not installed, or does not start; the text says what to install, or what the server has said.
    pub fn start() -> io::Result<Self> {
        Self::start_with(SshdOptions::new())
    }

    /// Starts a server as `options` say.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(options: SshdOptions) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sshd-").tempdir()?;
        // Login accounts other than ours may have to read in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let user = run(Command::new("id").arg("-un"))?;
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let log = Arc::default();
        fs::create_dir(folder.path().join("home"))?;
        let mut sshd = Self { folder, options, user, port, servers: Vec::new(), log };
        generate_key(&sshd.identity(), "ed25519", "")?;
        fs::copy(public_half(&sshd.identity()), sshd.path("authorized_keys"))?;
        sshd.change_host_key()?;
        Ok(sshd)
    }

    /// The addresses of the hosts.
    #[must_use]
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let [_, _, first, second] = 0x7f01_0001_u32.to_be_bytes();
        let base = u32::from_be_bytes([127, 1, first, second]);
        (0..self.options.hosts)
            .filter_map(|at| u32::try_from(at).ok())
            .map(|at| Ipv4Addr::from(base + at))
            .collect()
    }

    /// The port, the same for all addresses.
    ///
    /// # Errors
    /// Never on a machine with a loopback interface.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.port.local_addr()?.port())
    }

    /// The account that can log in: the one that runs the test.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that logs in.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.path("id")
    }

    /// A `known_hosts` file with all hosts.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.path("known_hosts")
    }

    /// The file with the keys that may log in.
    #[must_use]
    pub fn authorized_keys(&self) -> PathBuf {
        self.path("authorized_keys")
    }

    /// The server's public key, as `ALGORITHM BASE64`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn host_key(&self) -> io::Result<String> {
        let text = fs::read_to_string(public_half(&self.path("host_key")))?;
        Ok(text.split(' ').take(2).collect::<Vec<_>>().join(" "))
    }

    /// A folder for the files of a test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root folder of host number `host`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn root(&self, host: usize) -> io::Result<PathBuf> {
        let root = self.path("roots").join(host.to_string());
        fs::create_dir_all(&root)?;
        Ok(root)
    }

    /// Gives the server another host key, writes `known_hosts` anew *at the first call only*, and starts it again. From the
    /// second call on, the server's key is thus another than the known one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn change_host_key(&mut self) -> io::Result<()> {
        let key = self.path("host_key");
        for file in [&key, &public_half(&key)] {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        generate_key(&key, &self.options.host_key, "")?;
        if !self.known_hosts().exists() {
            self.write_known_hosts()?;
        }
        self.stop();
        self.restart()
    }

    /// Writes the server's present key into [`known_hosts`](Self::known_hosts), for all hosts.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_known_hosts(&self) -> io::Result<()> {
        let (key, port) = (self.host_key()?, self.port()?);
        let mut file = fs::File::create(self.known_hosts())?;
        for address in self.addresses() {
            writeln!(file, "[{address}]:{port} {key}")?;
        }
        Ok(())
    }

    /// Stops listening. Connections that are open stay.
    pub fn stop(&mut self) {
        for mut server in self.servers.drain(..) {
            // It may have ended by itself.
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
    }

    /// Listens again after [`stop`](Self::stop).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> io::Result<()> {
        let program = server_program()?;
        let addresses = self.addresses();
        for (at, addresses) in addresses.chunks(MOST_ADDRESSES).enumerate() {
            let config = self.path(&format!("sshd_config.{at}"));
            fs::write(&config, self.config(addresses)?)?;
            let mut child = Command::new(&program)
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            let said = child.stderr.take();
            self.servers.push(Server { child });
            let said = said.ok_or_else(|| io::Error::other("the server's log is not to be had"))?;
            self.log.follow(said, addresses.len())?;
        }
        Ok(())
    }

    /// Cuts all connections, as a network would that is gone: the processes that serve them are killed, and nothing that they
    /// have started.
    ///
    /// # Errors
    /// If the processes cannot be listed.
    pub fn cut_connections(&self) -> io::Result<()> {
        let servers: Vec<u32> = self.servers.iter().map(|it| it.child.id()).collect();
        signal("-KILL", &descendants(&servers, true)?)
    }

    /// Stops the processes that serve connections, as a host that hangs would: connections stay open, and nobody answers.
    ///
    /// # Errors
    /// If the processes cannot be listed.
    pub fn freeze_connections(&self) -> io::Result<()> {
        let servers: Vec<u32> = self.servers.iter().map(|it| it.child.id()).collect();
        signal("-STOP", &descendants(&servers, true)?)
    }

    /// How many connections are open.
    ///
    /// # Errors
    /// If the processes cannot be listed.
    pub fn connections(&self) -> io::Result<usize> {
        let servers: Vec<u32> = self.servers.iter().map(|it| it.child.id()).collect();
        let direct = processes()?.into_iter().filter(|it| servers.contains(&it.parent));
        Ok(direct.count())
    }

    /// What the server has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text().clone()
    }

    /// Waits until the server has said `text` at least `times` times.
    ///
    /// # Errors
    /// If it does not for a while; with all that it has said.
    pub fn wait_for_log(&self, text: &str, times: usize) -> io::Result<()> {
        self.log.wait(|log| log.matches(text).count() >= times)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, addresses: &[Ipv4Addr]) -> io::Result<String> {
        let mut lines = self.options.config.clone();
        lines.push(format!("Port {}", self.port()?));
        lines.extend(addresses.iter().map(|it| format!("ListenAddress {it}")));
        lines.push(format!("HostKey {}", self.path("host_key").display()));
        lines.push(format!("AuthorizedKeysFile {}", self.path("authorized_keys").display()));
        let mut env = format!("SetEnv HOME={}", self.path("home").display());
        for (name, value) in &self.options.env {
            env.push_str(&format!(" {name}={value}"));
        }
        lines.push(env);
        let usual = [
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "PrintLastLog no",
            "PidFile none",
            "MaxStartups 10000",
            "MaxSessions 10000",
            "LogLevel VERBOSE",
        ];
        lines.extend(usual.map(String::from));
        lines.push(String::new());
        Ok(lines.join("\n"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let servers: Vec<u32> = self.servers.iter().map(|it| it.child.id()).collect();
        let started = descendants(&servers, false).unwrap_or_default();
        self.stop();
        // What is gone already need not be killed.
        let _ = signal("-KILL", &started);
    }
}

impl Log {
    /// Takes down what `said` says, in a thread of its own, and waits until the server listens on `addresses` more addresses.
    fn follow(self: &Arc<Self>, said: ChildStderr, addresses: usize) -> io::Result<()> {
        let listening = |log: &str| log.matches("Server listening on ").count();
        let wanted = listening(&self.text()) + addresses;
        let log = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let mut text = log.text();
                text.push_str(&line);
                text.push('\n');
                log.more.notify_all();
            }
        });
        self.wait(|log| listening(log) >= wanted)
    }

    fn wait(&self, until: impl Fn(&str) -> bool) -> io::Result<()> {
        let waited = self.more.wait_timeout_while(self.text(), PATIENCE, |text| !until(text));
        let (text, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(io::Error::other(format!(
                "sshd did not do what was expected; it said:\n{text}"
            )));
        }
        Ok(())
    }

    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a key pair of the type `kind`: `path` and `path.pub`.
///
/// # Errors
/// If `ssh-keygen` is not installed, or refuses.
pub fn generate_key(path: &Path, kind: &str, passphrase: &str) -> io::Result<()> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"]).arg(path);
    run(&mut keygen).map(drop)
}

fn public_half(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn server_program() -> io::Result<PathBuf> {
    let program = Path::new("/usr/sbin/sshd");
    if !program.exists() {
        let reason = "/usr/sbin/sshd is not there: install the Debian package openssh-server";
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    // Where the server drops its rights to, if it has any; made by its service elsewhere.
    let empty = Path::new("/run/sshd");
    let user = run(Command::new("id").arg("-u"))?;
    if !empty.exists() && user.stdout.starts_with(b"0\n") {
        fs::create_dir_all(empty)?;
    }
    Ok(program.to_path_buf())
}

fn run(command: &mut Command) -> io::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|err| missing(&err, &program, "openssh-client"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{program} failed: {said}")));
    }
    Ok(output)
}

fn missing(err: &io::Error, program: &str, package: &str) -> io::Error {
    io::Error::new(err.kind(), format!("{program}: {err}: install the Debian package {package}"))
}

/// A line of `/proc`.
struct Process {
    id: u32,
    parent: u32,
    name: String,
}

fn processes() -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else { continue };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, it)| it.rsplit_once(')'))
        else {
            continue;
        };
        let parent = rest.split_ascii_whitespace().nth(1).and_then(|it| it.parse().ok());
        all.extend(parent.map(|parent| Process { id, parent, name: name.into() }));
    }
    Ok(all)
}

/// The processes that come from `roots`; with `of_sshd`, only those that are sshd themselves.
fn descendants(roots: &[u32], of_sshd: bool) -> io::Result<Vec<u32>> {
    let all = processes()?;
    let (mut found, mut parents) = (Vec::new(), roots.to_vec());
    while !parents.is_empty() {
        let children = all.iter().filter(|it| parents.contains(&it.parent));
        let children = children.filter(|it| !of_sshd || it.name.starts_with("sshd"));
        parents = children.map(|it| it.id).collect();
        found.extend_from_slice(&parents);
    }
    Ok(found)
}

fn signal(signal: &str, processes: &[u32]) -> io::Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    // Some may have ended meanwhile.
    let ids = processes.iter().map(ToString::to_string);
    Command::new("kill").arg(signal).args(ids).stderr(Stdio::null()).status().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn stands_for_many_hosts_and_ends_with_the_test() {
        let sshd = Sshd::start_with(SshdOptions::new().with_hosts(20)).unwrap();
        let port = sshd.port().unwrap();
        let addresses = sshd.addresses();
        assert_eq!(addresses.len(), 20);
        for address in &addresses {
            TcpStream::connect((*address, port)).unwrap();
        }
        let out = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
                "-p",
                &port.to_string(),
            ])
            .arg("-i")
            .arg(sshd.identity())
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()))
            .arg(format!("{}@{}", sshd.user(), addresses[17]))
            .arg("echo hello")
            .output()
            .unwrap();
        assert_eq!(out.stdout, b"hello\n", "{}", String::from_utf8_lossy(&out.stderr));
        let folder = sshd.folder().to_path_buf();
        drop(sshd);
        assert!(!folder.exists());
        assert!(TcpStream::connect((addresses[0], port)).is_err());
    }
}
