//! A fetch that was cut goes on where it was, in whichever way it came and comes.
use crate::{
    peers::{LARGE, Lab},
    support::scripts::eventually,
};
use deploy_core::plan::PlannedRelease;
use deploy_distribution::BlobFile;
use std::{fs, os::unix::fs::MetadataExt as _};

/// How many blocks a host asks for at a time, at most.
const UNDER_WAY: u64 = 16;

impl Lab {
    /// Has the first host fetch it, and kills its agent when half of it is there.
    async fn kill_at_half(&mut self, release: &PlannedRelease) {
        let name = self.hosts[0].name.clone();
        tokio::select! {
            () = self.stage(&name, release) => panic!("it was fetched before anybody was killed"),
            () = eventually("half of it has come", || self.given() > LARGE as u64 / 2) => {}
        }
        self.hosts[0].kill();
        eventually("it is gone", || !self.plane.gateway.is_connected(&name)).await;
    }

    /// And starts it again.
    pub(crate) async fn start_again(&mut self) {
        self.hosts[0].start();
        let name = self.hosts[0].name.clone();
        eventually("the host is back", || self.plane.gateway.is_connected(&name)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_goes_on_where_it_was() {
    let mut lab = Lab::new(1, "download_mbit = 40").await;
    let release = lab.release().await;
    lab.kill_at_half(&release).await;
    let (part, outboard, _) = lab.part();
    let (blob, before) = (outboard.blob(), lab.given());
    let had = BlobFile::resume(&lab.hosts[0].blocks(part), blob).unwrap().unwrap().had();
    let had: u64 = had.iter().map(|it| blob.block(it).unwrap().length.get()).sum();
    assert!(had > 0, "nothing had come");
    lab.start_again().await;
    lab.stage(&lab.hosts[0].name, &release).await;
    assert!(lab.hosts[0].has(part));
    let (again, lost) = (lab.given() - before, before - had);
    assert_eq!(again, blob.size() - had, "what was had when it was killed is fetched again");
    // All that comes again was under way then.
    assert!(lost <= UNDER_WAY * blob.block_size(), "{lost} bytes of {before} were lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_blocks_come_no_longer_the_rest_comes_over_the_session() {
    let mut lab = Lab::new(1, "download_mbit = 40").await;
    let release = lab.release().await;
    lab.kill_at_half(&release).await;
    let (part, outboard, _) = lab.part();
    let begun = lab.hosts[0].blocks(part).join(format!("{}.part", outboard.blob()));
    let (file, given) = (fs::metadata(begun).unwrap().ino(), lab.given());
    // Now it may not reach the server, which alone has blocks.
    let door = format!("[gateway]\nvia = ['{}']\n", lab.plane.door);
    lab.hosts[0].policy.push_str(&door);
    lab.start_again().await;
    lab.stage(&lab.hosts[0].name, &release).await;
    let artifact = lab.hosts[0].state.path().join("artifacts").join(part.hex());
    assert!(lab.hosts[0].has(part));
    assert_eq!(fs::metadata(artifact).unwrap().ino(), file, "it was begun anew");
    assert!(!lab.hosts[0].blocks(part).exists());
    assert_eq!(lab.given(), given, "no blocks could come");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_over_the_session_is_not_fetched_again_in_blocks() {
    let mut lab = Lab::new(1, "download_mbit = 40").await;
    let release = lab.release().await;
    let blocks = lab.hosts[0].policy.clone();
    let door = format!("[gateway]\nvia = ['{}']\n", lab.plane.door);
    lab.hosts[0].policy.push_str(&door);
    lab.hosts[0].kill();
    lab.start_again().await;
    let came = || lab.hosts[0].came();
    tokio::select! {
        () = lab.stage(&lab.hosts[0].name, &release) => panic!("it was fetched too soon"),
        () = eventually("half of it has come", || came() > LARGE as u64 / 2) => {}
    }
    let came = came();
    lab.hosts[0].policy = blocks;
    lab.hosts[0].kill();
    lab.start_again().await;
    lab.stage(&lab.hosts[0].name, &release).await;
    let (part, outboard, _) = lab.part();
    assert!(lab.hosts[0].has(part));
    let missing = outboard.blob().size() - came;
    let (given, block) = (lab.given(), outboard.blob().block_size());
    assert!(given <= missing + block, "{given} bytes in blocks, and {missing} were missing");
}
