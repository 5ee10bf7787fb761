use super::{missing, run};
use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A running `ssh-agent`.
#[derive(Debug)]
pub struct SshAgent {
    folder: TempDir,
    child: Child,
}

impl SshAgent {
    /// Starts an agent without keys.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("agent-").tempdir()?;
        let mut child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(folder.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|err| missing(&err, "ssh-agent", "openssh-client"))?;
        // It says where its socket is once it is there.
        let said = child.stdout.take().map(BufReader::new);
        let mut line = String::new();
        let read = said.map_or(Ok(0), |mut it| it.read_line(&mut line))?;
        let agent = Self { folder, child };
        if read == 0 {
            return Err(io::Error::other("ssh-agent has ended at once"));
        }
        Ok(agent)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Gives it the private key `key`, encrypted with `passphrase` or, if that is empty, not encrypted.
    ///
    /// # Errors
    /// If it does not take it.
    pub fn add(&self, key: &Path, passphrase: &str) -> io::Result<()> {
        // ssh-add asks a program for the passphrase, and is told that there is a display to ask on.
        let ask = self.folder.path().join("ask");
        // It answers once: ssh-add would ask for ever.
        fs::write(&ask, "#!/bin/sh\nrm \"$0\" && printf '%s\\n' \"$PASSPHRASE\"\n")?;
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700))?;
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", self.socket()).env("SSH_ASKPASS", &ask);
        add.env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", ":none")
            .env("PASSPHRASE", passphrase);
        run(&mut add).map(drop)
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sshd::generate_key;

    #[test]
    fn an_agent_holds_keys() {
        let agent = SshAgent::start().unwrap();
        let key = agent.folder.path().join("key");
        generate_key(&key, "ed25519", "secret").unwrap();
        assert!(agent.add(&key, "wrong").is_err());
        agent.add(&key, "secret").unwrap();
        let listed =
            run(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", agent.socket())).unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains("ED25519"));
    }
}
