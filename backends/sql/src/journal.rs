use crate::{
    arg::{Arg, int, limit},
    body::{Body, decode},
    database::Database,
    row::{Damage, Row},
    store::{Store, Transaction},
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{AppendError, Journal, RolloutRef, head_after},
    error::{BackendError, BackendResult, ErrorKind},
    id::{RolloutId, Seq, StreamId},
    plan::FORMAT,
    rollout::Record,
};

const APPEND: &str = "journal.append";
const RAISE_FLOOR: &str = "journal.raise_floor";
const READ: &str = "journal.read";
const LOST: Damage = Damage::Contradiction("it is missing, and others show that it was there");

/// Keeps journals in SQL. Every append is one transaction and, on SQLite, one `fsync`.
#[derive(Clone, Debug)]
pub struct SqlJournal {
    store: Store,
}

impl SqlJournal {
    /// The journal in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }
}

#[async_trait]
impl Journal for SqlJournal {
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        permit.demand(Action::RolloutControl, &Resource::of_stream(stream), APPEND)?;
        let append = Append::new(stream, expected, records)?;
        let mut transaction = self.store.begin(APPEND).await?;
        let outcome = append.run(&self.store, &mut transaction).await;
        transaction.finish(outcome).await
    }

    async fn read(&self, stream: &StreamId, after: Seq, most: usize) -> BackendResult<Vec<Record>> {
        // The head comes with every row, so that records that were lost at the end are missed too.
        const SQL: &str = "SELECT s.head, r.seq, r.format, r.checksum, r.body \
             FROM streams s LEFT JOIN records r ON r.stream_id = s.id AND r.seq > $2 \
             WHERE s.name = $1 ORDER BY r.seq LIMIT $3";
        let name = stream.to_string();
        // No record lies past what a column can hold.
        let after = i64::try_from(after.get()).unwrap_or(i64::MAX);
        let args = [name.as_str().into(), after.into(), limit(most)];
        let rows = self.store.fetch(READ, SQL, &args).await?;
        let mut records: Vec<Record> = Vec::with_capacity(rows.len());
        let mut last = after;
        for row in &rows {
            let decoded = decode_record(row, last);
            let damaged = |damage| {
                self.store.place(READ, "records").error(&format!("{name} {}", last + 1), damage)
            };
            let Some(record) = decoded.map_err(damaged)? else {
                break;
            };
            last = row.int(1).map_err(damaged)?;
            records.push(record);
        }
        if records.len() < most
            && rows.last().is_some_and(|row| row.int(0).is_ok_and(|head| head > last))
        {
            let key = format!("{name} {}", last + 1);
            return Err(self.store.place(READ, "records").error(&key, LOST));
        }
        Ok(records)
    }

    async fn head(&self, stream: &StreamId) -> BackendResult<Seq> {
        const HEAD: &str = "journal.head";
        let name = stream.to_string();
        let row = self.store.fetch_optional(HEAD, SELECT_HEAD, &[name.as_str().into()]).await?;
        decode_head(&self.store, HEAD, row.as_ref())
    }

    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()> {
        permit.demand(Action::RolloutControl, &Resource::System, RAISE_FLOOR)?;
        let mut transaction = self.store.begin(RAISE_FLOOR).await?;
        let raised = raise_floor(&self.store, &mut transaction, floor).await;
        transaction.finish(raised).await
    }

    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        most: usize,
    ) -> BackendResult<Vec<RolloutRef>> {
        const ROLLOUTS: &str = "journal.rollouts";
        const ALL: &str = "SELECT r.id, s.name, r.first_seq, r.last_seq \
             FROM rollouts r JOIN streams s ON s.id = r.stream_id \
             ORDER BY r.ordinal DESC LIMIT $1";
        const OF_STREAM: &str = "SELECT r.id, s.name, r.first_seq, r.last_seq \
             FROM rollouts r JOIN streams s ON s.id = r.stream_id \
             WHERE r.stream_id = (SELECT id FROM streams WHERE name = $2) \
             ORDER BY r.ordinal DESC LIMIT $1";
        let rows = match stream {
            None => self.store.fetch(ROLLOUTS, ALL, &[limit(most)]).await?,
            Some(stream) => {
                let name = stream.to_string();
                self.store.fetch(ROLLOUTS, OF_STREAM, &[limit(most), name.as_str().into()]).await?
            }
        };
        self.store.place(ROLLOUTS, "rollouts").decode_all(&rows, decode_rollout)
    }

    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef> {
        const ROLLOUT: &str = "journal.rollout";
        const SQL: &str = "SELECT r.id, s.name, r.first_seq, r.last_seq \
             FROM rollouts r JOIN streams s ON s.id = r.stream_id WHERE r.id = $1";
        let rows = self.store.fetch(ROLLOUT, SQL, &[id.as_str().into()]).await?;
        let found = self.store.place(ROLLOUT, "rollouts").decode_all(&rows, decode_rollout)?;
        let missing = || self.store.error(ErrorKind::NotFound, ROLLOUT).with("rollout", id);
        found.into_iter().next().ok_or_else(missing)
    }
}

