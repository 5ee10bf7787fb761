//! Accounts of the host.
use deploy_core::id::AccountName;
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist, setgroups, setresgid, setresuid, setuid};
use std::{ffi::CString, io};

/// An account, as it is in the host's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
    pub(crate) shell: String,
}

impl Account {
    /// The account `name`, or that of this process.
    pub(crate) fn find(name: Option<&AccountName>) -> io::Result<Option<Self>> {
        let user = match name {
            Some(name) => User::from_name(name.as_str())?,
            None => User::from_uid(geteuid())?,
        };
        Ok(user.map(|it| Self {
            name: it.name,
            uid: it.uid.as_raw(),
            gid: it.gid.as_raw(),
            home: it.dir.to_string_lossy().into_owned(),
            shell: it.shell.to_string_lossy().into_owned(),
        }))
    }

    /// Whether this process is it.
    pub(crate) fn is_own(&self) -> bool {
        self.uid == geteuid().as_raw()
    }

    /// All the groups that it is in.
    pub(crate) fn groups(&self) -> io::Result<Vec<u32>> {
        let name = CString::new(self.name.as_str())?;
        let groups = getgrouplist(&name, Gid::from_raw(self.gid))?;
        Ok(groups.into_iter().map(Gid::as_raw).collect())
    }
}

/// Makes this process run as somebody else, for good. It must have no other thread.
pub(crate) fn become_account(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    if !uid.is_root() && (setuid(Uid::from_raw(0)).is_ok() || geteuid() != uid) {
        return Err(io::Error::other("root could be had again"));
    }
    Ok(())
}
