//! Which sources may be spoken to.
use deploy_core::spec::{GitRemote, GitTransport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which remotes may be built from.
///
/// A remote that outsiders can choose must not become a way into the builder's own network: so names are resolved first, every address that
/// they have is judged, and git is made to speak to one that was, whatever the name means a moment later.
///
/// ```
/// use deploy_build::RemotePolicy;
///
/// let outsiders = RemotePolicy::outsiders();
/// assert!(outsiders.judge(&"https://192.168.1.10/web.git".parse()?, &["192.168.1.10".parse()?]).is_err());
/// assert!(outsiders.judge(&"file:///srv/git/web.git".parse()?, &[]).is_err());
/// assert!(RemotePolicy::own().judge(&"file:///srv/git/web.git".parse()?, &[]).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePolicy {
    transports: Vec<GitTransport>,
    private: bool,
}

impl RemotePolicy {
    /// For remotes that outsiders choose: HTTPS and SSH, to public addresses.
    #[must_use]
    pub fn outsiders() -> Self {
        Self { transports: vec![GitTransport::Https, GitTransport::Ssh], private: false }
    }

    /// For remotes that whoever runs the builder chooses: folders of this machine and private addresses as well.
    #[must_use]
    pub fn own() -> Self {
        Self {
            transports: vec![GitTransport::File, GitTransport::Https, GitTransport::Ssh],
            private: true,
        }
    }

    /// Whether `remote`, whose host has these addresses, may be spoken to.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn judge(&self, remote: &GitRemote, addresses: &[IpAddr]) -> Result<(), String> {
        let transport = remote.transport();
        if !self.transports.contains(&transport) {
            return Err(format!(
                "`{remote}`: sources over `{}` are not built here",
                transport.as_str()
            ));
        }
        if transport == GitTransport::File {
            return Ok(());
        }
        if addresses.is_empty() {
            return Err(format!("`{remote}`: its host has no address"));
        }
        let private = addresses.iter().find(|it| !self.private && !is_public(**it));
        private.map_or(Ok(()), |address| {
            Err(format!("`{remote}`: its host has the address {address}, which is not a public one: sources there are not built here"))
        })
    }

    /// Looks `remote` up and judges it. Gives the address to speak to; `None` for a folder.
    pub(super) async fn admit(&self, remote: &GitRemote) -> Result<Option<IpAddr>, Refused> {
        let (Some(host), Some(port)) = (remote.host(), remote.port()) else {
            return self.judge(remote, &[]).map(|()| None).map_err(Refused::ByPolicy);
        };
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found
            .map_err(|err| Refused::Unknown(format!("`{host}` cannot be looked up: {err}")))?;
        let addresses: Vec<IpAddr> = found.map(|it: SocketAddr| it.ip()).collect();
        self.judge(remote, &addresses).map_err(Refused::ByPolicy)?;
        Ok(addresses.first().copied())
    }
}

/// Why a remote is not spoken to.
#[derive(Debug)]
pub(super) enum Refused {
    ByPolicy(String),
    Unknown(String),
}

/// Whether an address is one of the public Internet, by the registries of special-purpose addresses (RFC 6890 and its successors).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_public_v4(it),
        IpAddr::V6(it) => is_public_v6(it),
    }
}

fn is_public_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    let special = it.is_unspecified()
        || it.is_loopback()
        || it.is_private()
        || it.is_link_local()
        || it.is_broadcast()
        || it.is_documentation()
        || it.is_multicast();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (18..20).contains(&b);
    let assignments = a == 192 && b == 0 && c == 0;
    let relays = a == 192 && b == 88 && c == 99;
    !(special || shared || benchmarks || assignments || relays || a == 0 || a >= 240)
}

/// Only what is handed out to networks is public, without what stands there for addresses of version 4 that may be private.
fn is_public_v6(it: Ipv6Addr) -> bool {
    if let Some(inner) = it.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let [a, b, c, ..] = it.segments();
    let global = a & 0xe000 == 0x2000;
    let documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    let assignments = a == 0x2001 && b < 0x0200;
    // 2002::/16 wraps addresses of version 4.
    let wrapped = a == 0x2002 && !is_public_v4(Ipv4Addr::from((u32::from(b) << 16) | u32::from(c)));
    global && !(documentation || assignments || wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
            "2002:7f00:1::1",
            "100::1",
            "3fff:fff::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_judged() {
        let outsiders = RemotePolicy::outsiders();
        let remote = "https://git.example.com/web".parse().unwrap();
        let some = ["8.8.8.8", "10.0.0.1"].map(|it| it.parse().unwrap());
        assert!(outsiders.judge(&remote, &some[..1]).is_ok());
        assert!(outsiders.judge(&remote, &some).unwrap_err().contains("10.0.0.1"));
        assert!(outsiders.judge(&remote, &[]).is_err());
        assert!(RemotePolicy::own().judge(&remote, &some).is_ok());
        for hidden in [
            "https://localhost/web",
            "ssh://git@[::1]/web",
            "https://2130706433/web",
            "https://0x7f.1/web",
        ] {
            let refused = outsiders.admit(&hidden.parse().unwrap()).await;
            assert!(refused.is_err(), "{hidden}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_as_public_as_when_it_is_mapped(bits: u32) {
            let plain = Ipv4Addr::from(bits);
            prop_assert_eq!(is_public(plain.into()), is_public(plain.to_ipv6_mapped().into()));
        }
    }
}
