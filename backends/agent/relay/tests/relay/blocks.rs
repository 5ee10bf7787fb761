//! Hosts of a zone have what they need by their relay.
use crate::lab::{EVERY, Lab, Running, eventually};
use deploy_agent_protocol::{
    BLOCKS_OF_SERVER,
    v1::{AnnounceRequest, PassRequest},
};
use deploy_core::limit::Limit;
use deploy_distribution::transfer::{Endpoint, ranked};
use futures_util::future::join_all;
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gives_one_copy_to_a_zone_and_none_to_those_who_come_later() {
    let mut lab = Lab::new().await;
    let relay = lab.relay("fra-1", "fra").await;
    let mut hosts = Vec::new();
    for name in ["h1", "h2", "h3"] {
        hosts.push(lab.host(name, "fra").await);
    }
    let release = lab.release().await;
    join_all(hosts.iter().map(|it| lab.stage(it, &release))).await;
    let size = lab.part().size();
    let served = lab.server.served();
    assert_eq!(served.keys().map(|it| it.as_str()).collect::<Vec<_>>(), ["fra-1"], "{served:?}");
    assert!((size..size + size / 20).contains(&lab.given()), "{} of {size}", lab.given());

    // Started anew it has what it had.
    relay.stop().await;
    let _relay = lab.start_relay("fra-1").await;
    let (before, late) = (lab.given(), lab.host("h4", "fra").await);
    lab.stage(&late, &release).await;
    assert_eq!(lab.given(), before);
    let mut there = None;
    eventually("the relay has said what it gave", || {
        there = lab.relays.alive().into_iter().find(|it| it.count.given_bytes >= size);
        there.is_some()
    })
    .await;
    let there = there.unwrap();
    assert_eq!((there.count.kept_bytes, there.count.pulled_bytes), (size, 0), "{there:?}");
    assert_eq!((there.zone.as_str(), there.count.hosts), ("fra", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_other_zones_have_it_from_the_server() {
    let mut lab = Lab::new().await;
    let _relay = lab.relay("fra-1", "fra").await;
    let host = lab.host("h1", "ams").await;
    let release = lab.release().await;
    lab.stage(&host, &release).await;
    assert!(lab.server.served().contains_key(&host));
    let alive = lab.relays.alive();
    assert!(alive.iter().all(|it| it.count.pulled_bytes == 0), "{alive:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_zone_counts_for_what_its_relays_take() {
    let mut lab = Lab::new().await;
    let _relay = lab.relay("fra-1", "fra").await;
    let host = lab.host("h1", "fra").await;
    let limit = |mbit: u32| {
        let (by, at) = ("ann".parse().unwrap(), lab.clock.now());
        [("zone=fra".parse().unwrap(), Limit::new(mbit.try_into().unwrap(), by, at))].into()
    };
    lab.rates.set(limit(16));
    let told_by = lab.clock.now().after(Duration::from_secs(1));
    let was_told = || lab.relays.alive().iter().any(|it| it.seen_at > told_by);
    eventually("the relay was told", was_told).await;
    let release = lab.release().await;
    let from = lab.clock.now();
    lab.stage(&host, &release).await;
    let took = lab.clock.now().since(from).as_secs_f64();
    let least = lab.part().size() as f64 / 2_000_000.0;
    assert!(took > least * 0.7, "{took} s, and {least} s are what the limit takes");
    assert_eq!(lab.server.served().len(), 1, "the host had all of it by its relay");
}

/// The relays of a zone, in the order in which they are asked for a blob.
async fn two(lab: &Lab) -> ([Running; 2], [String; 2]) {
    let (one, two) = (lab.relay("fra-1", "fra").await, lab.relay("fra-2", "fra").await);
    let endpoint = |it: &str| Endpoint::new(it.parse().unwrap(), String::new());
    let order = ranked(lab.part().root(), vec![endpoint("fra-1"), endpoint("fra-2")]);
    let names = [0, 1].map(|it| order[it].name.to_string());
    if names[0] == "fra-1" { ([one, two], names) } else { ([two, one], names) }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_take_one_copy_and_either_may_die() {
    let mut lab = Lab::new().await;
    // So that it is known which relay is the first.
    let (release, far) = (lab.release().await, lab.host("far", "ams").await);
    lab.stage(&far, &release).await;
    let (size, before) = (lab.part().size(), lab.given());
    let ([first, second], _names) = two(&lab).await;
    let (h1, h2) = (lab.host("h1", "fra").await, lab.host("h2", "fra").await);
    lab.stage(&h1, &release).await;
    assert_eq!(lab.given() - before, size);

    // The second has nothing yet. The first host has it still, and comes to the second as well.
    first.stop().await;
    lab.stage(&h2, &release).await;
    assert!(!lab.server.served().contains_key(&h2), "{:?}", lab.server.served());
    assert!(lab.given() - before <= 2 * size);

    // The server schedules whoever no relay does.
    second.stop().await;
    let h3 = lab.host("h3", "fra").await;
    lab.stage(&h3, &release).await;
    assert!(lab.given() - before <= 3 * size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_has_it_from_the_first_one() {
    let mut lab = Lab::new().await;
    let (release, far) = (lab.release().await, lab.host("far", "ams").await);
    lab.stage(&far, &release).await;
    let (_relays, [first, second]) = two(&lab).await;
    let part = lab.part();
    let asked = PassRequest { root: part.root().as_bytes().to_vec(), size: part.size() };
    // It may have what hosts of its own zone were told of, and nothing else.
    let too_early = lab.client(&first).await.pass(asked.clone()).await.unwrap_err();
    assert_eq!(too_early.code(), Code::NotFound);
    let near = lab.host("near", "fra").await;
    lab.stage(&near, &release).await;
    for (relay, from) in
        [(&first, vec![BLOCKS_OF_SERVER]), (&second, vec![first.as_str(), BLOCKS_OF_SERVER])]
    {
        // The relay has a connection of its own, with the same certificate.
        let pass = lab.client(relay).await.pass(asked.clone()).await.unwrap().into_inner();
        let named: Vec<_> = pass.from.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(named, from);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_said_to_be_a_relay_and_is_not_there_costs_a_moment() {
    let mut lab = Lab::new().await;
    lab.enrol_relay("liar", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let mut liar = lab.client("liar").await;
    let request = AnnounceRequest {
        address: "127.0.0.1:1".to_owned(),
        boot_id: "boot-1".to_owned(),
        ..AnnounceRequest::default()
    };
    let again = liar.announce(request).await.unwrap().into_inner();
    assert_eq!(u128::from(again.again_ms), EVERY.as_millis());
    let (release, host) = (lab.release().await, lab.host("h1", "fra").await);
    lab.stage(&host, &release).await;
    assert!(lab.server.served().contains_key(&host));
    let name = "liar".parse().unwrap();
    eventually("it is gone", || !lab.relays.is_alive(&name)).await;
}
