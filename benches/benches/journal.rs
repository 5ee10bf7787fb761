//! How fast facts become durable in the SQLite journal, beside how fast the same folder makes anything durable.
//!
//! ```text
//! cargo bench -p deploy-benches --bench journal -- [FOLDER]
//! ```
//!
//! The raw rate and each batch size are measured in turn, round after round, so that what else goes on hits all of them alike.
use deploy_benches::{Failure, Span, Table, median};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::Journal as _,
    conformance::{permit, sample},
    id::{Seq, StreamId},
    rollout::{AttemptEnd, Event, Record},
};
use deploy_sql::{Database, SqlJournal};
use std::{
    ffi::OsStr,
    fs::File,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

const BATCHES: [u64; 3] = [1, 16, 500];
const ROUNDS: u32 = 7;
/// How long each kind is measured in a round.
const LENGTH: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let named = std::env::args_os().skip(1).find(|it| it != OsStr::new("--bench"));
    let folder = named.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let database = Database::open_sqlite(folder.path().join("deploy.db")).await?;
    let permit = permit(Action::RolloutControl, Resource::System).await;
    let mut writers = Vec::new();
    for batch in BATCHES {
        writers.push(Writer::begin(&database, &permit, batch).await?);
    }
    let mut rates = vec![Vec::new(); 1 + writers.len()];
    for _round in 0..ROUNDS {
        let mut round = vec![syncs(folder.path())?];
        for writer in &mut writers {
            round.push(writer.appends().await?);
        }
        for (rates, rate) in rates.iter_mut().zip(round) {
            rates.push(rate);
        }
    }
    print(&rates)
}

fn print(rates: &[Vec<f64>]) -> Result<(), Failure> {
    let columns = ["write", "a second", "records a second", "of the raw rate"];
    let table = Table::begin("Durable appends, medians of rounds", &columns)?;
    let (raw, appends) = rates.split_first().ok_or("nothing was measured")?;
    let raw_rate = median(raw);
    table.row(&[
        "4 KiB in place and `fdatasync`, nothing else".to_owned(),
        format!("{raw_rate:.0}"),
        String::new(),
        "1".to_owned(),
    ])?;
    for (batch, rates) in (BATCHES.into_iter()).zip(appends) {
        // Of a round, not of the medians: neighbours in time had the same disk.
        let ratios: Vec<f64> = rates.iter().zip(raw).map(|(rate, raw)| rate / raw).collect();
        let rate = median(rates);
        table.row(&[
            format!("append of {batch}"),
            format!("{rate:.0}"),
            format!("{:.0}", rate * f64::from(u32::try_from(batch)?)),
            format!("{:.2}", median(&ratios)),
        ])?;
    }
    Ok(())
}

/// 4 KiB writes that are on disk, a second: what a journal that did nothing else would reach.
///
/// They go over a file that is there already, as SQLite's log does once it has its size: a file that grows costs the file
/// system a commit of its own with every write.
fn syncs(folder: &Path) -> Result<f64, Failure> {
    const BLOCK: [u8; 4_096] = [7; 4_096];
    const BLOCKS: u64 = 1_024;
    let mut file = File::create(folder.join("raw"))?;
    for _block in 0..BLOCKS {
        file.write_all(&BLOCK)?;
    }
    file.sync_all()?;
    let span = Span::begin(LENGTH);
    let mut count = 0;
    while !span.is_over() {
        if u64::from(count) % BLOCKS == 0 {
            file.rewind()?;
        }
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(span.rate(count))
}

/// Appends one attempt after another to a stream of its own.
struct Writer {
    journal: SqlJournal,
    permit: Permit,
    stream: StreamId,
    head: Seq,
    batch: u64,
}

impl Writer {
    async fn begin(database: &Database, permit: &Permit, batch: u64) -> Result<Self, Failure> {
        let journal = SqlJournal::new(database);
        let service = format!("web-{batch}");
        let stream = sample::stream(&service);
        let first = sample::first(1, &format!("{service}-1"));
        let head = journal.append(permit, &stream, Seq::ZERO, &[first]).await?;
        Ok(Self { journal, permit: permit.clone(), stream, head, batch })
    }

    async fn appends(&mut self) -> Result<f64, Failure> {
        let span = Span::begin(LENGTH);
        let mut count = 0;
        while !span.is_over() {
            let records: Vec<Record> = (1..=self.batch).map(|it| self.record(it)).collect();
            self.head =
                self.journal.append(&self.permit, &self.stream, self.head, &records).await?;
            count += 1;
        }
        Ok(span.rate(count))
    }

    fn record(&self, number: u64) -> Record {
        let seq = Seq::new(self.head.get() + number);
        let host = sample::name(&format!("web-{number:06}.prod.example.com"));
        let event = Event::AttemptEnded {
            host,
            generation: seq,
            end: AttemptEnd::Succeeded,
            retry_at: None,
        };
        Record::new(seq, sample::at(1), sample::name(&format!("web-{}-1", self.batch)), event)
    }
}
