//! What makes the agent a service of its host.
use deploy_agent::{HostPort, Policy};
use deploy_package::publisher::{self, NotPublished, PublisherKey};
use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

const UNIT: &str = include_str!("../../../../packaging/systemd/deploy-agent.service");
/// Where the unit says that the program is.
const PROGRAM: &str = "/usr/local/bin/deploy-agent";
const SERVICE: &str = "deploy-agent.service";
const SYSTEMD: &str = "/run/systemd/system";

/// What is written where there is no configuration yet.
const HOST: &str = "\
# What this host lets be done to it, whoever asks. The control plane cannot change it: docs/agent.md.

# Folders that services may lie in.
folders = [\"/srv\"]
# Accounts that steps may run as. Absent: all but root. Root only when it is named.
#accounts = [\"web\", \"worker\"]
# Whether ad-hoc scripts may be run.
#run = false
# How many attempts may be under way at the same time.
#concurrency = 8
# How much of an attempt's log is kept, in MiB.
#log_mib = 64
# How much is kept of packages and descriptors, in MiB, beside what is in use.
#cache_mib = 10240
# How much of each file system stays free beside what is fetched and unpacked: MiB (absent: 5 %, from 64 to 1024), and files.
#free_mib = 1024
#free_files = 1000
# Blocks of packages from other hosts, and for them; without this, as it stands here.
# [peers]
# listen = \"0.0.0.0:7445\"
# serve = true
# Whose signatures releases have to have; without this, nobody's. `deploy key create` makes a key.
# [publishers]
# keys = [\"RWQ...\"]
# needed = 1
# Who passes on what this host says to its control plane, where it may not reach that itself: relays, tried in turn.
# [gateway]
# via = [\"10.1.0.5:7444\", \"10.1.0.6:7444\"]
";

/// What a configuration that is written now says beside what each says.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) publishers: Option<Publishers>,
    pub(crate) via: Vec<HostPort>,
}

impl Chosen {
    fn text(&self) -> String {
        let publishers = self.publishers.as_ref().map(Publishers::text).unwrap_or_default();
        let via: Vec<_> = self.via.iter().map(|it| format!("\"{it}\"")).collect();
        let gateway = match via.as_slice() {
            [] => String::new(),
            via => format!("\n[gateway]\nvia = [{}]\n", via.join(", ")),
        };
        publishers + &gateway
    }
}

/// Whose signatures releases have to have on a host that is set up now.
#[derive(Debug)]
pub(crate) struct Publishers {
    keys: Vec<PublisherKey>,
    needed: usize,
}

impl Publishers {
    /// `needed` of `keys`; `None` if there are none.
    ///
    /// # Errors
    /// If these cannot sign anything.
    pub(crate) fn new(
        keys: Vec<PublisherKey>,
        needed: usize,
    ) -> Result<Option<Self>, NotPublished> {
        if keys.is_empty() {
            return Ok(None);
        }
        publisher::Publishers::new(keys.iter().cloned(), needed)?;
        Ok(Some(Self { keys, needed }))
    }

    fn text(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|it| format!("\"{it}\"")).collect();
        format!("\n[publishers]\nkeys = [{}]\nneeded = {}\n", keys.join(", "), self.needed)
    }
}

/// Where the files of a service lie.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) config: PathBuf,
    pub(crate) units: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            config: PathBuf::from("/etc/deploy-agent/host.toml"),
            units: PathBuf::from("/etc/systemd/system"),
        }
    }
}

/// Writes what is not there yet, and starts the service where there is systemd. Gives what was done.
///
/// # Errors
/// If a file cannot be written, or the service does not start.
pub(crate) fn install(program: &Path, chosen: &Chosen) -> Result<Vec<String>, Box<dyn Error>> {
    let mut done = write(&Places::default(), program, chosen)?;
    if Path::new(SYSTEMD).is_dir() {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", SERVICE])?;
        done.push(format!("started {SERVICE}"));
    } else {
        done.push(format!("there is no systemd here: run `{} run`", program.display()));
    }
    Ok(done)
}

/// Whether all that is `chosen` can be written where nothing is yet.
///
/// # Errors
/// If there is a configuration already that does not say so: it is not this program's to change.
pub(crate) fn has_place_for(chosen: &Chosen) -> io::Result<()> {
    has_place(&Places::default(), chosen)
}

