//! The keys that can be offered to a server.
use crate::known_hosts::fingerprint;
use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a file with a key is good for.
#[derive(Debug)]
pub(crate) enum KeyFile {
    /// Only an agent can use it: it is encrypted, or the file holds the public half alone.
    Locked(Option<PublicKey>),
    /// There is no such file.
    Missing,
    Usable(Arc<PrivateKey>),
    /// It cannot be used at all.
    Wrong(String),
}

impl KeyFile {
    pub(crate) fn read(path: &Path) -> Self {
        match fs::read_to_string(path) {
            Ok(text) => match Self::parse(&text, path) {
                Self::Usable(_) if others_may_read(path) => {
                    Self::Wrong(format!("others may read it: chmod 600 {}", path.display()))
                }
                file => file,
            },
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                public_half(path).map_or(Self::Missing, |key| Self::Locked(Some(key)))
            }
            Err(err) => Self::Wrong(err.to_string()),
        }
    }

    fn parse(text: &str, path: &Path) -> Self {
        if let Ok(key) = PublicKey::from_openssh(text.trim()) {
            return Self::Locked(Some(key));
        }
        if let Ok(key) = PrivateKey::from_openssh(text) {
            return if key.is_encrypted() {
                Self::Locked(Some(key.public_key().clone()))
            } else {
                Self::Usable(Arc::new(key))
            };
        }
        if text.contains("ENCRYPTED") {
            return Self::Locked(public_half(path));
        }
        match decode_secret_key(text, None) {
            Ok(key) => Self::Usable(Arc::new(key)),
            Err(err) => Self::Wrong(format!("it is no key that can be used: {err}")),
        }
    }

    fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Locked(key) => key.as_ref(),
            Self::Usable(key) => Some(key.public_key()),
            Self::Missing | Self::Wrong(_) => None,
        }
    }
}

/// As OpenSSH, which refuses a private key of the user's own that others can read.
fn others_may_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| {
        meta.uid() == rustix::process::getuid().as_raw() && meta.mode() & 0o077 != 0
    })
}

fn public_half(path: &Path) -> Option<PublicKey> {
    let mut name = OsString::from(path);
    name.push(".pub");
    PublicKey::from_openssh(fs::read_to_string(name).ok()?.trim()).ok()
}

/// A key to offer.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) key: PublicKey,
    /// `None` if the agent has to sign.
    pub(crate) private: Option<Arc<PrivateKey>>,
    /// Where it is from, for messages.
    from: String,
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", fingerprint(&self.key), self.from)
    }
}

/// What to offer, in this order, and what cannot be offered and why.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) keys: Vec<Offer>,
    pub(crate) left_out: Vec<String>,
}

impl Offers {
    /// First the keys of `files`, signed by the agent if it holds them, then, unless `files_only`, the agent's others.
    pub(crate) fn gather(
        files: &[(PathBuf, Arc<KeyFile>)],
        agent: &[PublicKey],
        files_only: bool,
    ) -> Self {
        let mut offers = Self::default();
        for (path, file) in files {
            offers.add_file(path, file, agent);
        }
        for key in agent.iter().filter(|_| !files_only) {
            if !offers.holds(key) {
                let from = "from the agent".into();
                offers.keys.push(Offer { key: key.clone(), private: None, from });
            }
        }
        offers
    }

    fn add_file(&mut self, path: &Path, file: &KeyFile, agent: &[PublicKey]) {
        let path = path.display();
        let in_agent = |key: &PublicKey| agent.iter().any(|it| it.key_data() == key.key_data());
        let offer = match (file, file.public()) {
            (_, Some(key)) if in_agent(key) => {
                Offer { key: key.clone(), private: None, from: format!("{path}, from the agent") }
            }
            (KeyFile::Usable(private), Some(key)) => {
                let (key, private) = (key.clone(), Some(Arc::clone(private)));
                Offer { key, private, from: path.to_string() }
            }
            (KeyFile::Locked(_), _) => {
                let why = "it is encrypted, and the agent does not hold it";
                return self.left_out.push(format!("{path}: {why} (ssh-add {path})"));
            }
            (KeyFile::Wrong(why), _) => return self.left_out.push(format!("{path}: {why}")),
            (KeyFile::Missing | KeyFile::Usable(_), _) => return,
        };
        if !self.holds(&offer.key) {
            self.keys.push(offer);
        }
    }

