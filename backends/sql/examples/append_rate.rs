//! How fast records become durable, beside how fast the disk makes anything durable.
//!
//! ```text
//! cargo run --release -p deploy-sql --example append_rate -- FOLDER [POSTGRES-URL]
//! ```
#![expect(clippy::disallowed_methods, reason = "measures real time")]
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{Journal as _, LogChunk, LogStore as _},
    conformance::{permit, sample},
    id::{Seq, StreamId},
    rollout::{Event, Record},
};
use deploy_sql::{Database, SqlJournal, SqlLogStore};
use std::{
    error::Error,
    fs::File,
    io::{Write as _, stdout},
    path::Path,
    time::{Duration, Instant},
};

/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().ok_or("usage: append_rate FOLDER [POSTGRES-URL]")?;
    let folder = tempfile::tempdir_in(folder)?;
    writeln!(stdout(), "write of 4 KiB and fdatasync: {:.0}/s", fsyncs(folder.path())?)?;
    let sqlite = Database::open_sqlite(folder.path().join("deploy.db")).await?;
    measure("SQLite", &sqlite).await?;
    if let Some(url) = args.next() {
        let url = url.into_string().map_err(|_| "the address is no text")?;
        measure("PostgreSQL", &Database::connect_postgres(&url).await?).await?;
    }
    Ok(())
}

async fn measure(name: &str, database: &Database) -> Result<(), Box<dyn Error + Send + Sync>> {
    for size in [1, 10, 100, 500] {
        let rate = appends(database, 1, size).await?;
        let records = rate * f64::from(size);
        writeln!(
            stdout(),
            "{name}, {size} records an append: {rate:.0} appends/s, {records:.0} records/s"
        )?;
    }
    let rate = appends(database, 8, 1).await?;
    writeln!(stdout(), "{name}, 8 streams at once, 1 record an append: {rate:.0} appends/s")?;
    let (batches, bytes) = log_chunks(database).await?;
    writeln!(
        stdout(),
        "{name}, 50 log chunks of 4 KiB a batch: {batches:.0} batches/s, {:.1} MiB/s",
        bytes / f64::from(1 << 20)
    )?;
    Ok(())
}

fn fsyncs(folder: &Path) -> std::io::Result<f64> {
    let mut file = File::create(folder.join("fsync"))?;
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < SPAN {
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}

/// Appends a second, over all of so many streams.
async fn appends(
    database: &Database,
    streams: u32,
    size: u32,
) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let permit = permit(Action::RolloutControl, Resource::System).await;
    let start = Instant::now();
    let writers = (0..streams).map(|number| {
        let journal = SqlJournal::new(database);
        let permit = permit.clone();
        tokio::spawn(async move {
            write(&journal, &permit, &format!("s{size}-{streams}-{number}"), size).await
        })
    });
    let mut total = 0.0;
    for writer in writers.collect::<Vec<_>>() {
        total += writer.await??;
    }
    Ok(total / start.elapsed().as_secs_f64())
}

async fn write(
    journal: &SqlJournal,
    permit: &Permit,
    service: &str,
    size: u32,
) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let stream: StreamId = sample::stream(service);
    let rollout = format!("{service}-r");
    let first = sample::first(1, &rollout);
    let mut head = journal.append(permit, &stream, Seq::ZERO, &[first]).await?;
    let start = Instant::now();
    let mut count = 0.0;
    while start.elapsed() < SPAN {
        let records: Vec<Record> = (1..=u64::from(size))
            .map(|it| {
                let seq = Seq::new(head.get() + it);
                let event = Event::AttemptFound {
                    host: sample::name("web-0042.example.com"),
                    generation: seq,
                };
                Record::new(seq, sample::at(1), sample::name(&rollout), event)
            })
            .collect();
        head = journal.append(permit, &stream, head, &records).await?;
        count += 1.0;
    }
    Ok(count)
}

async fn log_chunks(database: &Database) -> Result<(f64, f64), Box<dyn Error + Send + Sync>> {
    const CHUNK: u64 = 4_096;
    let logs = SqlLogStore::new(database);
    let start = Instant::now();
    let mut batches = 0.0;
    let mut offset = 0;
    while start.elapsed() < SPAN {
        let chunks: Vec<_> = (0..50)
            .map(|host| {
                let host = sample::name(&format!("h{host}"));
                LogChunk::new(
                    sample::name("r"),
                    host,
                    Seq::new(1),
                    offset,
                    sample::at(1),
                    vec![b'x'; 4_096],
                )
            })
            .collect();
        logs.append(&chunks).await?;
        offset += CHUNK;
        batches += 1.0;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok((batches / seconds, batches * 50.0 * 4_096.0 / seconds))
}
