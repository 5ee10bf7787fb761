//! The planner's report.
/// x
#[derive(Debug)]
pub struct HostReport;
/// x
#[derive(Debug)]
pub struct PlanReport;
/// x
#[derive(Debug)]
pub struct Verdict;
/// x
#[derive(Debug)]
pub struct Warning;