fn has_place(places: &Places, chosen: &Chosen) -> io::Result<()> {
    if !places.config.exists() {
        return Ok(());
    }
    let says_via = || Policy::read(&places.config).is_ok_and(|it| it.via() == chosen.via);
    let wanted = if chosen.publishers.is_some() {
        "write [publishers] into it, or enrol without `--publisher`"
    } else if !chosen.via.is_empty() && !says_via() {
        "write the same `via` into its [gateway] first"
    } else {
        return Ok(());
    };
    let message = format!("{} is there already: {wanted}", places.config.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

fn write(places: &Places, program: &Path, chosen: &Chosen) -> io::Result<Vec<String>> {
    let unit = UNIT.replace(PROGRAM, &program.display().to_string());
    let host = format!("{HOST}{}", chosen.text());
    has_place(places, chosen)?;
    let files = [(places.config.clone(), host), (places.units.join(SERVICE), unit)];
    let mut done = Vec::new();
    for (path, text) in files {
        let wrote = write_new(&path, &text).map_err(|err| {
            io::Error::new(err.kind(), format!("{} cannot be written: {err}", path.display()))
        })?;
        let said = if wrote { "wrote" } else { "left as it is:" };
        done.push(format!("{said} {}", path.display()));
    }
    Ok(done)
}

/// Writes a file that everybody may read; one that is there stays as it is.
fn write_new(path: &Path, text: &str) -> io::Result<bool> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    match opened {
        Ok(mut file) => {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(true)
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(err) => Err(err),
    }
}

fn systemctl(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let status = Command::new("systemctl").args(arguments).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`systemctl {}` has failed", arguments.join(" ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            config: dir.path().join("etc/deploy-agent/host.toml"),
            units: dir.path().join("units"),
        };
        write(&places, Path::new("/opt/deploy-agent"), &Chosen::default()).unwrap();
        Policy::read(&places.config).unwrap();
        let unit = fs::read_to_string(places.units.join(SERVICE)).unwrap();
        assert!(unit.contains("ExecStart=/opt/deploy-agent run\n"), "{unit}");
        fs::write(&places.config, "folders = ['/opt']\n").unwrap();
        let done = write(&places, Path::new("/other"), &Chosen::default()).unwrap();
        assert!(done.iter().all(|it| it.starts_with("left as it is")), "{done:?}");
        assert_eq!(fs::read_to_string(&places.config).unwrap(), "folders = ['/opt']\n");
    }

    #[test]
    fn publishers_are_written_where_nothing_is_and_never_left_out_in_silence() {
        let dir = tempfile::tempdir().unwrap();
        let (config, units) = (dir.path().join("etc/host.toml"), dir.path().join("units"));
        let places = Places { config, units };
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let keys = vec![pair.pk.to_base64().parse().unwrap()];
        Publishers::new(keys.clone(), 2).unwrap_err();
        let publishers = Publishers::new(keys, 1).unwrap();
        let chosen = Chosen { publishers, via: Vec::new() };
        write(&places, Path::new("/opt/deploy-agent"), &chosen).unwrap();
        Policy::read(&places.config).unwrap();
        let text = fs::read_to_string(&places.config).unwrap();
        assert!(text.contains(&pair.pk.to_base64()), "{text}");
        let again = write(&places, Path::new("/opt/deploy-agent"), &chosen);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn the_way_to_the_gateway_is_written_where_nothing_is_and_never_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (config, units) = (dir.path().join("etc/host.toml"), dir.path().join("units"));
        let places = Places { config, units };
        let program = Path::new("/opt/deploy-agent");
        let through = |via: &[&str]| {
            let via = via.iter().map(|it| it.parse().unwrap()).collect();
            write(&places, program, &Chosen { publishers: None, via })
        };
        through(&["10.1.0.5:7444", "[::1]:7444"]).unwrap();
        assert_eq!(Policy::read(&places.config).unwrap().via().len(), 2);
        through(&["10.1.0.5:7444", "[::1]:7444"]).unwrap();
        let other = through(&["10.1.0.6:7444"]).unwrap_err();
        assert!(other.to_string().contains("write the same `via`"), "{other}");
    }

    #[test]
    fn every_key_of_the_written_configuration_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.toml");
        let all: String = HOST.lines().map(|it| format!("{}\n", key_of(it))).collect();
        fs::write(&path, all).unwrap();
        Policy::read(&path).unwrap();
    }

    /// A line whose key is no comment any more.
    fn key_of(line: &str) -> &str {
        line.strip_prefix('#').filter(|it| !it.starts_with(' ')).unwrap_or(line)
    }
}