const SELECT_HEAD: &str = "SELECT CAST($1 AS TEXT), MAX(position) FROM (\
         SELECT head AS position FROM streams WHERE name = $1 \
         UNION ALL SELECT position FROM floors UNION ALL SELECT 0) AS positions";

async fn raise_floor(
    store: &Store,
    transaction: &mut Transaction,
    floor: Seq,
) -> BackendResult<()> {
    const HIGHEST: &str = "SELECT 'all', MAX(position) FROM (SELECT head AS position FROM streams \
         UNION ALL SELECT position FROM floors UNION ALL SELECT 0) AS positions";
    const RAISE: &str = "INSERT INTO floors (position) VALUES ($1) ON CONFLICT DO NOTHING";
    // No append is under way meanwhile. SQLite has one writer; here those are waited for that have begun.
    if let Store::Postgres(_) = store {
        transaction.execute("LOCK TABLE streams IN SHARE MODE", &[]).await?;
    }
    let row = transaction.fetch_optional(HIGHEST, &[]).await?;
    let highest = decode_head(store, RAISE_FLOOR, row.as_ref())?;
    if floor < highest {
        let err = store.error(ErrorKind::Conflict, RAISE_FLOOR);
        return Err(err.with("floor", floor).with("head", highest));
    }
    if floor > highest {
        let position = int(RAISE_FLOOR, "floor", floor.get())?;
        transaction.execute(RAISE, &[position.into()]).await?;
    }
    Ok(())
}

/// One append, checked as far as it can be without the database.
struct Append<'a> {
    stream: String,
    expected: Seq,
    previous: Seq,
    head: Seq,
    records: &'a [Record],
    bodies: Vec<Body>,
}

/// The stream as the compare-and-set left it.
struct Stream {
    id: i64,
    rollout: Option<String>,
}

impl<'a> Append<'a> {
    fn new(stream: &StreamId, expected: Seq, records: &'a [Record]) -> BackendResult<Self> {
        let head = head_after(expected, records)?;
        let encode = |it: &Record| Body::encode(APPEND, it.format, it);
        let bodies = records.iter().map(encode).collect::<BackendResult<_>>()?;
        let previous = records.first().map_or(expected, Record::previous);
        Ok(Self { stream: stream.to_string(), expected, previous, head, records, bodies })
    }

    async fn run(&self, store: &Store, transaction: &mut Transaction) -> Result<Seq, AppendError> {
        let Some(stream) = self.advance(store, transaction).await? else {
            return Err(self.conflict(store, transaction).await?);
        };
        let under_way = self.follow_rollouts(transaction, &stream).await?;
        if under_way != stream.rollout.as_deref() {
            const SQL: &str = "UPDATE streams SET rollout = $2 WHERE id = $1";
            transaction.execute(SQL, &[stream.id.into(), under_way.into()]).await?;
        }
        self.insert(transaction, stream.id).await?;
        Ok(self.head)
    }

    /// Compares and sets the head. From here on other writers of the stream wait for the end of this transaction.
    async fn advance(
        &self,
        store: &Store,
        transaction: &mut Transaction,
    ) -> BackendResult<Option<Stream>> {
        // The last record is the one that the first new one names, and nothing but a floor is above it.
        const FIRST: &str = "INSERT INTO streams (name, head) SELECT $1, $2 \
             WHERE $4 = (SELECT MAX(position) FROM (\
             SELECT $3 AS position UNION ALL SELECT position FROM floors) AS positions) \
             ON CONFLICT (name) DO NOTHING RETURNING id, rollout";
        const NEXT: &str = "UPDATE streams SET head = $2 WHERE name = $1 AND head = $3 \
             AND $4 = (SELECT MAX(position) FROM (\
             SELECT $3 AS position UNION ALL SELECT position FROM floors) AS positions) \
             RETURNING id, rollout";
        let name = self.stream.as_str().into();
        let head = int(APPEND, "head", self.head.get())?;
        let expected = int(APPEND, "expected", self.expected.get())?;
        let previous = int(APPEND, "previous", self.previous.get())?;
        let sql = if self.previous == Seq::ZERO { FIRST } else { NEXT };
        let args = [name, head.into(), previous.into(), expected.into()];
        let row = transaction.fetch_optional(sql, &args).await?;
        let decode = |row: &Row| Ok(Stream { id: row.int(0)?, rollout: row.maybe_text(1)? });
        let damaged = |damage| store.place(APPEND, "streams").error(&self.stream, damage);
        row.as_ref().map(decode).transpose().map_err(damaged)
    }

