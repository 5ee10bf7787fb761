//! What a plan says of the way that packages take.
use crate::output::{plural, size};
use deploy_wire::PlanTransfer;

/// What is sent to hosts: `8.9 MiB instead of 62.7 MiB to each of 12 hosts that run web-1, by delta`.
pub(super) fn transfer(transfer: &PlanTransfer) -> String {
    let hosts = plural(u64::from(transfer.hosts), "host");
    let hosts = if transfer.hosts == 1 { hosts } else { format!("each of {hosts}") };
    if transfer.via.as_deref() == Some("ssh") {
        return over_ssh(transfer, &hosts);
    }
    let whole = size(transfer.whole);
    let running = match (&transfer.from, transfer.hosts) {
        (Some(from), 1) => format!(" that runs {from}"),
        (Some(from), _) => format!(" that run {from}"),
        (None, _) => String::new(),
    };
    match &*transfer.way {
        "nothing" => {
            format!("nothing instead of {whole} to {hosts}{running}: the package is there")
        }
        "whole" => format!("{whole} to {hosts}{running}: the whole package, once a host"),
        way => {
            let bytes = size(transfer.bytes);
            format!("{bytes} instead of {whole} to {hosts}{running}, by {way}")
        }
    }
}

/// Nobody asks such hosts before an attempt, so it is said what they have to have. They give nothing to each other, which whoever knows
/// hosts with agents would not expect.
fn over_ssh(transfer: &PlanTransfer, hosts: &str) -> String {
    let whole = size(transfer.whole);
    let from = transfer.from.as_deref().unwrap_or("the release before it");
    match &*transfer.way {
        "nothing" => {
            format!(
                "nothing instead of {whole} to {hosts} over SSH, if the package of {from} is still there"
            )
        }
        "whole" => format!(
            "{whole} to {hosts} over SSH: the whole package, once a host and not from host to host"
        ),
        way => {
            let bytes = size(transfer.bytes);
            format!(
                "{bytes} instead of {whole} to {hosts} over SSH, by {way}, if zstd and the package of {from} are there; not from host to host"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(via: Option<&str>, way: &str, hosts: u32) -> PlanTransfer {
        PlanTransfer {
            hosts,
            release: "web-2".to_owned(),
            from: Some("web-1".to_owned()),
            via: via.map(str::to_owned),
            way: way.to_owned(),
            bytes: 9 << 20,
            whole: 62 << 20,
        }
    }

    #[test]
    fn a_plan_says_what_goes_over_ssh_and_that_nothing_goes_from_host_to_host() {
        let one = transfer(&planned(Some("ssh"), "whole", 1));
        assert!(
            one.ends_with(
                " to 1 host over SSH: the whole package, once a host and not from host to host"
            ),
            "{one}"
        );
        let many = transfer(&planned(Some("ssh"), "whole", 12));
        assert!(many.contains(" to each of 12 hosts over SSH: "), "{many}");
    }

    #[test]
    fn a_plan_says_what_hosts_over_ssh_have_to_have_for_a_delta() {
        let delta = transfer(&planned(Some("ssh"), "delta", 12));
        assert!(delta.starts_with("9.0 MiB instead of 62.0 MiB to each of 12 hosts over SSH, by delta, if zstd and the package of web-1 are there; not from host to host"), "{delta}");
        let same = transfer(&planned(Some("ssh"), "nothing", 1));
        assert!(
            same.ends_with(" to 1 host over SSH, if the package of web-1 is still there"),
            "{same}"
        );
    }

    #[test]
    fn a_plan_of_a_server_that_does_not_say_how_hosts_are_reached_is_told_too() {
        for via in [None, Some("agent")] {
            let told = transfer(&planned(via, "delta", 2));
            assert!(told.ends_with(" to each of 2 hosts that run web-1, by delta"), "{told}");
        }
    }
}
