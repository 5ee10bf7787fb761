//! The power goes, again and again, while a writer appends.
use crate::{
    crash::{BATCH, Writer, check},
    support::{Disk, has_power, own_mounts},
};
use deploy_sql::Database;
use std::env;

const CYCLES: &str = "DEPLOY_TEST_POWER_CUTS";

/// After so many cuts a new database is begun: each is read whole after each cut.
const CUTS_OF_ONE: u64 = 25;

/// Two hundred cuts, or as many as `DEPLOY_TEST_POWER_CUTS` says.
#[test]
fn a_power_cut_loses_nothing_that_was_confirmed() {
    if has_power("the power cuts of SQLite")
        && own_mounts("power_cut::a_power_cut_loses_nothing_that_was_confirmed")
    {
        let cycles = env::var(CYCLES).map_or(200, |it| it.parse().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(cut_power(cycles));
    }
}

async fn cut_power(cycles: u64) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path(), 64).unwrap();
    for cycle in 0..cycles {
        let path = disk.folder().join(format!("{}.db", cycle / CUTS_OF_ONE));
        let switch = disk.switch().unwrap();
        let mut writer = Writer::start(&path);
        // Of what came in later nothing is known: a flush that is under way while the file system is shut down may be
        // reported as done, to any program. Where the power really goes nobody is there to be told.
        let confirmed = writer.wait(cycle);
        switch.cut_power().unwrap();
        let last = writer.kill();
        disk.pull_out().unwrap();
        disk.plug_in().unwrap();
        let database = Database::open_sqlite(&path).await.unwrap();
        check(&database, cycle, confirmed, last + BATCH).await;
        database.close().await;
    }
    disk.pull_out().unwrap();
}
