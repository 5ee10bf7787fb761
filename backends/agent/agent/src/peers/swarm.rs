//! Where an artifact can be had in blocks, as the gateway says.
use crate::spec::Artifact;
use deploy_agent_identity::endpoints;
use deploy_agent_protocol::{BLOCKS_OF_SERVER, v1};
use deploy_core::id::LabelValue;
use deploy_distribution::{
    Blob, BlobId,
    transfer::{Endpoint, FetchOrder},
};
use std::{io, time::Duration};
use tokio::sync::watch;

/// Where an artifact can be had in blocks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Swarm {
    pub(super) blob: Blob,
    pub(super) schedulers: Vec<Endpoint>,
    pub(super) seeds: Vec<Endpoint>,
    pub(super) token: String,
    pub(super) token_for: Duration,
    pub(super) zone: Option<LabelValue>,
    pub(super) rack: Option<LabelValue>,
}

impl Swarm {
    /// Reads what was said of `artifact` by a gateway that is reached at `gateway`, a `HOST:PORT`.
    pub(super) fn read(
        reply: v1::SwarmReply,
        artifact: Artifact,
        gateway: &str,
    ) -> io::Result<Self> {
        if reply.size != artifact.size {
            let (said, size) = (reply.size, artifact.size);
            return Err(invalid(format!("its blocks have {said} bytes, and {size} are right")));
        }
        let root = reply.root.as_slice().try_into();
        let root = root.map_err(|_length| invalid("a root has 32 bytes".to_owned()))?;
        let blob = Blob::new(BlobId::from_bytes(root), reply.size);
        let place = |label: &str| Some(label).filter(|it| !it.is_empty())?.parse().ok();
        Ok(Self {
            blob: blob.map_err(|err| invalid(err.to_string()))?,
            schedulers: endpoints(&reply.schedulers, gateway)?,
            seeds: endpoints(&reply.seeds, gateway)?,
            token_for: Duration::from_secs(reply.token_s.into()),
            zone: place(&reply.zone),
            rack: place(&reply.rack),
            token: reply.token,
        })
    }

    /// Goes on without the server, which would be asked in vain; says whether anybody is left.
    pub(super) fn leave_out_server(&mut self) -> bool {
        for named in [&mut self.schedulers, &mut self.seeds] {
            named.retain(|it| it.name.as_str() != BLOCKS_OF_SERVER);
        }
        !self.schedulers.is_empty() || !self.seeds.is_empty()
    }

    /// To fetch it by, for a host that gives blocks at `address`.
    pub(super) fn order(
        &self,
        address: String,
        slots: u16,
        token: watch::Receiver<String>,
    ) -> FetchOrder {
        FetchOrder::new(self.blob, address, token)
            .with_schedulers(self.schedulers.clone())
            .with_seeds(self.seeds.clone())
            .with_place(self.zone.clone(), self.rack.clone())
            .with_slots(slots)
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::digest::Digest;

    fn reply() -> v1::SwarmReply {
        let server = |address: &str| v1::BlockServer {
            name: "deploy-server".to_owned(),
            address: address.to_owned(),
        };
        v1::SwarmReply {
            root: vec![7; 32],
            size: 300_000,
            schedulers: vec![server(":7446")],
            seeds: vec![server("blocks.example.com:443")],
            token: "a token".to_owned(),
            token_s: 900,
            zone: "a".to_owned(),
            rack: String::new(),
        }
    }

    const ARTIFACT: Artifact = Artifact { digest: Digest::from_bytes([1; 32]), size: 300_000 };

    #[test]
    fn a_port_alone_is_one_of_the_gateway() {
        let swarm = Swarm::read(reply(), ARTIFACT, "[::1]:7444").unwrap();
        assert_eq!(swarm.schedulers[0].address, "[::1]:7446");
        assert_eq!(swarm.seeds[0].address, "blocks.example.com:443");
        assert_eq!((swarm.zone, swarm.rack), (Some("a".parse().unwrap()), None));
    }

    #[test]
    fn a_host_apart_asks_everybody_but_the_server() {
        let mut swarm = Swarm::read(reply(), ARTIFACT, "gateway").unwrap();
        assert!(!swarm.leave_out_server());
        let mut zone = reply();
        let relay =
            v1::BlockServer { name: "relay-1".to_owned(), address: "10.1.0.5:7446".to_owned() };
        zone.schedulers.insert(0, relay);
        let mut swarm = Swarm::read(zone, ARTIFACT, "gateway").unwrap();
        assert!(swarm.leave_out_server() && swarm.seeds.is_empty());
        assert_eq!(swarm.schedulers.len(), 1);
        assert_eq!(swarm.schedulers[0].address, "10.1.0.5:7446");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        type Change = fn(&mut v1::SwarmReply);
        let changes: [Change; 3] =
            [|it| it.size += 1, |it| it.root.truncate(31), |it| it.seeds[0].name.clear()];
        for change in changes {
            let mut wrong = reply();
            change(&mut wrong);
            let refused = Swarm::read(wrong, ARTIFACT, "gateway:7444").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        }
    }
}
