use crate::{
    arg::{Arg, int, limit},
    database::Database,
    row::{Damage, Row},
    store::{Store, Transaction},
};
use async_trait::async_trait;
use deploy_core::{
    backend::{LogChunk, LogPosition, LogQuery, LogStore},
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, RolloutId, Seq},
    time::Timestamp,
};
use std::collections::{BTreeMap, btree_map::Entry};

const APPEND: &str = "log.append";

/// Keeps the output of attempts in SQL. Chunks that are appended together are one transaction.
#[derive(Clone, Debug)]
pub struct SqlLogStore {
    store: Store,
}

impl SqlLogStore {
    /// The logs beside `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.logs().clone() }
    }
}

#[async_trait]
impl LogStore for SqlLogStore {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let mut transaction = self.store.begin(APPEND).await?;
        let mut batch = Batch::default();
        let stored = batch.append(&self.store, &mut transaction, chunks).await;
        // What came before a bad chunk is kept; what the database refused is not.
        let bad = transaction.finish(stored).await?;
        bad.map_or(Ok(()), Err)
    }

    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64> {
        const LENGTH: &str = "log.length";
        let generation = int(LENGTH, "generation", generation.get())?;
        let args = [rollout.as_str().into(), host.as_str().into(), generation.into()];
        let rows = self.store.fetch(LENGTH, SELECT_LENGTH, &args).await?;
        let lengths =
            self.store.place(LENGTH, "log_attempts").decode_all(&rows, |row| row.number(1))?;
        Ok(lengths.into_iter().next().unwrap_or(0))
    }

    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>> {
        const READ: &str = "log.read";
        const ALL: &str = "SELECT rollout, position, host, generation, start, at, bytes FROM log_chunks \
             WHERE rollout = $1 AND position > $2 AND ($3 IS NULL OR generation = $3) \
             ORDER BY position LIMIT $4";
        const OF_HOST: &str = "SELECT rollout, position, host, generation, start, at, bytes FROM log_chunks \
             WHERE rollout = $1 AND position > $2 AND ($3 IS NULL OR generation = $3) AND host = $5 \
             ORDER BY position LIMIT $4";
        let generation =
            query.generation.map(|it| int(READ, "generation", it.get())).transpose()?;
        // No chunk lies past what a column can hold.
        let after = i64::try_from(query.after.get()).unwrap_or(i64::MAX);
        let rollout = query.rollout.as_str().into();
        let most = limit(query.limit);
        let rows = match &query.host {
            None => {
                let args = [rollout, after.into(), generation.into(), most];
                self.store.fetch(READ, ALL, &args).await?
            }
            Some(host) => {
                let args = [rollout, after.into(), generation.into(), most, host.as_str().into()];
                self.store.fetch(READ, OF_HOST, &args).await?
            }
        };
        self.store.place(READ, "log_chunks").decode_all(&rows, decode_chunk)
    }
}

const SELECT_LENGTH: &str = "SELECT rollout, length FROM log_attempts \
     WHERE rollout = $1 AND host = $2 AND generation = $3";

type Attempt<'a> = (&'a RolloutId, &'a HostName, Seq);

/// Chunks on their way into the database.
#[derive(Default)]
struct Batch<'a> {
    positions: BTreeMap<&'a RolloutId, i64>,
    lengths: BTreeMap<Attempt<'a>, u64>,
    rows: Vec<Arg<'a>>,
}

impl<'a> Batch<'a> {
    /// Gives the error of the first bad chunk, if there is one: one that leaves a gap, or has numbers that no column holds.
    async fn append(
        &mut self,
        store: &Store,
        transaction: &mut Transaction,
        chunks: &'a [LogChunk],
    ) -> BackendResult<Option<BackendError>> {
        self.lock(store, transaction, chunks).await?;
        let mut bad = None;
        for chunk in chunks {
            if let Err(err) = self.add(store, transaction, chunk).await {
                if !matches!(err.kind(), ErrorKind::Conflict | ErrorKind::InvalidInput) {
                    return Err(err);
                }
                bad = Some(err);
                break;
            }
        }
        self.write(transaction).await?;
        Ok(bad)
    }

