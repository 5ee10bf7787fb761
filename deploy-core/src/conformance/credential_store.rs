//! Cases for [`CredentialStore`]. They need no more than a [`Harness`].
use super::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{CreateToken, CredentialStore, Token},
    error::{BackendError, BackendResult, ErrorKind},
    id::TokenId,
    token::{SecretHash, TokenScope, TokenSecret},
};
use sample::{at, name, principal};
use std::sync::Arc;

async fn write() -> Permit {
    permit(Action::TokenWrite, Resource::System).await
}

fn secret(id: &str) -> SecretHash {
    let mut bits = [7; 32];
    bits.iter_mut().zip(id.bytes()).for_each(|(bit, byte)| *bit = byte);
    TokenSecret::from_bytes(bits).hash()
}

/// A token made at 100 s that expires at 1,000 s.
fn request(id: &str) -> CreateToken {
    let scope = TokenScope::new([Action::RolloutControl, Action::ServiceWrite])
        .with_services([name("web")])
        .with_hosts(name("zone=a"));
    CreateToken::new(name(id), secret(id), principal("ci"), scope, at(100), at(1_000))
        .with_note("the build server")
}

async fn create(store: &Arc<dyn CredentialStore>, id: &str) -> Token {
    store.create(&write().await, &request(id)).await.unwrap()
}

async fn present(
    store: &Arc<dyn CredentialStore>,
    id: &str,
    of: &str,
    seconds: u64,
) -> BackendResult<Token> {
    store.authenticate(&name(id), &secret(of), at(seconds)).await
}

async fn only(store: &Arc<dyn CredentialStore>) -> Token {
    let [token] = store.tokens(None, 10).await.unwrap().try_into().unwrap();
    token
}

/// > `create` keeps a token, made by whom the permit is for
pub async fn a_token_is_kept_as_it_was_made<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let made = create(&store, "t1").await;
    assert_eq!(made, Token::new(&request("t1"), principal("kit")));
    assert_eq!((made.note.as_str(), made.created_by.as_str()), ("the build server", "kit"));
    assert_eq!(only(&store).await, made);
}

/// > an id that was ever used is `AlreadyExists`
pub async fn an_id_is_used_once<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let made = create(&store, "t1").await;
    let mut again = request("t1");
    again.principal = principal("eve");
    again.secret = secret("eve");
    refused(store.create(&write().await, &again).await, ErrorKind::AlreadyExists);
    assert_eq!(only(&store).await, made, "a refused `create` has changed it");
    refused(present(&store, "t1", "eve", 200).await, ErrorKind::Unauthenticated);
    store.revoke(&write().await, &name("t1"), at(200)).await.unwrap();
    refused(store.create(&write().await, &again).await, ErrorKind::AlreadyExists);
}

/// > a token that is worth nothing from the start is `InvalidInput`.
pub async fn a_token_lives_at_all<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    for seconds in [99, 100] {
        let mut never = request("t1");
        never.expires_at = at(seconds);
        refused(store.create(&write().await, &never).await, ErrorKind::InvalidInput);
    }
    assert_eq!(store.tokens(None, 10).await.unwrap(), []);
}

/// > `authenticate` gives the token of an id and its secret's hash.
pub async fn the_right_secret_gives_the_token<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    for id in ["t1", "t2"] {
        create(&store, id).await;
    }
    let found = present(&store, "t2", "t2", 200).await.unwrap();
    assert_eq!((found.id.as_str(), found.principal.as_str()), ("t2", "ci"));
    assert_eq!(found.scope, request("t2").scope);
}

/// > A wrong secret is `Unauthenticated`, and told in the same words as an unknown id.
pub async fn a_wrong_secret_is_told_like_an_unknown_id<H: Harness<dyn CredentialStore>>(
    harness: &H,
) {
    let (store, _guard) = harness.fresh().await;
    for id in ["t1", "t2"] {
        create(&store, id).await;
    }
    let tell = |result: BackendResult<Token>, id: &str| {
        let err: BackendError = result.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{}", err.chain());
        err.chain().replace(id, "ID")
    };
    let wrong = tell(present(&store, "t1", "t2", 200).await, "t1");
    let unknown = tell(present(&store, "t9", "t2", 200).await, "t9");
    assert_eq!(wrong, unknown);
    store.revoke(&write().await, &name("t1"), at(200)).await.unwrap();
    assert_eq!(tell(present(&store, "t1", "t2", 300).await, "t1"), unknown);
}

/// > A token that has expired at the given instant is `Unauthenticated`.
pub async fn a_token_expires<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    create(&store, "t1").await;
    present(&store, "t1", "t1", 999).await.unwrap();
    for seconds in [1_000, 9_000] {
        refused(present(&store, "t1", "t1", seconds).await, ErrorKind::Unauthenticated);
    }
}

/// > A token that was revoked is `Unauthenticated` from then on
pub async fn a_revoked_token_is_refused<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    for id in ["t1", "t2"] {
        create(&store, id).await;
        present(&store, id, id, 150).await.unwrap();
    }
    store.revoke(&write().await, &name("t1"), at(200)).await.unwrap();
    for seconds in [100, 200, 300] {
        refused(present(&store, "t1", "t1", seconds).await, ErrorKind::Unauthenticated);
    }
    present(&store, "t2", "t2", 300).await.unwrap();
}

/// > `authenticate` notes the use of a token.
pub async fn use_is_noted<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    create(&store, "t1").await;
    assert_eq!(only(&store).await.last_used_at, None);
    for seconds in [200, 260, 400] {
        let given = present(&store, "t1", "t1", seconds).await.unwrap();
        assert_eq!(only(&store).await.last_used_at, Some(at(seconds)));
        assert_eq!(given.last_used_at, Some(at(seconds)));
    }
}

