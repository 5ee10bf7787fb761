//! Where channels lead, in two tables: the newest revision of each, and every move.
use crate::{
    arg::{Arg, int, limit},
    body::{Body, FORMAT, decode},
    registry::SqlServiceRegistry,
    row::{Damage, Row},
    store::Transaction,
};
use deploy_core::{
    backend::{ChannelKey, ChannelMove, Expect, Revision, Versioned},
    error::{BackendError, BackendResult, ErrorKind},
};

pub(crate) const MOVE: &str = "registry.move_channel";

const SELECT_REVISION: &str =
    "SELECT revision FROM channels WHERE repository = $1 AND kind = $2 AND name = $3";

impl SqlServiceRegistry {
    pub(crate) async fn set_channel(
        &self,
        transaction: &mut Transaction,
        moved: &ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const INSERT: &str = "INSERT INTO channel_moves \
             (repository, kind, name, revision, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let body = Body::encode(MOVE, FORMAT, moved)?;
        let [format, checksum, json] = body.args();
        let revision = self.advance_channel(transaction, &moved.channel, expect).await?;
        let [repository, kind, name] = columns(&moved.channel);
        let number = int(MOVE, "revision", revision.get())?.into();
        let args = [repository, kind, name, number, format, checksum, json];
        transaction.execute(INSERT, &args).await?;
        Ok(revision)
    }

    /// Compares and sets the revision.
    async fn advance_channel(
        &self,
        transaction: &mut Transaction,
        key: &ChannelKey,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const FIRST: &str = "INSERT INTO channels (repository, kind, name, revision) \
             VALUES ($1, $2, $3, 1) ON CONFLICT (repository, kind, name) DO NOTHING";
        const NEXT: &str = "UPDATE channels SET revision = revision + 1 \
             WHERE repository = $1 AND kind = $2 AND name = $3 AND revision = $4";
        let error = |kind| self.store.error(kind, MOVE).with("channel", key);
        let columns = columns(key);
        let [repository, kind, name] = columns;
        match expect {
            Expect::Absent => match transaction.execute(FIRST, &columns).await? {
                0 => Err(error(ErrorKind::AlreadyExists)),
                _ => Ok(Revision::new(1)),
            },
            Expect::At(expected) => {
                // A revision that no column can hold is none that is there.
                let number = i64::try_from(expected.get()).unwrap_or(i64::MAX);
                let args = [repository, kind, name, number.into()];
                if transaction.execute(NEXT, &args).await? > 0 {
                    return Ok(Revision::new(expected.get() + 1));
                }
                match transaction.fetch_optional(SELECT_REVISION, &columns).await? {
                    Some(_) => Err(error(ErrorKind::Conflict).with("expected", expected)),
                    None => Err(error(ErrorKind::NotFound)),
                }
            }
        }
    }

    pub(crate) async fn newest_move(
        &self,
        key: &ChannelKey,
    ) -> BackendResult<Versioned<ChannelMove>> {
        const CHANNEL: &str = "registry.channel";
        const SQL: &str = "SELECT m.revision, m.format, m.checksum, m.body, m.repository, m.kind, m.name \
             FROM channels c JOIN channel_moves m ON m.repository = c.repository AND m.kind = c.kind \
             AND m.name = c.name AND m.revision = c.revision \
             WHERE c.repository = $1 AND c.kind = $2 AND c.name = $3";
        let found = self.fetch_moves(CHANNEL, SQL, &columns(key)).await?;
        found.into_iter().next().ok_or_else(|| self.missing_channel(CHANNEL, key))
    }

    pub(crate) async fn newest_moves(
        &self,
        after: Option<&ChannelKey>,
        most: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        const SQL: &str = "SELECT m.revision, m.format, m.checksum, m.body, m.repository, m.kind, m.name \
             FROM channels c JOIN channel_moves m ON m.repository = c.repository AND m.kind = c.kind \
             AND m.name = c.name AND m.revision = c.revision \
             WHERE (c.repository, c.kind, c.name) > ($1, $2, $3) \
             ORDER BY c.repository, c.kind, c.name LIMIT $4";
        // Every name is greater than the empty text, which is none.
        let [repository, kind, name] = after.map_or_else(|| ["".into(); 3], columns);
        self.fetch_moves("registry.channels", SQL, &[repository, kind, name, limit(most)]).await
    }

    pub(crate) async fn moves(
        &self,
        key: &ChannelKey,
        most: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        const HISTORY: &str = "registry.channel_history";
        const SQL: &str = "SELECT revision, format, checksum, body, repository, kind, name \
             FROM channel_moves WHERE repository = $1 AND kind = $2 AND name = $3 \
             ORDER BY revision DESC LIMIT $4";
        let columns = columns(key);
        let [repository, kind, name] = columns;
        let args = [repository, kind, name, limit(most)];
        let found = self.fetch_moves(HISTORY, SQL, &args).await?;
        if found.is_empty()
            && self.store.fetch_optional(HISTORY, SELECT_REVISION, &columns).await?.is_none()
        {
            return Err(self.missing_channel(HISTORY, key));
        }
        Ok(found)
    }

    /// Reads the columns `revision, format, checksum, body, repository, kind, name`.
    async fn fetch_moves(
        &self,
        operation: &'static str,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        let rows = self.store.fetch(operation, sql, args).await?;
        self.store.place(operation, "channel_moves").decode_all(&rows, decode_move)
    }

    fn missing_channel(&self, operation: &'static str, key: &ChannelKey) -> BackendError {
        self.store.error(ErrorKind::NotFound, operation).with("channel", key)
    }
}

/// The columns `repository, kind, name`.
fn columns(key: &ChannelKey) -> [Arg<'_>; 3] {
    [key.repository.as_str().into(), key.kind.as_str().into(), key.name.as_str().into()]
}

fn decode_move(row: &Row) -> Result<Versioned<ChannelMove>, Damage> {
    let moved: ChannelMove = decode(row, 1, FORMAT)?;
    let ChannelKey { repository, kind, name } = &moved.channel;
    let found = [row.text(4)?, row.text(5)?, row.text(6)?];
    if found != [repository.as_str(), kind.as_str(), name.as_str()] {
        return Err(Damage::Contradiction("its body is that of another channel"));
    }
    Ok(Versioned::new(Revision::new(row.number(0)?), moved))
}
