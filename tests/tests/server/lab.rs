//! A server with a service, a host and a release.
use deploy_test_support::{
    programs::program,
    served::{Request, Served},
};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What a server finds when it begins.
pub(crate) struct Lab {
    pub(crate) folder: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(lab.data()).unwrap();
        lab
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("deploy"));
        command.arg("--data-dir").arg(self.data()).stdin(Stdio::null());
        command
    }

    /// Writes a file, and gives its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.command().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }

    /// The service `web` with the release `web-1`, and the host `web-1`, which is a folder.
    pub(crate) fn furnish(&self) {
        let root = self.folder.path().join("host");
        let host = format!("[[host]]\nname = \"web-1\"\nlocal = \"{}\"\n", root.display());
        self.run(&["host", "import", &self.write("hosts.toml", &host)]);
        let service =
            "name = \"web\"\nowner = \"tests\"\ndeploy_path = \"/srv/web\"\nselector = \"*\"\n";
        self.run(&["service", "apply", &self.write("service.toml", service)]);
        self.write("descriptor/descriptor.toml", "format = 1\n");
        self.write("package/version", "1\n");
        let [package, descriptor] =
            ["package", "descriptor"].map(|it| self.folder.path().join(it).display().to_string());
        let create = ["release", "create", "web", "1", "--package", &package];
        self.run(&[&create[..], &["--descriptor", &descriptor]].concat());
    }

    /// Starts a server whose limits on rates nobody meets.
    pub(crate) fn serve(&self) -> Served {
        let limits = "[limits]\nrate_per_second = 100000\nrate_burst = 100000\n";
        let config = self.write("server.toml", limits);
        let log = fs::File::create(self.folder.path().join("server.log")).unwrap();
        let mut command = self.command();
        command.stderr(log);
        let served = Served::start(command, &["--config", &config]).unwrap();
        assert!(served.address.is_some(), "{}", self.log());
        served
    }

    /// What the server has to say beside its answers.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

/// The answer to a request with the server's first token.
pub(crate) fn ask(served: &Served, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let token = served.token.as_deref().expect("the first start makes a token");
    // Whatever is put there is new.
    let new = [("if-none-match", "*")];
    let headers: &[_] = if method == "PUT" { &new } else { &[] };
    let request = Request { method, path, token, headers, body };
    served.ask(&request).unwrap_or_else(|| panic!("{method} {path} is not answered"))
}
