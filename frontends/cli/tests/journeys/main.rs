//! Journeys through the built program, as people and scripts take them.
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_archives;
#[cfg(test)]
mod bad_data;
#[cfg(test)]
mod bad_files;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod builds;
#[cfg(test)]
mod builds_on_hosts;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod machine_output;
#[cfg(test)]
mod parcels;
#[cfg(test)]
mod pulls;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod server;
#[cfg(test)]
mod server_builds;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod showcase;
#[cfg(test)]
mod signed;
#[cfg(test)]
mod signed_builds;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod usage;
