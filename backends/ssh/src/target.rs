//! Where a host is, and how to get there: its record, the configuration and the options put together.
use crate::{
    config::{Hop, Proxy, Settings, SshConfig},
    failure::Failure,
    known_hosts::file_name,
    options::{HostKeyPolicy, SshOptions},
};
use deploy_core::{host::SshConnection, id::HostName};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How many hosts may lie on the way to another.
const MOST_HOPS: usize = 8;
/// How often a silent server is asked before it counts as gone, where the configuration does not say.
const ALIVE_COUNT: usize = 3;

/// All that is needed to connect to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The host's name in `known_hosts`.
    pub(crate) known_as: String,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) host_keys: HostKeyPolicy,
    pub(crate) identity_files: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    /// How long it may take to answer at all.
    pub(crate) connect_timeout: Duration,
    /// How long it may then take to let us in.
    pub(crate) login_timeout: Duration,
    pub(crate) alive_interval: Option<Duration>,
    pub(crate) alive_count: usize,
    /// The host to go through.
    pub(crate) via: Option<Box<Self>>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, address, port, .. } = self;
        match address.contains(':') {
            true => write!(f, "{user}@[{address}]:{port}")?,
            false => write!(f, "{user}@{address}:{port}")?,
        }
        self.via.as_ref().map_or(Ok(()), |via| write!(f, " via {via}"))
    }
}

impl Target {
    /// Where the host `name` with the record `record` is.
    pub(crate) fn find(
        name: &HostName,
        record: &SshConnection,
        config: &SshConfig,
        options: &SshOptions,
    ) -> Result<Self, Failure> {
        let hop = Hop {
            name: record.address.clone().unwrap_or_else(|| name.to_string()),
            user: record.user.as_ref().map(ToString::to_string),
            port: record.port,
        };
        Finder { config, options }.find(&hop, None, MOST_HOPS)
    }

    /// What two targets have in common that can share a connection.
    pub(crate) fn key(&self) -> String {
        self.to_string()
    }
}

struct Finder<'a> {
    config: &'a SshConfig,
    options: &'a SshOptions,
}

