//! Adding the key of a new host, for [`HostKeyPolicy::AcceptNew`](crate::HostKeyPolicy::AcceptNew).
use super::{KnownHosts, KnownKeys, Verdict, fingerprint};
use russh::keys::PublicKey;
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Writes `key` down as the key of the host that `known` is about, on which nothing is known yet.
///
/// Whoever else does the same waits: the file is locked, and looked through again first. The line is written in one piece and
/// is on the disk before this returns.
pub(crate) fn append(known: &KnownKeys, key: &PublicKey) -> io::Result<()> {
    if known.name.contains(|it: char| it.is_whitespace() || ",*?!#|@".contains(it)) {
        return Err(io::Error::other(format!("`{}` cannot be written there", known.name)));
    }
    let Some(path) = known.files.first() else {
        return Err(io::Error::other("there is no known_hosts file to write the key into"));
    };
    let mut file = open(path)?;
    file.lock()?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(
            "not a file: a key that is forgotten at once protects nothing",
        ));
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let meanwhile = KnownHosts::parse(&text, path).lookup(&known.name);
    let meanwhile = KnownKeys { keys: meanwhile, ..known.clone() };
    match meanwhile.judge(key) {
        Verdict::Trusted => return Ok(()),
        Verdict::Unknown { .. } => {}
        Verdict::Changed(_) | Verdict::Revoked(_) => {
            let found = fingerprint(key);
            return Err(io::Error::other(format!("meanwhile it has another key than {found}")));
        }
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let key = key.to_openssh().map_err(io::Error::other)?;
    let mut words = key.split(' ');
    let (algorithm, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    file.write_all(format!("{gap}{} {algorithm} {body}\n", known.name).as_bytes())?;
    file.sync_data()
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
        && !folder.exists()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}
