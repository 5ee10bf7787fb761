//! A network that cuts, and servers that are others.
use crate::lab::{Cut, Lab, authority, cutting, fleet, host, push};
use deploy_client::{Client, ClientError, Server};
use deploy_wire::NewRollout;

#[tokio::test]
async fn nobody_but_the_authority_vouches_for_a_server() {
    let lab = Lab::new().await;
    let (other, _) = authority();
    let server = Server::new(format!("https://{}", lab.address), lab.token.as_str());
    let client = Client::new(server.with_authority(other)).unwrap();
    let err = client.current_token().await.unwrap_err();
    assert!(matches!(err, ClientError::Untrusted { .. }), "{err:?}");
    assert!(err.to_string().contains("certificate"), "{err}");
}

#[tokio::test]
async fn what_is_asked_twice_is_done_once() {
    let lab = Lab::new().await;
    // Cut in the handshake, before the request, in the answer: wherever it is, the host is added by one of the requests.
    for down in (400..2_000).step_by(200) {
        let cut = Cut { up: usize::MAX, down, times: 2 };
        let (way, _) = cutting(lab.address, cut).await;
        let name = format!("h{down}");
        let added = lab.client_by(way).add_host(&host(&name)).await.unwrap();
        assert_eq!((added.name, added.revision), (name, 1));
    }
}

#[tokio::test]
async fn an_upload_goes_on_over_cuts() {
    let lab = Lab::new().await;
    let cut = Cut { up: 400_000, down: usize::MAX, times: 4 };
    let (way, cuts) = cutting(lab.address, cut).await;
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|it| it.to_le_bytes()[1]).collect();
    let artifact = push(&lab.client_by(way), "package", bytes).await;
    assert_eq!(artifact.size, 2_000_000);
    assert!(*cuts.borrow() >= 2, "it was cut {} times", *cuts.borrow());
    let verified = lab.client().verify_artifact(&artifact.digest).await.unwrap();
    assert!(verified.intact);
}

#[tokio::test]
async fn every_event_comes_once_over_cuts() {
    let lab = Lab::new().await;
    let client = lab.client();
    fleet(&client).await;
    let asked = NewRollout {
        service: "web".to_owned(),
        release: "web-1".to_owned(),
        ..NewRollout::default()
    };
    let rollout = client.start(&asked).await.unwrap();
    let cut = Cut { up: usize::MAX, down: 1_200, times: 4 };
    let (way, cuts) = cutting(lab.address, cut).await;
    let mut feed = lab.client_by(way).events(&rollout.id, 0);
    let mut seen = Vec::new();
    while let Some(event) = feed.next().await.unwrap() {
        seen.push(event.seq);
    }
    let last = u64::try_from(seen.len()).unwrap();
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    assert_eq!(client.rollout(&rollout.id, false).await.unwrap().state, "succeeded");
    assert!(*cuts.borrow() > 1, "it was cut {} times", *cuts.borrow());
}
