//! What opens a repository, given to git by the names of files alone.
use crate::{ended::Ended, log::Log, secrets::Secret};
use deploy_core::{
    backend::{BuildFailure, BuildFault},
    spec::{GitRemote, GitTransport},
};
use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Who one is for a server that was given nothing but a token: all of the large ones take any name.
const ANYBODY: &[u8] = b"token";
/// Answers the two questions of git from the files beside it.
const ASKPASS: &str = "#!/bin/sh\ncase \"$1\" in\nUsername*) cat \"${0%/*}/username\" ;;\n*) cat \"${0%/*}/password\" ;;\nesac\n";

/// The files of one fetch, in a folder that goes away afterwards.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    /// A folder of this process alone.
    pub(super) folder: &'a Path,
    /// The keys of SSH servers that are trusted.
    pub(super) known_hosts: &'a Path,
}

impl Keys<'_> {
    /// What git finds in its environment, to speak to `remote` at `address`. Secrets are in files, and only the names of those are told.
    pub(super) fn environment(
        &self,
        remote: &GitRemote,
        address: Option<IpAddr>,
        secret: Option<&Secret>,
        log: &Log,
    ) -> Result<Vec<(OsString, OsString)>, Ended> {
        if let Some(secret) = secret {
            log.mask(secret);
        }
        match (remote.transport(), secret) {
            (GitTransport::Https, Some(secret)) => {
                Ok(vec![("GIT_ASKPASS".into(), self.askpass(secret, log)?.into())])
            }
            (GitTransport::Ssh, secret) => {
                Ok(vec![("GIT_SSH_COMMAND".into(), self.ssh(remote, address, secret)?.into())])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// `USER:PASSWORD`, or a token alone.
    fn askpass(&self, secret: &Secret, log: &Log) -> Result<PathBuf, Ended> {
        let bytes = secret.reveal();
        let at = bytes.iter().position(|it| *it == b':');
        let (user, password) = match at.and_then(|at| bytes.split_at_checked(at)) {
            Some((user, rest)) => (user, rest.get(1..).unwrap_or_default()),
            None => (ANYBODY, bytes),
        };
        if let Some(password) = Secret::new(password.to_vec()) {
            log.mask(&password);
        }
        self.write("username", user, 0o600)?;
        self.write("password", password, 0o600)?;
        Ok(self.write("askpass", ASKPASS.as_bytes(), 0o700)?)
    }

    fn ssh(
        &self,
        remote: &GitRemote,
        address: Option<IpAddr>,
        secret: Option<&Secret>,
    ) -> Result<String, Ended> {
        let known = quoted(self.known_hosts);
        let mut command = format!(
            "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known} -o GlobalKnownHostsFile=none -o IdentityAgent=none"
        );
        if let (Some(address), Some(host)) = (address, remote.host()) {
            let port = remote.port().filter(|it| *it != 22);
            let alias = port.map_or_else(|| host.to_owned(), |port| format!("[{host}]:{port}"));
            command.push_str(&format!(
                " -o HostName={address} -o HostKeyAlias={}",
                quoted(Path::new(&alias))
            ));
        }
        if let Some(secret) = secret {
            if !secret.reveal().starts_with(b"-----BEGIN ") {
                let message = "the credential of a source over SSH has to be a private key that no passphrase locks";
                return Err(BuildFailure::new(BuildFault::SecretMissing, message).into());
            }
            let key = [secret.reveal(), b"\n"].concat();
            let key = self.write("key", &key, 0o600)?;
            command.push_str(&format!(" -o IdentitiesOnly=yes -i {}", quoted(&key)));
        } else {
            // The account that builds may have keys of its own, which are not the service's.
            command.push_str(" -o IdentitiesOnly=yes -o IdentityFile=none");
        }
        Ok(command)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
        file.write_all(bytes)?;
        Ok(path)
    }
}

/// As one word for the shell that git runs the command by.
fn quoted(path: &Path) -> String {
    deploy_host::quote::quote(&path.to_string_lossy())
}
