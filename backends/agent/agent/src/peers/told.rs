//! What came from whom, in words.
use deploy_agent_protocol::BLOCKS_OF_SERVER;
use deploy_distribution::transfer::Fetched;

/// Such as `fetched 8.9 MiB: 7.1 MiB from 3 hosts, 1.8 MiB from the server`.
pub(super) fn came(fetched: &Fetched) -> String {
    let is_server = |name: &str| name == BLOCKS_OF_SERVER;
    let (mut by_hosts, mut by_server, mut hosts) = (0, 0, 0_u32);
    for (name, bytes) in &fetched.bytes {
        if is_server(name.as_str()) {
            by_server += bytes;
        } else {
            by_hosts += bytes;
            hosts += 1;
        }
    }
    let (total, by_hosts, by_server) = (mib(fetched.total()), mib(by_hosts), mib(by_server));
    let plural = if hosts == 1 { "" } else { "s" };
    let kept = match fetched.kept {
        0 => String::new(),
        bytes => format!("; {} were there", mib(bytes)),
    };
    format!(
        "fetched {total}: {by_hosts} from {hosts} host{plural}, {by_server} from the server{kept}"
    )
}

fn mib(bytes: u64) -> String {
    let tenths = (bytes.saturating_mul(10) + (1 << 19)) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_came_from_whom() {
        let mut fetched = Fetched::default();
        assert_eq!(
            came(&fetched),
            "fetched 0.0 MiB: 0.0 MiB from 0 hosts, 0.0 MiB from the server"
        );
        for (name, bytes) in [("h1", 4 << 20), ("h2", 3 << 20), (BLOCKS_OF_SERVER, 3 << 19)] {
            fetched.bytes.insert(name.parse().unwrap(), bytes);
        }
        fetched.kept = 1 << 20;
        let says =
            "fetched 8.5 MiB: 7.0 MiB from 2 hosts, 1.5 MiB from the server; 1.0 MiB were there";
        assert_eq!(came(&fetched), says);
    }
}
