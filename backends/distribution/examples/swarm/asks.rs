//! How long a scheduler takes to answer, when as many hosts ask as often as in a large data centre.
use crate::{Failure, say, slots};
use deploy_core::{id::HostName, memory::SystemClock};
use deploy_distribution::{
    Bits, Blob, BlobId,
    schedule::Policy,
    transfer::{Director, Endpoint, Joining, NextRequest},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// For how long hosts ask.
const MEASURED: Duration = Duration::from_secs(20);
/// A request waits for so long at most.
const WAIT_MS: u32 = 20_000;
const MIB: u64 = 1 << 20;

/// Every host has half of a blob, each another half, says that the block before has come, and asks for the next one.
pub(crate) async fn measure(hosts: u32, blocks: u32, rate: u32) -> Result<(), Failure> {
    let blob = blob_of(blocks)?;
    let seed = Endpoint::new("seed".parse()?, "10.255.0.1:7000".to_owned());
    let clock = Arc::new(SystemClock::new());
    let director = Arc::new(Director::new(vec![seed], slots(), Policy::default(), 1, clock));
    let every = Duration::from_secs(1) * hosts / rate;
    let mut asking = JoinSet::new();
    for number in 0..hosts {
        let host = Host { number, blob, director: Arc::clone(&director) };
        host.join().await?;
        let begin = every * number / hosts;
        asking.spawn(host.ask(begin, every));
    }
    let mut took = Vec::new();
    while let Some(ended) = asking.join_next().await {
        took.extend(ended??);
    }
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 1_000).copied().unwrap_or_default();
    let (asks, seconds) = (took.len(), MEASURED.as_secs());
    say(&format!(
        "{hosts} hosts, {} blocks, {} asks a second: p50 {:?}, p99 {:?}, p99.9 {:?}, the longest {:?}",
        blob.blocks(),
        asks as u64 / seconds,
        at(500),
        at(990),
        at(999),
        took.last().copied().unwrap_or_default(),
    ))?;
    Ok(())
}

/// One of so many blocks.
fn blob_of(blocks: u32) -> Result<Blob, Failure> {
    for block in [MIB / 4, MIB / 2, MIB, 2 * MIB, 4 * MIB] {
        let blob = Blob::new(BlobId::of(b"measured"), block * u64::from(blocks));
        if let Some(blob) = blob.ok().filter(|it| it.blocks() == blocks) {
            return Ok(blob);
        }
    }
    Err("no blob has so many blocks".into())
}

struct Host {
    number: u32,
    blob: Blob,
    director: Arc<Director>,
}

impl Host {
    fn name(&self) -> Result<HostName, Failure> {
        Ok(format!("h{}", self.number).parse()?)
    }

    fn address(&self) -> IpAddr {
        let [_, b, c, d] = self.number.to_be_bytes();
        Ipv4Addr::new(10, b, c, d).into()
    }

    async fn join(&self) -> Result<(), Failure> {
        let mut had = Bits::none(self.blob.blocks());
        let mut chosen = vec![0; self.blob.blocks() as usize];
        blake3::Hasher::new().update(&self.number.to_be_bytes()).finalize_xof().fill(&mut chosen);
        for (block, byte) in (0..).zip(chosen) {
            if byte % 2 == 0 {
                had.insert(block);
            }
        }
        let mut next = NextRequest::new(self.blob);
        next.joining = Some(Joining::new(format!("{}:7000", self.address()), &had, slots()));
        self.director.next(&self.name()?, self.address(), next).await;
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "time is what is measured")]
    async fn ask(self, begin: Duration, every: Duration) -> Result<Vec<Duration>, Failure> {
        let (name, address) = (self.name()?, self.address());
        let start = tokio::time::Instant::now() + begin;
        let mut ticks = tokio::time::interval_at(start, every);
        let (mut took, mut came) = (Vec::new(), Vec::new());
        let end = start + MEASURED - begin;
        while ticks.tick().await < end {
            let mut next = NextRequest::new(self.blob);
            (next.done, next.want, next.wait_ms) = (std::mem::take(&mut came), 1, WAIT_MS);
            let asked = Instant::now();
            let answer = self.director.next(&name, address, next).await;
            took.push(asked.elapsed());
            if !answer.known {
                return Err("the scheduler has forgotten a host".into());
            }
            came.extend(answer.get.iter().map(|it| it.block));
        }
        Ok(took)
    }
}