impl Finder<'_> {
    /// Where `hop` is; `through`, if it is given, goes before what the configuration says about the way there.
    fn find(&self, hop: &Hop, through: Option<&[Hop]>, hops: usize) -> Result<Target, Failure> {
        let settings = self.config.settings(&hop.name);
        let settings = settings.map_err(|err| Failure::invalid(err.to_string()))?;
        let user = self.user(hop, &settings)?;
        let port = hop.port.or(settings.port).unwrap_or(22);
        let mut tokens = Tokens { name: &hop.name, address: &hop.name, port, user: &user };
        let address = match &settings.address {
            Some(address) => tokens.replace(address, self.home())?,
            None => hop.name.clone(),
        };
        tokens.address = &address;
        let known_as = settings.known_as.as_deref().map(str::to_ascii_lowercase);
        let (options, via) = (self.options, self.via(hop, &settings, through, &tokens, hops)?);
        let connect_timeout = settings.connect_timeout.unwrap_or(options.connect_timeout);
        Ok(Target {
            known_as: known_as.unwrap_or_else(|| file_name(&address, port)),
            known_hosts: self.known_hosts(&settings, &tokens)?,
            host_keys: options.host_keys.or(settings.host_keys).unwrap_or_default(),
            identity_files: self.identity_files(&settings, &tokens)?,
            identities_only: settings.identities_only.unwrap_or(false),
            agent: self.agent(&settings, &tokens)?,
            connect_timeout,
            login_timeout: options.login_timeout.max(connect_timeout),
            alive_interval: Some(settings.alive_interval.unwrap_or(options.keepalive))
                .filter(|it| !it.is_zero()),
            alive_count: settings.alive_count.unwrap_or(ALIVE_COUNT),
            via,
            port,
            user,
            address,
        })
    }

    fn home(&self) -> Option<&Path> {
        self.options.home.as_deref()
    }

    fn user(&self, hop: &Hop, settings: &Settings) -> Result<String, Failure> {
        let given = hop.user.clone().or_else(|| settings.user.clone());
        given.or_else(|| self.options.user.as_ref().map(ToString::to_string)).ok_or_else(|| {
            Failure::invalid(format!(
                "nobody says which account to log in as on `{}`: name one in the host's record or as `User` in ssh_config",
                hop.name
            ))
        })
    }

    fn via(
        &self,
        hop: &Hop,
        settings: &Settings,
        through: Option<&[Hop]>,
        tokens: &Tokens<'_>,
        hops: usize,
    ) -> Result<Option<Box<Target>>, Failure> {
        let jumps = match (through, &settings.proxy) {
            (Some(jumps), _) => jumps,
            (None, Some(Proxy::Jumps(jumps))) => jumps,
            (None, Some(Proxy::Direct) | None) => return Ok(None),
        };
        let Some((last, before)) = jumps.split_last() else { return Ok(None) };
        let mut last = last.clone();
        last.name = tokens.replace(&last.name, self.home())?;
        // `Host *` with a `ProxyJump` is meant for all hosts but the jump host itself.
        if last.name == hop.name {
            return Ok(None);
        }
        if hops == 0 {
            let reason = "the ProxyJump of its ssh_config goes round in a circle, or is too long";
            return Err(Failure::invalid(reason));
        }
        // The first of a chain is reached the way its own configuration says.
        let before = if before.is_empty() { None } else { Some(before) };
        Ok(Some(Box::new(self.find(&last, before, hops - 1)?)))
    }

    fn known_hosts(
        &self,
        settings: &Settings,
        tokens: &Tokens<'_>,
    ) -> Result<Vec<PathBuf>, Failure> {
        if let Some(files) = &self.options.known_hosts {
            return Ok(files.clone());
        }
        let mut files = match (&settings.user_known_hosts, self.home()) {
            (Some(files), home) => tokens.paths(files, home)?,
            (None, Some(home)) => {
                ["known_hosts", "known_hosts2"].map(|it| home.join(".ssh").join(it)).to_vec()
            }
            (None, None) => Vec::new(),
        };
        files.extend(match &settings.global_known_hosts {
            Some(files) => tokens.paths(files, self.home())?,
            None => ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
                .map(PathBuf::from)
                .to_vec(),
        });
        Ok(files)
    }

    fn identity_files(
        &self,
        settings: &Settings,
        tokens: &Tokens<'_>,
    ) -> Result<Vec<PathBuf>, Failure> {
        let mut files = self.options.identity_files.clone();
        let named = settings.identity_files.iter().filter(|it| !it.eq_ignore_ascii_case("none"));
        let named: Vec<String> = named.cloned().collect();
        files.extend(tokens.paths(&named, self.home())?);
        if let Some(home) =
            self.home().filter(|_| files.is_empty() && settings.identity_files.is_empty())
        {
            files.extend(["id_ed25519", "id_ecdsa", "id_rsa"].map(|it| home.join(".ssh").join(it)));
        }
        Ok(files)
    }

    fn agent(&self, settings: &Settings, tokens: &Tokens<'_>) -> Result<Option<PathBuf>, Failure> {
        match settings.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => Ok(self.options.agent_socket.clone()),
            Some("none") => Ok(None),
            Some(path) => tokens.path(path, self.home()).map(Some),
        }
    }
}

/// What stands for `%h`, `%n`, `%p` and `%r`.
struct Tokens<'a> {
    name: &'a str,
    address: &'a str,
    port: u16,
    user: &'a str,
}

impl Tokens<'_> {
    fn replace(&self, text: &str, home: Option<&Path>) -> Result<String, Failure> {
        let mut replaced = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(it) = chars.next() {
            if it != '%' {
                replaced.push(it);
                continue;
            }
            match chars.next() {
                Some('%') => replaced.push('%'),
                Some('d') => replaced.push_str(&known_home(home)?.to_string_lossy()),
                Some('h') => replaced.push_str(self.address),
                Some('n') => replaced.push_str(self.name),
                Some('p') => replaced.push_str(&self.port.to_string()),
                Some('r') => replaced.push_str(self.user),
                other => {
                    let token = other.map_or_else(String::new, String::from);
                    return Err(Failure::invalid(format!(
                        "`%{token}` in `{text}` of ssh_config is not supported: %d, %h, %n, %p, %r and %% are"
                    )));
                }
            }
        }
        Ok(replaced)
    }

    fn path(&self, text: &str, home: Option<&Path>) -> Result<PathBuf, Failure> {
        if text.contains("${") {
            return Err(Failure::invalid(format!(
                "`{text}` of ssh_config asks for an environment variable, and none is read: write the path out"
            )));
        }
        let path = self.replace(text, home)?;
        match (path.strip_prefix("~/"), path.strip_prefix('~')) {
            (Some(rest), _) => Ok(known_home(home)?.join(rest)),
            (None, Some("")) => Ok(known_home(home)?.to_path_buf()),
            (None, Some(_)) => Err(Failure::invalid(format!(
                "`{text}` of ssh_config is in the home directory of somebody else, which is not supported: write the path out"
            ))),
            (None, None) => Ok(path.into()),
        }
    }

    fn paths(&self, texts: &[String], home: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
        texts.iter().map(|it| self.path(it, home)).collect()
    }
}

