//! The planner.
/// x
#[derive(Debug)]
pub struct PlanError;
/// x
#[derive(Debug)]
pub struct PlanInput;
/// x
pub fn inventory_digest() {}
/// x
pub fn inventory_diff() {}
/// x
pub fn plan() {}
