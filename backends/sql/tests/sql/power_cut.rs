//! The power goes, again and again, while a writer appends.
use crate::{
    crash::{Writer, check},
    support::{Disk, own_mounts},
};
use deploy_core::conformance::run;
use deploy_sql::Database;
use std::env;

const CYCLES: &str = "DEPLOY_TEST_POWER_CUTS";

/// A hundred cuts, or as many as `DEPLOY_TEST_POWER_CUTS` says.
#[test]
#[ignore = "needs root, loop devices, mkfs.ext4 and python3"]
fn a_power_cut_loses_nothing_that_was_confirmed() {
    if own_mounts("power_cut::a_power_cut_loses_nothing_that_was_confirmed") {
        let cycles = env::var(CYCLES).map_or(100, |it| it.parse().unwrap());
        run(cut_power(cycles));
    }
}

async fn cut_power(cycles: u64) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let path = disk.folder.join("deploy.db");
    for cycle in 1..=cycles {
        let mut writer = Writer::start(&path);
        writer.wait(cycle);
        disk.cut_power();
        let confirmed = writer.kill();
        disk.pull_out();
        disk.plug_in();
        let database = Database::open_sqlite(&path).await.unwrap();
        check(&database, cycle, confirmed).await;
        database.close().await;
    }
    disk.pull_out();
}
