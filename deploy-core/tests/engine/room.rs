//! What a plan says of the room that hosts have for it.
use crate::fleet::{Fleet, host, parse, waves};
use deploy_core::{
    backend::ExecutorCapabilities,
    engine::{DriveEnd, PlanRelease, Platform},
    id::{HostName, ReleaseId},
    memory::HostFaults,
    plan::{DiskRoom, Plan, PlanReport, RoomReport, ShortHost, Unchecked, UncheckedHosts, Warning},
    rollout::Outcome,
};
use std::{sync::Arc, time::Duration};

/// The sizes of the descriptor and the package of version 1.
const SIZE: u64 = "descriptor of 1".len() as u64 + "package of 1".len() as u64;

impl Fleet {
    async fn ask(&self, platform: &Platform, release: &ReleaseId) -> (Plan, PlanReport) {
        let request = PlanRelease::new(parse("web"), release.clone(), 7);
        let (plan, mut report) = platform.plan(&self.me, request).await.unwrap();
        assert_eq!(report.room, None, "nobody was asked yet");
        platform.look_for_room(&self.me, &plan, &mut report).await.unwrap();
        (plan, report)
    }

    async fn room(&self, release: &ReleaseId) -> RoomReport {
        self.ask(&self.platform, release).await.1.room.unwrap()
    }
}

fn unchecked(room: &RoomReport) -> Vec<(Unchecked, Vec<HostName>)> {
    room.unchecked.iter().map(|it| (it.reason, it.hosts.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_each_host_that_lacks_room_and_how_much() {
    let fleet = Fleet::new(4, waves("100%")).await;
    let release = fleet.packed("1").await;
    fleet.executor.set_faults(&host(1), HostFaults::new().with_free(SIZE));
    fleet.executor.set_faults(&host(2), HostFaults::new().with_free(SIZE - 1));
    fleet.executor.set_faults(&host(3), HostFaults::new().with_full());
    let (plan, report) = fleet.ask(&fleet.platform, &release).await;
    assert_eq!(plan.target_count(), 4, "it is a plan that can be started");
    assert!(report.warnings.contains(&Warning::NoRoom { hosts: vec![host(2), host(3)] }));
    let room = report.room.unwrap();
    assert_eq!((room.hosts, room.checked, &*room.unchecked), (4, 4, &[][..]));
    let short = |number, free| {
        let disk = DiskRoom::new("/srv/web".to_owned(), SIZE, free);
        ShortHost::new(host(number), vec![disk])
    };
    assert_eq!(room.short, [short(2, SIZE - 1), short(3, 0)]);
    let missing: Vec<_> = room.short.iter().map(|it| it.disks[0].missing_bytes()).collect();
    assert_eq!(missing, [1, SIZE], "to the byte");
}

#[tokio::test(start_paused = true)]
async fn a_host_with_room_to_the_byte_gets_it_and_then_needs_none() {
    let fleet = Fleet::new(1, waves("100%")).await;
    let release = fleet.packed("1").await;
    fleet.executor.set_faults(&host(0), HostFaults::new().with_free(SIZE));
    let (plan, report) = fleet.ask(&fleet.platform, &release).await;
    assert_eq!(report.room.unwrap().short, []);
    let rollout = fleet.platform.start(&fleet.me, plan).await.unwrap();
    assert_eq!(fleet.drive(&rollout).await, DriveEnd::Over(Outcome::Succeeded));
    let room = fleet.room(&fleet.packed("2").await).await;
    assert_eq!((room.short.len(), room.short[0].disks[0].free_bytes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn hosts_that_do_not_say_are_named_with_the_reason() {
    let fleet = Fleet::new(3, waves("100%")).await;
    let release = fleet.packed("1").await;
    fleet.executor.set_faults(&host(1), HostFaults::new().with_unreachable());
    let slow = HostFaults::new().with_delay(Duration::from_secs(86_400));
    fleet.executor.set_faults(&host(2), slow);
    let room = fleet.room(&release).await;
    assert_eq!((room.hosts, room.checked, &*room.short), (3, 1, &[][..]));
    let silent = [(Unchecked::NotConnected, vec![host(1)]), (Unchecked::TooLate, vec![host(2)])];
    assert_eq!(unchecked(&room), silent);
}

#[tokio::test(start_paused = true)]
async fn a_large_fleet_of_slow_hosts_keeps_a_plan_no_longer_than_one_does() {
    let fleet = Fleet::new(1_000, waves("100%")).await;
    let release = fleet.packed("1").await;
    for number in 0..1_000 {
        let slow = HostFaults::new().with_delay(Duration::from_secs(2));
        fleet.executor.set_faults(&host(number), slow);
    }
    let clock = Arc::clone(&fleet.platform.parts().clock);
    let before = clock.now();
    let room = fleet.room(&release).await;
    assert_eq!(clock.now().since(before), Duration::from_secs(5));
    assert_eq!((room.hosts, room.checked), (1_000, 512), "as many as can be asked by then");
    let [UncheckedHosts { reason: Unchecked::TooLate, hosts, .. }] = &*room.unchecked else {
        panic!("{:?}", room.unchecked)
    };
    assert_eq!(hosts.len(), 488);
}

#[tokio::test(start_paused = true)]
async fn only_what_gets_something_and_can_be_asked_is_asked() {
    let fleet = Fleet::new(2, waves("100%")).await;
    let bare = fleet.release("0").await;
    assert_eq!(fleet.room(&bare).await, RoomReport::default(), "it brings no package");
    let release = fleet.packed("1").await;
    let mut parts = fleet.platform.parts().clone();
    let silent = fleet.executor.clone().with_capabilities(ExecutorCapabilities::default());
    parts.executor = Arc::new(silent);
    let (_, report) = fleet.ask(&Platform::new(parts), &release).await;
    let room = report.room.unwrap();
    assert_eq!(unchecked(&room), [(Unchecked::CannotAsk, vec![host(0), host(1)])]);
    assert_eq!((room.hosts, room.checked), (2, 0));
    let nobody = parse("bob");
    let request = PlanRelease::new(parse("web"), release, 7);
    let (plan, mut report) = fleet.platform.plan(&nobody, request).await.unwrap();
    fleet.platform.look_for_room(&nobody, &plan, &mut report).await.unwrap();
    let room = report.room.unwrap();
    assert_eq!(unchecked(&room), [(Unchecked::NotAllowed, vec![host(0), host(1)])]);
}
