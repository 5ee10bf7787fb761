//! What is done once in a rollout, and all of a rollout.
use crate::drive::Drive;
use deploy_benches::{Cost, Failure, Table, cost, plan_input, rollout};
use deploy_core::{
    conformance::sample::name,
    plan::{Plan, plan},
    rollout::{Input, Outcome, Rollout},
    spec::Strategy,
};

fn waves_of_500() -> Strategy {
    let mut strategy = Strategy::new();
    strategy.waves = name("500");
    strategy
}

fn row(table: &Table, what: &str, cost: Cost, remark: String) -> std::io::Result<()> {
    table.row(&[what.to_owned(), format!("{:.3} s", cost.cpu.as_secs_f64()), remark])
}

pub(crate) fn measure_rollout(hosts: u32) -> Result<(), Failure> {
    let heading =
        format!("A rollout of {hosts} hosts in waves of 500. Goal: run and replayed in 10 s");
    let table = Table::begin(&heading, &["work", "CPU", "remark"])?;
    let (rollout, accepted) = rollout(hosts, waves_of_500())?;
    let mut journal = vec![accepted];
    let (ended, ran) = cost(|| Drive::new(rollout).run_out(&mut journal));
    if ended.rollout.outcome() != Some(Outcome::Succeeded) {
        return Err("the rollout did not succeed".into());
    }
    row(&table, "run to its end", ran, format!("{} records", journal.len()))?;
    let (replayed, cost_of_replay) = cost(|| Rollout::replay(&journal));
    if replayed? != ended.rollout {
        return Err("replaying gives another state".into());
    }
    row(&table, "replayed", cost_of_replay, String::new())?;
    let (view, cost_of_view) = cost(|| ended.rollout.view());
    row(&table, "shown: `view`", cost_of_view, format!("{} waves", view.waves.len()))?;
    let (text, cost_of_text) = cost(|| serde_json::to_vec(&journal));
    let text = text?;
    let each = text.len() / journal.len();
    row(&table, "journal to JSON", cost_of_text, format!("{} a record", bytes(each)))?;
    let (read, cost_of_read) =
        cost(|| serde_json::from_slice::<Vec<deploy_core::rollout::Record>>(&text));
    row(&table, "journal from JSON", cost_of_read, format!("{} records", read?.len()))?;
    turned_back(&table, hosts)
}

/// The steps that are allowed to cost as much as the wave, or the fleet, is large.
fn turned_back(table: &Table, hosts: u32) -> Result<(), Failure> {
    let (rollout, _accepted) = rollout(hosts, Strategy::new())?;
    let (begun, entered) = cost(|| Drive::new(rollout).take(&Input::Tick, |_records| {}));
    row(table, "once: every host starts in one wave", entered, String::new())?;
    let input = Input::Rollback { by: name("ann"), note: String::new() };
    let (_back, turned) = cost(|| begun.take(&input, |_records| {}));
    row(table, "once: it turns back with every host under way", turned, String::new())?;
    Ok(())
}

pub(crate) fn measure_planning(hosts: u32) -> Result<(), Failure> {
    let heading = format!("A plan for {hosts} hosts. Goal: planned in 1 s");
    let table = Table::begin(&heading, &["work", "CPU", "remark"])?;
    let input = plan_input(hosts, waves_of_500());
    let (planned, cost_of_plan) = cost(|| plan(&input));
    let (planned, report) = planned?;
    let targets = planned.target_count();
    row(&table, "planned, with its report", cost_of_plan, format!("{targets} targets"))?;
    let (checked, cost_of_check) = cost(|| planned.check());
    checked?;
    row(&table, "checked", cost_of_check, String::new())?;
    let (digest, cost_of_digest) = cost(|| planned.digest());
    row(&table, "its digest", cost_of_digest, format!("`{}`", digest.short()))?;
    let (text, cost_of_text) = cost(|| serde_json::to_vec(&planned));
    let text = text?;
    row(&table, "to JSON", cost_of_text, bytes(text.len()))?;
    let (read, cost_of_read) = cost(|| serde_json::from_slice::<Plan>(&text));
    if read? != planned {
        return Err("a plan is not what was written of it".into());
    }
    row(&table, "from JSON", cost_of_read, String::new())?;
    let report = serde_json::to_vec(&report)?;
    table.row(&["its report as JSON".to_owned(), String::new(), bytes(report.len())])?;
    Ok(())
}

fn bytes(count: usize) -> String {
    if count < 10_000 { format!("{count} bytes") } else { format!("{} KiB", count >> 10) }
}
