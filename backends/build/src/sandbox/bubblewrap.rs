//! A sandbox by bubblewrap: own views of files, processes and network.
use super::Places;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// What of the machine is there to be read, as far as it exists.
const SYSTEM: [&str; 8] = ["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin", "/usr"];
/// What of its configuration is: what programs need to find one another, and whom to trust. Nothing that says who lives here, and no
/// keys: these lie beside the certificates.
const CONFIGURATION: [&str; 15] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/pki/ca-trust",
    "/etc/pki/java",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
/// What is needed beside to speak to the network.
const NETWORK: [&str; 4] =
    ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services"];
/// The account in the sandbox, whoever starts it.
const ACCOUNT: &str = "1000";

/// How to start the sandbox.
#[derive(Debug)]
pub(crate) struct Bubblewrap {
    program: PathBuf,
    /// Folders that are there to be read beside the system's.
    tools: Vec<PathBuf>,
}

/// The folders of a build as its commands see them: the same on every machine, since some programs write them into what they make.
pub(super) fn places() -> Places {
    Places {
        source: "/build/source".into(),
        cache: "/build/cache".into(),
        home: "/build/home".into(),
        temporary: "/tmp".into(),
        secrets: "/build/secrets".into(),
    }
}

impl Bubblewrap {
    pub(super) fn new(program: PathBuf, tools: &[PathBuf]) -> Self {
        Self { program, tools: tools.to_vec() }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// How `program` is called to run `command` with `environment` over the folders `outside`.
    pub(super) fn arguments(
        &self,
        outside: &Places,
        environment: &BTreeMap<String, String>,
        network: bool,
        command: &[&str],
    ) -> Vec<OsString> {
        let mut all = Arguments::default();
        // All namespaces: of users, processes, networks, names and the rest.
        all.add([
            "--unshare-all",
            "--unshare-user",
            "--uid",
            ACCOUNT,
            "--gid",
            ACCOUNT,
            "--cap-drop",
            "ALL",
        ]);
        all.add(["--die-with-parent", "--new-session", "--hostname", "build", "--clearenv"]);
        if network {
            all.add(["--share-net"]);
        }
        for (name, value) in environment {
            all.add(["--setenv", name.as_str(), value.as_str()]);
        }
        SYSTEM.iter().for_each(|it| all.show(Path::new(it)));
        all.add(["--dir", "/etc"]);
        CONFIGURATION.iter().for_each(|it| all.show(Path::new(it)));
        if network {
            NETWORK.iter().for_each(|it| all.show(Path::new(it)));
        }
        all.add(["--proc", "/proc", "--dev", "/dev"]);
        let inside = places();
        for (outside, inside) in [
            (&outside.source, &inside.source),
            (&outside.cache, &inside.cache),
            (&outside.home, &inside.home),
            (&outside.temporary, &inside.temporary),
        ] {
            all.mount("--bind", outside, inside);
        }
        all.mount("--ro-bind", &outside.secrets, &inside.secrets);
        // Last, since they may lie in what was mounted just now, such as `/tmp`.
        self.tools.iter().for_each(|it| all.show(it));
        all.add(["--remount-ro", "/", "--chdir"]);
        all.0.push(inside.source.into());
        all.add(["--"]);
        all.add(command.iter().copied());
        all.0
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<'a>(&mut self, more: impl IntoIterator<Item = &'a str>) {
        self.0.extend(more.into_iter().map(OsString::from));
    }

    fn mount(&mut self, how: &str, outside: &Path, inside: &Path) {
        self.0.extend([how.into(), outside.into(), inside.into()]);
    }

    /// Shows a path of the machine as it is, to be read. Where it is a link to a part of the system, it stays one.
    fn show(&mut self, path: &Path) {
        let Ok(meta) = fs::symlink_metadata(path) else { return };
        match fs::read_link(path) {
            Ok(target) if meta.is_symlink() && SYSTEM.contains(&&*path.to_string_lossy()) => {
                self.mount("--symlink", &target, path);
            }
            _ => self.mount("--ro-bind", path, path),
        }
    }
}