/// > A use within a minute after the noted one is not noted, and neither is a refused one.
pub async fn use_is_noted_once_a_minute<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    create(&store, "t1").await;
    for seconds in [200, 200, 259, 150] {
        present(&store, "t1", "t1", seconds).await.unwrap();
        assert_eq!(only(&store).await.last_used_at, Some(at(200)), "after a use at {seconds} s");
    }
    refused(present(&store, "t1", "wrong", 500).await, ErrorKind::Unauthenticated);
    refused(present(&store, "t1", "t1", 1_500).await, ErrorKind::Unauthenticated);
    assert_eq!(only(&store).await.last_used_at, Some(at(200)), "after a refused use");
}

/// > `revoke` keeps the first instant: doing it again is no error. An unknown id is `NotFound`.
pub async fn the_first_revocation_counts<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    refused(store.revoke(&write().await, &name("t1"), at(200)).await, ErrorKind::NotFound);
    create(&store, "t1").await;
    for seconds in [200, 300] {
        store.revoke(&write().await, &name("t1"), at(seconds)).await.unwrap();
        assert_eq!(only(&store).await.revoked_at, Some(at(200)));
    }
}

/// > `tokens` gives tokens in the order of their ids, after the id given, no more than asked for, and also those worth nothing.
pub async fn tokens_are_paged_in_order<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    for id in ["d", "b", "c", "a"] {
        create(&store, id).await;
    }
    store.revoke(&write().await, &name("c"), at(200)).await.unwrap();
    let page = async |after: Option<&str>, limit| {
        let after = after.map(name::<TokenId>);
        let page = store.tokens(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|it| it.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["a", "b", "c", "d"]);
    assert_eq!(page(None, 2).await, ["a", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c", "d"]);
    assert_eq!(page(Some("bb"), 1).await, ["c"]);
    assert_eq!(page(Some("d"), 9).await, Vec::<String>::new());
}

/// > A permit for another action than `TokenWrite` is `PermissionDenied`, from `create` and `revoke` alike.
pub async fn writing_takes_a_permit<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let made = create(&store, "t1").await;
    for wrong in [
        permit(Action::HostWrite, Resource::System).await,
        permit(Action::TokenWrite, Resource::Service(name("web"))).await,
    ] {
        refused(store.create(&wrong, &request("t2")).await, ErrorKind::PermissionDenied);
        let revoke = store.revoke(&wrong, &name("t1"), at(200)).await;
        refused(revoke, ErrorKind::PermissionDenied);
    }
    assert_eq!(only(&store).await, made);
}

/// > an id that was ever used is `AlreadyExists`
pub async fn one_of_many_makers_wins<H: Harness<dyn CredentialStore>>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    one_wins(&vec![store; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn CredentialStore>]) {
    let permit = write().await;
    let makers = handles.iter().enumerate().map(|(at, store)| {
        let (store, permit) = (Arc::clone(store), permit.clone());
        let mut request = request("t1");
        request.secret = secret(&format!("maker-{at}"));
        async move { (at, store.create(&permit, &request).await) }
    });
    let mut won = Vec::new();
    for (at, done) in race(makers).await {
        match done {
            Ok(_) => won.push(format!("maker-{at}")),
            Err(err) => assert_eq!(err.kind(), ErrorKind::AlreadyExists, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} makers won", won.len());
    for store in handles {
        present(store, "t1", &won[0], 200).await.unwrap();
    }
}

/// > A token that was revoked is `Unauthenticated` from then on
pub async fn tokens_and_revocations_survive_a_crash<H: DurableHarness<dyn CredentialStore>>(
    harness: &H,
) {
    let (store, guard) = harness.fresh().await;
    for id in ["t1", "t2"] {
        create(&store, id).await;
    }
    store.revoke(&write().await, &name("t1"), at(200)).await.unwrap();
    let store = harness.reopen(store, &guard).await;
    refused(present(&store, "t1", "t1", 300).await, ErrorKind::Unauthenticated);
    let found = present(&store, "t2", "t2", 300).await.unwrap();
    assert_eq!((&found.scope, found.expires_at), (&request("t2").scope, at(1_000)));
    assert_eq!(store.tokens(None, 10).await.unwrap().len(), 2);
}

/// > from then on, wherever it is presented.
pub async fn a_revocation_holds_in_every_process<H: ConcurrentHarness<dyn CredentialStore>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    create(&one, "t1").await;
    for store in [&one, &two] {
        present(store, "t1", "t1", 200).await.unwrap();
    }
    one.revoke(&write().await, &name("t1"), at(201)).await.unwrap();
    for store in [&two, &one] {
        refused(present(store, "t1", "t1", 201).await, ErrorKind::Unauthenticated);
    }
}

/// > an id that was ever used is `AlreadyExists`
pub async fn one_of_two_processes_wins<H: ConcurrentHarness<dyn CredentialStore>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}

/// One test for each case of [`CredentialStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! credential_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::credential_store_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            credential_store, $harness;
            a_token_is_kept_as_it_was_made
            an_id_is_used_once
            a_token_lives_at_all
            the_right_secret_gives_the_token
            a_wrong_secret_is_told_like_an_unknown_id
            a_token_expires
            a_revoked_token_is_refused
            use_is_noted
            use_is_noted_once_a_minute
            the_first_revocation_counts
            tokens_are_paged_in_order
            writing_takes_a_permit
            one_of_many_makers_wins
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            credential_store, $harness;
            tokens_and_revocations_survive_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            credential_store, $harness;
            a_revocation_holds_in_every_process
            one_of_two_processes_wins
        }
    };
}
