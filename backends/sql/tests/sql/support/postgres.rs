use rustix::fs::{FlockOperation, flock};
use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// A PostgreSQL server that runs as long as this, in any process, is there.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    _in_use: File,
}

impl Server {
    /// The one that all tests of this account share.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let account = rustix::process::getuid().as_raw();
            Self::start(env::temp_dir().join(format!("deploy-sql-postgres-{account}")), "keep")
        })
    }

    /// One for a test that harms it. Its folder goes with it.
    pub(crate) fn private() -> Self {
        // The server runs as an account of its own.
        let open_to_all = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(open_to_all).tempdir().unwrap();
        Self::start(folder.keep(), "remove")
    }

    fn start(folder: PathBuf, afterwards: &str) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let in_use = lock(&folder.join("users"), FlockOperation::LockShared);
        let _one_starter = lock(&folder.join("starting"), FlockOperation::LockExclusive);
        let server = Self { folder, _in_use: in_use };
        if !server.is_ready() {
            server.supervise(afterwards);
        }
        server
    }

    #[expect(clippy::zombie_processes, reason = "the supervisor outlives the tests by design")]
    fn supervise(&self, afterwards: &str) {
        let log = File::create(self.folder.join("log")).unwrap();
        let mut supervisor = Command::new("sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/support/postgres.sh"))
            .args([bin(), self.folder.clone()])
            .arg(afterwards)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A Ctrl-C that ends the tests is not for the one that clears up after them.
            .process_group(0)
            .spawn()
            .unwrap();
        while !self.is_ready() {
            if let Some(status) = supervisor.try_wait().unwrap() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap();
                panic!("PostgreSQL did not start ({status}):\n{log}");
            }
            pause();
        }
    }

    fn is_ready(&self) -> bool {
        self.folder.join("ready").exists() && self.tool("pg_isready", ["--quiet"]).is_ok()
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.folder.join("socket").display()
        )
    }

    /// Runs SQL as the superuser.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        let args =
            ["--dbname", database, "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql];
        self.tool("psql", args).unwrap()
    }

    fn tool<A: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String, String> {
        let out = Command::new(bin().join(name))
            .args(args)
            .arg("--host")
            .arg(self.folder.join("socket"))
            .args(["--username", "postgres"])
            .output()
            .unwrap();
        if out.status.success() {
            Ok(String::from_utf8(out.stdout).unwrap().trim().to_owned())
        } else {
            Err(format!("{name}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr)))
        }
    }
}

/// An empty database of a server. It goes with the server: dropping it alone takes longer than most tests.
#[derive(Debug)]
pub(crate) struct TestDatabase<'a> {
    server: &'a Server,
    name: String,
}

impl TestDatabase<'static> {
    pub(crate) fn new() -> Self {
        Self::on(Server::shared())
    }
}

impl<'a> TestDatabase<'a> {
    pub(crate) fn on(server: &'a Server) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        server.tool("createdb", [&name]).unwrap();
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Runs SQL as the superuser.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }

    /// Runs the SQL in a file as the superuser.
    pub(crate) fn load(&self, file: &Path) {
        let set =
            ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &self.name, "--file"];
        self.server
            .tool("psql", set.map(OsStr::new).into_iter().chain([file.as_os_str()]))
            .unwrap();
    }

    /// All of it as SQL.
    pub(crate) fn dump(&self) -> String {
        self.server.tool("pg_dump", ["--inserts", "--no-owner", &self.name]).unwrap() + "\n"
    }

    /// Changes a setting for new connections.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.psql(&format!("ALTER DATABASE {} SET {setting} = {value}", self.name));
    }
}

/// Where the server's programs are.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|it| it.path().join("bin")).filter(|it| it.join("initdb").exists()).max();
    newest.expect(
        "there is no PostgreSQL under /usr/lib/postgresql, which these tests start: `apt-get install postgresql`",
    )
}

fn lock(path: &Path, how: FlockOperation) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    flock(&file, how).unwrap();
    file
}

#[expect(clippy::disallowed_methods, reason = "waits for a process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
