//! `collect`: what the steps of an attempt have left is given, a piece at a time.
use super::{
    Host,
    answers::{failing, invalid},
};
use crate::spec::{Place, check_token};
use deploy_agent_protocol::{
    LONGEST_PIECE,
    v1::{Collect, Collected, Refused, answer::Kind},
};
use deploy_core::id::OutputName;
use rustix::{
    fs::{CWD, Mode, OFlags, fstat, openat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::Path,
};
use tokio::task::spawn_blocking;

impl Host {
    pub(super) async fn collect(&self, collect: &Collect) -> Result<Kind, Refused> {
        let place = Place::parse(collect.place.as_ref())?;
        let key = place.attempt(collect.generation)?;
        check_token(&collect.token)?;
        let output: OutputName = collect.output.parse().map_err(invalid)?;
        match self.attempt(&key).await? {
            Some(it) if it.token != collect.token => {
                return Err(invalid("an attempt of that generation has another token"));
            }
            Some(_) => {}
            None => return Ok(Kind::Collected(Collected::default())),
        }
        let folder = self.folder(&key).outputs();
        let limit = usize::try_from(collect.limit).unwrap_or(usize::MAX).min(LONGEST_PIECE);
        let offset = collect.offset;
        let read = spawn_blocking(move || piece(&folder, &output, offset, limit)).await;
        Ok(Kind::Collected(read.map_err(failing)?.map_err(failing)?))
    }
}

/// A piece of a file in a folder that is an account's: what is in there may be anything, and may become something else at any time.
fn piece(folder: &Path, output: &OutputName, offset: u64, limit: usize) -> io::Result<Collected> {
    let Some((mut file, owner)) = open(folder, output)? else { return Ok(Collected::default()) };
    let meta = file.metadata()?;
    // The agent may read files that the account may not, and a link to one can be put there.
    if !meta.is_file() || meta.uid() != owner {
        return Ok(Collected::default());
    }
    if offset >= meta.len() {
        return Ok(Collected { found: true, size: meta.len(), bytes: Vec::new() });
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(Collected { found: true, size: meta.len(), bytes })
}

/// Opens a file without following a link to it, and without waiting for the other end of a pipe; gives the owner of the folder with it.
fn open(folder: &Path, output: &OutputName) -> io::Result<Option<(File, u32)>> {
    let closed = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = openat(CWD, folder, closed | OFlags::DIRECTORY | OFlags::PATH, Mode::empty())
        .and_then(|folder| {
            let flags = closed | OFlags::RDONLY | OFlags::NONBLOCK;
            let file = openat(&folder, output.as_str(), flags, Mode::empty())?;
            Ok((File::from(file), fstat(&folder)?.st_uid))
        });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
    };

    fn found(folder: &Path, output: &str) -> bool {
        piece(folder, &output.parse().unwrap(), 0, 10).unwrap().found
    }

    #[test]
    fn only_plain_files_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"0123456789").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(folder.path(), at("elsewhere")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert!(found(folder.path(), "file"));
        for output in ["link", "folder", "pipe", "socket", "nothing"] {
            assert!(!found(folder.path(), output), "{output}");
        }
        assert!(!found(&at("elsewhere"), "file"), "a link to a folder was followed");
    }

    #[test]
    fn a_piece_is_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"0123456789").unwrap();
        let get = |offset, limit| {
            let piece = piece(folder.path(), &"file".parse().unwrap(), offset, limit).unwrap();
            assert_eq!(piece.size, 10);
            piece.bytes
        };
        assert_eq!(get(3, 4), b"3456");
        assert_eq!(get(8, 100), b"89");
        assert_eq!(get(10, 100), b"");
        assert_eq!(get(u64::from(u32::MAX), 100), b"");
        assert_eq!(get(u64::MAX, 100), b"");
    }

    #[test]
    fn files_of_others_are_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"0123456789").unwrap();
        assert!(found(folder.path(), "file"));
        // Only root can give files away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(1), None).unwrap();
            assert!(!found(folder.path(), "file"));
        }
    }
}