    fn holds(&self, key: &PublicKey) -> bool {
        self.keys.iter().any(|it| it.key.key_data() == key.key_data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt as _, process::Command};

    fn generate(path: &Path, arguments: &[&str]) -> KeyFile {
        let made = Command::new("ssh-keygen").args(["-q", "-f"]).arg(path).args(arguments).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{made:?}");
        KeyFile::read(path)
    }

    #[test]
    fn reads_the_keys_that_ssh_keygen_writes() {
        let dir = tempfile::tempdir().unwrap();
        for (at, arguments) in [
            &["-t", "ed25519"][..],
            &["-t", "ecdsa", "-b", "256"],
            &["-t", "ecdsa", "-b", "384"],
            &["-t", "ecdsa", "-b", "521"],
            &["-t", "rsa", "-b", "2048"],
            &["-t", "rsa", "-b", "2048", "-m", "PEM"],
            &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
            &["-t", "ecdsa", "-b", "256", "-m", "PEM"],
            &["-t", "ecdsa", "-b", "256", "-m", "PKCS8"],
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.path().join(at.to_string());
            let file = generate(&path, &[arguments, &["-N", ""]].concat());
            assert!(matches!(file, KeyFile::Usable(_)), "{arguments:?}: {file:?}");
            let public = public_half(&path).unwrap();
            assert_eq!(file.public().unwrap().key_data(), public.key_data(), "{arguments:?}");
        }
    }

    #[test]
    fn an_encrypted_key_is_for_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        for (at, arguments) in
            [&["-t", "ed25519"][..], &["-t", "rsa", "-m", "PEM"]].into_iter().enumerate()
        {
            let path = dir.path().join(at.to_string());
            let file = generate(&path, &[arguments, &["-N", "secret"]].concat());
            let KeyFile::Locked(Some(public)) = &file else { panic!("{arguments:?}: {file:?}") };
            let public = public.clone();
            let files = [(path, Arc::new(file))];
            let without = Offers::gather(&files, &[], true);
            assert!(
                without.keys.is_empty() && without.left_out[0].contains("encrypted"),
                "{without:?}"
            );
            let with = Offers::gather(&files, &[public], true);
            assert_eq!(with.keys.len(), 1);
            assert!(with.keys[0].private.is_none() && with.left_out.is_empty());
        }
    }

    #[test]
    fn keys_of_files_go_before_those_of_the_agent_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, three] = ["1", "2", "3"].map(|name| {
            let path = dir.path().join(name);
            let file = generate(&path, &["-t", "ed25519", "-N", ""]);
            (path, Arc::new(file))
        });
        let agent = [three.1.public().unwrap().clone(), two.1.public().unwrap().clone()];
        let private = |offers: &Offers| -> Vec<bool> {
            offers.keys.iter().map(|it| it.private.is_some()).collect()
        };
        let offers = Offers::gather(&[one.clone(), two.clone(), one.clone()], &agent, false);
        assert_eq!(private(&offers), [true, false, false]);
        assert_eq!(private(&Offers::gather(&[one, two], &agent, true)), [true, false]);
    }

    #[test]
    fn a_key_that_others_may_read_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        generate(&path, &["-t", "ed25519", "-N", ""]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyFile::read(&path), KeyFile::Wrong(why) if why.contains("chmod 600")));
        assert!(matches!(KeyFile::read(&dir.path().join("none")), KeyFile::Missing));
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(KeyFile::read(&path), KeyFile::Wrong(_)));
        let public = path.with_extension("pub");
        assert!(
            matches!(KeyFile::read(&public), KeyFile::Locked(Some(_))),
            "the public half alone"
        );
    }
}
