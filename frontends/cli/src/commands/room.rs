//! What a plan says of the room that hosts have.
use crate::output::{Output, list, plural, size, styles};
use deploy_wire::{PlanRoom, PlanShortfall, PlanUnchecked};

/// How many hosts without room get lines of their own.
const LONGEST: usize = 10;
/// How many hosts that have not said anything are named.
const NAMED: usize = 3;

/// Shows what is missing where, and whether everybody was asked.
pub(super) fn show(output: &Output, room: &PlanRoom) {
    let hosts: Vec<&[PlanShortfall]> = room.short.chunk_by(|a, b| a.host == b.host).collect();
    missing(&hosts).iter().for_each(|it| output.line(output.paint(styles::FAILURE, it)));
    asked(room, hosts.len()).iter().for_each(|it| output.line(output.paint(styles::DIM, it)));
}

/// What is missing, a host at a time.
fn missing(hosts: &[&[PlanShortfall]]) -> Vec<String> {
    let shown = hosts.iter().take(LONGEST).flat_map(|it| it.iter());
    let mut lines: Vec<_> = shown.flat_map(lacks).collect();
    let more = u64::try_from(hosts.len().saturating_sub(LONGEST)).unwrap_or(u64::MAX);
    if more > 0 {
        let hosts = plural(more, "host");
        lines.push(format!("{hosts} more without room: `--output json` has all of them"));
    }
    lines
}

/// Who was asked, and who was not or did not answer.
fn asked(room: &PlanRoom, short: usize) -> Vec<String> {
    let lack = match short {
        0 => "nothing is missing".to_owned(),
        1 => "1 lacks it".to_owned(),
        short => format!("{short} lack it"),
    };
    let hosts = plural(room.hosts, "host");
    let checked = format!("room was checked on {} of {hosts}: {lack}", room.checked);
    let checked = Some(checked).filter(|_| room.checked > 0);
    checked.into_iter().chain(room.unchecked.iter().map(silent)).collect()
}

/// `h3: 1.2 GiB are needed below /srv/web, 412 MiB are free: 811 MiB (850612224 bytes) are missing`.
fn lacks(short: &PlanShortfall) -> Vec<String> {
    let PlanShortfall { host, folder, .. } = short;
    let mut lines = Vec::new();
    if short.missing_bytes > 0 {
        let (needed, free) = (size(short.needed_bytes), size(short.free_bytes));
        let missing = size(short.missing_bytes);
        let bytes = plural(short.missing_bytes, "byte");
        lines.push(format!(
            "{host}: {needed} are needed below {folder}, {free} are free: {missing} ({bytes}) are missing"
        ));
    }
    if short.missing_inodes > 0 {
        let (needed, free) = (short.needed_inodes, short.free_inodes.unwrap_or_default());
        lines.push(format!(
            "{host}: {needed} inodes are needed below {folder}, {free} are free: {} are missing",
            short.missing_inodes
        ));
    }
    lines
}

/// Who was not asked, or has not answered, and why.
fn silent(unchecked: &PlanUnchecked) -> String {
    let hosts = plural(u64::try_from(unchecked.hosts.len()).unwrap_or(u64::MAX), "host");
    let why = match &*unchecked.reason {
        "cannot_ask" => "no agent there that could say it",
        "failed" => "no answer to that; the server's log says why",
        "not_allowed" => "you may not look there",
        "not_connected" => "not connected",
        "too_late" => "no answer in time",
        other => other,
    };
    format!("room was not checked on {hosts}: {why} ({})", list(&unchecked.hosts, NAMED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(host: usize, missing_bytes: u64, missing_inodes: u64) -> PlanShortfall {
        PlanShortfall {
            host: format!("h{host}"),
            folder: "/srv/web".to_owned(),
            needed_bytes: 3 << 29,
            free_bytes: (3 << 29) - missing_bytes,
            missing_bytes,
            needed_inodes: 1_200,
            free_inodes: Some(1_200 - missing_inodes),
            missing_inodes,
        }
    }

    #[test]
    fn what_is_missing_is_said_to_the_byte_and_to_the_inode() {
        assert_eq!(
            lacks(&short(3, 1 << 29, 0)),
            [
                "h3: 1.5 GiB are needed below /srv/web, 1.0 GiB are free: 512 MiB (536870912 bytes) are missing"
            ]
        );
        assert_eq!(
            lacks(&short(3, 0, 200)),
            ["h3: 1200 inodes are needed below /srv/web, 1000 are free: 200 are missing"]
        );
        assert_eq!(lacks(&short(3, 1, 1)).len(), 2);
    }
    #[test]
    fn of_many_hosts_ten_are_shown() {
        let all: Vec<_> =
            (10..32).flat_map(|it| [short(it, 1 << 29, 0), short(it, 0, 1)]).collect();
        let hosts: Vec<_> = all.chunk_by(|a, b| a.host == b.host).collect();
        let lines = missing(&hosts);
        assert_eq!(lines.len(), 21);
        assert!(lines[19].starts_with("h19: 1200 inodes"), "{}", lines[19]);
        assert_eq!(lines[20], "12 hosts more without room: `--output json` has all of them");
        assert_eq!(missing(&hosts[..10]).len(), 20);
    }

    #[test]
    fn who_was_not_asked_is_said_with_the_reason() {
        let silent = |reason: &str, hosts: &[&str]| PlanUnchecked {
            reason: reason.to_owned(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let unchecked =
            vec![silent("not_connected", &["h1"]), silent("odd", &["a", "b", "c", "d"])];
        let mut room = PlanRoom { hosts: 10_000, checked: 9_995, short: Vec::new(), unchecked };
        assert_eq!(
            asked(&room, 3),
            [
                "room was checked on 9995 of 10000 hosts: 3 lack it",
                "room was not checked on 1 host: not connected (h1)",
                "room was not checked on 4 hosts: odd (a, b, c and 1 more)",
            ]
        );
        room.checked = 0;
        assert_eq!(asked(&room, 0).len(), 2, "nobody was asked");
    }
}