fn known_home(home: Option<&Path>) -> Result<&Path, Failure> {
    home.ok_or_else(|| {
        Failure::invalid("ssh_config speaks of the home directory, and none is known")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::error::ErrorKind;
    use std::fs;

    fn find(config: &str, record: &SshConnection) -> Result<Target, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, config).unwrap();
        let options =
            SshOptions::new().with_home("/home/me").with_user(Some("me".parse().unwrap()));
        let config = SshConfig::read(&[file], options.home.as_deref());
        Target::find(&"web".parse().unwrap(), record, &config, &options)
    }

    fn found(config: &str) -> Target {
        find(config, &SshConnection::new()).unwrap()
    }

    #[test]
    fn a_record_goes_before_the_configuration_and_that_before_the_defaults() {
        let config = "Host web 10.0.0.9\nPort 2022\nUser ops\nHostName %h.example.org\n";
        assert_eq!(found("").to_string(), "me@web:22");
        assert_eq!(found(config).to_string(), "ops@web.example.org:2022");
        let record = SshConnection::new().with_port(7).with_user("root".parse().unwrap());
        assert_eq!(find(config, &record).unwrap().to_string(), "root@web.example.org:7");
        let record = SshConnection::new().with_address("::1");
        assert_eq!(find(config, &record).unwrap().to_string(), "me@[::1]:22");
    }

    #[test]
    fn files_are_found_by_tokens_and_defaults() {
        let paths = |all: &[&str]| -> Vec<PathBuf> { all.iter().map(PathBuf::from).collect() };
        let plain = found("");
        let ssh = |name: &str| format!("/home/me/.ssh/{name}");
        assert_eq!(
            plain.identity_files,
            paths(&[&ssh("id_ed25519"), &ssh("id_ecdsa"), &ssh("id_rsa")])
        );
        assert_eq!(plain.known_hosts[..2], paths(&[&ssh("known_hosts"), &ssh("known_hosts2")]));
        let text = "IdentityFile ~/keys/%r@%h:%p\nIdentityFile %d/100%%\nUserKnownHostsFile ~/known/%n\n\
                    GlobalKnownHostsFile none\nIdentitiesOnly yes\nIdentityAgent ~/agent\n";
        let set = found(text);
        assert_eq!(set.identity_files, paths(&["/home/me/keys/me@web:22", "/home/me/100%"]));
        assert_eq!(set.known_hosts, paths(&["/home/me/known/web"]));
        assert_eq!((set.identities_only, set.agent), (true, Some("/home/me/agent".into())));
    }

    #[test]
    fn jumps_are_followed_one_through_the_other() {
        let chain = "Host web\nProxyJump a:1,root@b\nHost a\nProxyJump outer\nHost b\nHostName b.example.org\n";
        let expected = "me@web:22 via root@b.example.org:22 via me@a:1 via me@outer:22";
        assert_eq!(found(chain).to_string(), expected);
        assert_eq!(found("Host *\nProxyJump gate\n").to_string(), "me@web:22 via me@gate:22");
        assert_eq!(
            found("Host web\nProxyJump none\nHost *\nProxyJump gate\n").to_string(),
            "me@web:22"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for config in [
            "Host web\nProxyJump a\nHost a\nProxyJump b\nHost b\nProxyJump a\n",
            "IdentityFile %C\n",
            "IdentityFile x%\n",
            "IdentityFile ~bob/key\n",
            "UserKnownHostsFile ${HOME}/known\n",
        ] {
            let failure = find(config, &SshConnection::new()).unwrap_err();
            let err = failure.at("ssh.open", &"web", &"web");
            assert_eq!(err.kind(), ErrorKind::InvalidInput, "{config}: {err}");
        }
    }

    #[test]
    fn an_alias_for_the_host_key_has_no_port() {
        assert_eq!(found("Port 2022\n").known_as, "[web]:2022");
        assert_eq!(found("Port 2022\nHostKeyAlias Fleet\n").known_as, "fleet");
    }
}