    async fn conflict(
        &self,
        store: &Store,
        transaction: &mut Transaction,
    ) -> BackendResult<AppendError> {
        let row = transaction.fetch_optional(SELECT_HEAD, &[self.stream.as_str().into()]).await?;
        let actual = decode_head(store, APPEND, row.as_ref())?;
        if let Some(first) = self.records.first().filter(|_| actual == self.expected) {
            let reason = "the record before it is another than it names";
            return Err(self.refused(ErrorKind::InvalidInput, first, reason));
        }
        Ok(AppendError::Conflict { actual, expected: self.expected })
    }

    /// Keeps the index of rollouts, and gives the one that is under way after the last record.
    async fn follow_rollouts<'s>(
        &'s self,
        transaction: &mut Transaction,
        stream: &'s Stream,
    ) -> BackendResult<Option<&'s str>> {
        let mut under_way = stream.rollout.as_deref();
        for record in self.records {
            let id = record.rollout.as_str();
            match (record.is_first(), under_way) {
                (true, Some(_)) => {
                    return Err(self.refused(
                        ErrorKind::AlreadyExists,
                        record,
                        "another rollout is not over",
                    ));
                }
                (true, None) => self.begin_rollout(transaction, stream.id, record).await?,
                (false, Some(current)) if current == id => {}
                (false, _) => {
                    return Err(self.refused(
                        ErrorKind::InvalidInput,
                        record,
                        "its rollout is not under way",
                    ));
                }
            }
            under_way = Some(id);
            if record.is_last() {
                const SQL: &str = "UPDATE rollouts SET last_seq = $2 WHERE id = $1";
                let seq = int(APPEND, "seq", record.seq.get())?;
                transaction.execute(SQL, &[id.into(), seq.into()]).await?;
                under_way = None;
            }
        }
        Ok(under_way)
    }

    async fn begin_rollout(
        &self,
        transaction: &mut Transaction,
        stream_id: i64,
        record: &Record,
    ) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO rollouts (id, stream_id, first_seq) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO NOTHING";
        let seq = int(APPEND, "seq", record.seq.get())?;
        let args = [record.rollout.as_str().into(), stream_id.into(), seq.into()];
        match transaction.execute(SQL, &args).await? {
            0 => Err(self.refused(ErrorKind::AlreadyExists, record, "its id was used before")),
            _ => Ok(()),
        }
    }

    async fn insert(&self, transaction: &mut Transaction, stream_id: i64) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO records (stream_id, seq, format, checksum, body)";
        let mut args: Vec<Arg<'_>> = Vec::with_capacity(self.records.len() * 5);
        for (record, body) in self.records.iter().zip(&self.bodies) {
            args.push(stream_id.into());
            args.push(int(APPEND, "seq", record.seq.get())?.into());
            args.extend(body.args());
        }
        transaction.insert(SQL, 5, &args).await
    }

    fn refused(&self, kind: ErrorKind, record: &Record, reason: &'static str) -> BackendError {
        BackendError::new(kind, APPEND)
            .with("stream", &self.stream)
            .with("rollout", &record.rollout)
            .with("seq", record.seq)
            .with("reason", reason)
    }
}

/// The record after `last`; `None` if there is none. What lies between the two was given up, or is just what is read from the middle
/// of: the record says which one is before it.
fn decode_record(row: &Row, last: i64) -> Result<Option<Record>, Damage> {
    let Some(seq) = row.maybe_int(1)? else {
        return Ok(None);
    };
    let record: Record = decode(row, 2, FORMAT)?;
    if i64::try_from(record.seq.get()) != Ok(seq) {
        return Err(Damage::Contradiction("its body is that of another record"));
    }
    if i64::try_from(record.previous().get())? > last {
        return Err(LOST);
    }
    Ok(Some(record))
}

fn decode_head(store: &Store, operation: &'static str, row: Option<&Row>) -> BackendResult<Seq> {
    let Some(row) = row else { return Ok(Seq::ZERO) };
    let place = store.place(operation, "streams");
    let heads = place.decode_all(std::slice::from_ref(row), |row| Ok(Seq::new(row.number(1)?)))?;
    Ok(heads.into_iter().next().unwrap_or_default())
}

fn decode_rollout(row: &Row) -> Result<RolloutRef, Damage> {
    let last = row.maybe_int(3)?.map(u64::try_from).transpose()?;
    Ok(RolloutRef::new(
        row.text(0)?.parse()?,
        row.text(1)?.parse()?,
        Seq::new(row.number(2)?),
        last.map(Seq::new),
    ))
}