    /// Reads the last position of every rollout and keeps other writers from giving out more: a reader goes by position,
    /// and would miss a chunk that shows up behind one it has seen. In order, so that two writers never wait for each
    /// other.
    async fn lock(
        &mut self,
        store: &Store,
        transaction: &mut Transaction,
        chunks: &'a [LogChunk],
    ) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO log_rollouts (rollout, position) VALUES ($1, 0) \
             ON CONFLICT (rollout) DO UPDATE SET position = log_rollouts.position \
             RETURNING rollout, position";
        self.positions = chunks.iter().map(|it| (&it.rollout, 0)).collect();
        for (rollout, position) in &mut self.positions {
            let rows = transaction.fetch(SQL, &[rollout.as_str().into()]).await?;
            let found = store.place(APPEND, "log_rollouts").decode_all(&rows, |row| row.int(1))?;
            *position = found.into_iter().next().unwrap_or(0);
        }
        Ok(())
    }

    async fn add(
        &mut self,
        store: &Store,
        transaction: &mut Transaction,
        chunk: &'a LogChunk,
    ) -> BackendResult<()> {
        let generation = int(APPEND, "generation", chunk.generation.get())?;
        let length = match self.lengths.entry((&chunk.rollout, &chunk.host, chunk.generation)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let args =
                    [chunk.rollout.as_str().into(), chunk.host.as_str().into(), generation.into()];
                let rows = transaction.fetch(SELECT_LENGTH, &args).await?;
                let found =
                    store.place(APPEND, "log_attempts").decode_all(&rows, |row| row.number(1))?;
                unknown.insert(found.into_iter().next().unwrap_or(0))
            }
        };
        let Some(known) = length.checked_sub(chunk.offset) else {
            return Err(gap(chunk, *length));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let new = chunk.bytes.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        let start = int(APPEND, "offset", *length)?;
        let at = int(APPEND, "at", chunk.at.as_millis())?;
        let end = length.saturating_add(u64::try_from(new.len()).unwrap_or(u64::MAX));
        int(APPEND, "end", end)?;
        *length = end;
        let position = self.positions.entry(&chunk.rollout).or_default();
        *position += 1;
        let row: [Arg<'_>; 7] = [
            chunk.rollout.as_str().into(),
            (*position).into(),
            chunk.host.as_str().into(),
            generation.into(),
            start.into(),
            at.into(),
            new.into(),
        ];
        self.rows.extend(row);
        Ok(())
    }

    async fn write(&self, transaction: &mut Transaction) -> BackendResult<()> {
        const CHUNKS: &str =
            "INSERT INTO log_chunks (rollout, position, host, generation, start, at, bytes)";
        const LENGTH: &str = "INSERT INTO log_attempts (rollout, host, generation, length) \
             VALUES ($1, $2, $3, $4) \
             ON CONFLICT (rollout, host, generation) DO UPDATE SET length = excluded.length";
        const POSITION: &str = "UPDATE log_rollouts SET position = $2 WHERE rollout = $1";
        transaction.insert(CHUNKS, 7, &self.rows).await?;
        for ((rollout, host, generation), length) in &self.lengths {
            let generation = int(APPEND, "generation", generation.get())?;
            let length = int(APPEND, "length", *length)?;
            let args =
                [rollout.as_str().into(), host.as_str().into(), generation.into(), length.into()];
            transaction.execute(LENGTH, &args).await?;
        }
        for (rollout, position) in &self.positions {
            transaction.execute(POSITION, &[rollout.as_str().into(), (*position).into()]).await?;
        }
        Ok(())
    }
}

fn gap(chunk: &LogChunk, length: u64) -> BackendError {
    BackendError::new(ErrorKind::Conflict, APPEND)
        .with("rollout", &chunk.rollout)
        .with("host", &chunk.host)
        .with("generation", chunk.generation)
        .with("offset", chunk.offset)
        .with("length", length)
}

fn decode_chunk(row: &Row) -> Result<(LogPosition, LogChunk), Damage> {
    let chunk = LogChunk::new(
        row.text(0)?.parse()?,
        row.text(2)?.parse()?,
        Seq::new(row.number(3)?),
        row.number(4)?,
        Timestamp::from_millis(row.number(5)?),
        row.bytes(6)?,
    );
    Ok((LogPosition::new(row.number(1)?), chunk))
}
