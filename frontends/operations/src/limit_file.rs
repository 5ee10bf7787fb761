//! The limits that people have set, in a file.
use crate::problem::io_problem;
use deploy_core::{
    id::RolloutId,
    limit::{LimitScope, LimitTable},
};
use deploy_wire::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use tokio::{sync::watch, task::spawn_blocking};

/// The form of the file.
const FORMAT: u32 = 1;
/// The largest file that is read, in bytes: far more than there can be limits.
const LARGEST: u64 = 4 << 20;

/// The limits of a control plane, in a file of its data folder. It is written whole or not at all, by one process at a time.
#[derive(Debug)]
pub struct LimitFile {
    path: PathBuf,
    usual_origin: Option<NonZeroU32>,
    newest: watch::Sender<LimitTable>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    limits: LimitTable,
}

impl LimitFile {
    /// In the file `path`, which need not be there. Its folder has to be.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let newest = watch::Sender::new(LimitTable::new());
        Self { path: path.into(), usual_origin: None, newest }
    }

    /// Of a server that gives so many megabits a second where nobody has set anything else.
    #[must_use]
    pub const fn with_usual_origin(mut self, mbit: Option<NonZeroU32>) -> Self {
        self.usual_origin = mbit;
        self
    }

    /// What the server gives where nobody has set anything else, in megabits a second.
    #[must_use]
    pub const fn usual_origin(&self) -> Option<NonZeroU32> {
        self.usual_origin
    }

    /// The limits as this process has read or changed them last, and each change from then on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<LimitTable> {
        self.newest.subscribe()
    }

    /// The limits as they are now, whichever process has set them.
    ///
    /// # Errors
    /// If the file cannot be read, or is not what it should be.
    pub async fn read(&self) -> Result<LimitTable, Problem> {
        let path = self.path.clone();
        let table = blocking(move || read(&path)).await?;
        self.told(&table);
        Ok(table)
    }

    /// Changes the limits, and gives what `change` gives. Nothing is written if that is an error.
    ///
    /// # Errors
    /// Those of `change`, and if the file cannot be read or written.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut LimitTable) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let path = self.path.clone();
        let (table, changed) = blocking(move || {
            let failed = |err: &io::Error| io_problem(path.display(), err);
            let folder = path.parent().unwrap_or_else(|| Path::new("."));
            // Held until this is over: two that change different limits both have their way.
            let alone = File::open(folder).and_then(|it| it.lock().map(|()| it));
            let _alone = alone.map_err(|err| failed(&err))?;
            let mut table = read(&path)?;
            let before = table.clone();
            let changed = change(&mut table)?;
            if table != before {
                write(&path, &table).map_err(|err| failed(&err))?;
            }
            Ok((table, changed))
        })
        .await?;
        self.told(&table);
        Ok(changed)
    }

    /// Forgets the limits of rollouts that are over.
    pub(crate) async fn forget(&self, over: Vec<RolloutId>) -> Result<(), Problem> {
        self.change(move |table| {
            for rollout in over {
                table.remove(&LimitScope::Rollout(rollout));
            }
            Ok(())
        })
        .await
    }

    fn told(&self, table: &LimitTable) {
        self.newest.send_if_modified(|known| {
            let changed = known != table;
            known.clone_from(table);
            changed
        });
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let lost = |err| Problem::new(ProblemCode::Internal, format!("limits: {err}"));
    spawn_blocking(work).await.map_err(lost)?
}

fn read(path: &Path) -> Result<LimitTable, Problem> {
    let failed = |err: &io::Error| io_problem(path.display(), err);
    let corrupt = |why: String| {
        let message = format!("{}: no limits can be read from this file: {why}", path.display());
        Problem::new(ProblemCode::Corrupt, message)
            .with_hint("mend the file, or move it away and set the limits again")
            .with_context("file", path.display())
    };
    let length = match fs::metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(LimitTable::new()),
        found => found.map_err(|err| failed(&err))?.len(),
    };
    if length > LARGEST {
        return Err(corrupt(format!("it has {length} bytes")));
    }
    let bytes = fs::read(path).map_err(|err| failed(&err))?;
    let written: Written =
        serde_json::from_slice(&bytes).map_err(|err| corrupt(err.to_string()))?;
    if written.format != FORMAT {
        return Err(corrupt(format!("its format is {}, and {FORMAT} is known", written.format)));
    }
    Ok(written.limits)
}

fn write(path: &Path, limits: &LimitTable) -> io::Result<()> {
    let written = Written { format: FORMAT, limits: limits.clone() };
    let bytes = serde_json::to_vec_pretty(&written)?;
    let partial = path.with_extension("part");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), |it| File::open(it)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{limit::Limit, time::Timestamp};
    use std::sync::Arc;
    use tokio::task::JoinSet;

    fn limit(mbit: u32) -> Limit {
        let (by, at) = ("ann".parse().unwrap(), Timestamp::from_millis(1_700_000_000_000));
        Limit::new(mbit.try_into().unwrap(), by, at)
    }

    fn file() -> (tempfile::TempDir, LimitFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = LimitFile::new(dir.path().join("limits.json"));
        (dir, file)
    }

    async fn set(file: &LimitFile, scope: &str, mbit: u32) {
        let scope = scope.parse().unwrap();
        file.change(move |it| Ok(it.insert(scope, limit(mbit)))).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_set_is_there_for_whoever_reads_next() {
        let (dir, file) = file();
        assert!(file.read().await.unwrap().is_empty());
        let mut told = file.subscribe();
        set(&file, "origin", 500).await;
        assert!(told.has_changed().unwrap());
        let other = LimitFile::new(dir.path().join("limits.json"));
        set(&other, "host=h1", 50).await;
        told.mark_unchanged();
        let all = file.read().await.unwrap();
        assert_eq!(all.keys().map(ToString::to_string).collect::<Vec<_>>(), ["host=h1", "origin"]);
        assert!(told.has_changed().unwrap(), "what another process sets is seen");
        file.forget(vec!["r1".parse().unwrap()]).await.unwrap();
        assert_eq!(file.read().await.unwrap(), all);
    }

    #[tokio::test]
    async fn nobody_writes_over_what_another_sets_at_the_same_time() {
        let (_dir, file) = file();
        let file = Arc::new(file);
        let mut setting = JoinSet::new();
        for number in 0..16 {
            let file = LimitFile::new(file.path.clone());
            setting.spawn(async move { set(&file, &format!("host=h{number}"), 1).await });
        }
        setting.join_all().await;
        assert_eq!(file.read().await.unwrap().len(), 16);
    }

    #[tokio::test]
    async fn what_is_no_table_is_said_to_be_none_and_stays_as_it_is() {
        let (_dir, file) = file();
        for wrong in
            ["", "{", "{\"format\":2,\"limits\":{}}", "{\"format\":1,\"limits\":{\"x\":{}}}"]
        {
            fs::write(&file.path, wrong).unwrap();
            let problem = file.read().await.unwrap_err();
            assert_eq!(problem.code, ProblemCode::Corrupt, "{wrong}");
            assert!(problem.message.contains("limits.json"), "{problem}");
            let changed = file.change(|it| Ok(it.pop_first())).await;
            assert_eq!(changed.unwrap_err().code, ProblemCode::Corrupt);
            assert_eq!(fs::read_to_string(&file.path).unwrap(), wrong);
        }
    }
}
