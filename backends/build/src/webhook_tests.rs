use super::*;
use proptest::prelude::*;

const COMMIT: &str = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c";
const GITHUB: &str = include_str!("../tests/webhooks/github-push.json");
const GITLAB: &str = include_str!("../tests/webhooks/gitlab-tag.json");
const GITEA: &str = include_str!("../tests/webhooks/gitea-push.json");

fn secret() -> Secret {
    Secret::new(b"It's a Secret to Everybody".to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// Sends `body` as `forge` does, signed with `secret`.
fn send(
    forge: Forge,
    event: &str,
    secret: &Secret,
    body: &[u8],
) -> Result<Option<Push>, WebhookError> {
    let signature = hex(&HMAC::mac(body, secret.reveal()));
    let token = String::from_utf8_lossy(secret.reveal()).into_owned();
    let headers = match forge {
        Forge::Gitea => [("x-gitea-event", event.to_owned()), ("x-gitea-signature", signature)],
        Forge::GitHub => [
            ("x-github-event", event.to_owned()),
            ("x-hub-signature-256", format!("sha256={signature}")),
        ],
        Forge::GitLab => [("x-gitlab-event", event.to_owned()), ("x-gitlab-token", token)],
    };
    let header = |name: &str| headers.iter().find(|it| it.0 == name).map(|it| it.1.as_str());
    forge.read(&self::secret(), header, body)
}

#[test]
fn a_signature_is_that_of_the_forge() {
    // The example of GitHub's own documentation.
    let signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert!(is_signed(b"Hello, World!", &secret(), signature));
    assert!(!is_signed(b"Hello, World?", &secret(), signature));
    for bad in ["", "sha256=", "757107", &signature.replace('7', "g"), &"é".repeat(32)] {
        assert!(!is_signed(b"Hello, World!", &secret(), bad), "{bad}");
    }
}

#[test]
fn pushes_are_read() {
    for (forge, event, body, revision, commit) in [
        (Forge::GitHub, "push", GITHUB, "refs/heads/main", Some(COMMIT)),
        (Forge::GitLab, "Tag Push Hook", GITLAB, "refs/tags/v1.4.2", None),
        (Forge::Gitea, "push", GITEA, "refs/heads/main", Some(COMMIT)),
    ] {
        let push = send(forge, event, &secret(), body.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (push.revision.as_str(), push.commit.as_ref().map(CommitId::as_str)),
            (revision, commit),
            "{forge:?}"
        );
        assert_eq!(push.remotes.len(), 2, "{forge:?}");
        for mine in [
            "https://git.example.com/team/web",
            "git@git.example.com:team/web.git",
            "ssh://git@GIT.example.com/team/web.git",
        ] {
            let mine: GitRemote = mine.parse().unwrap();
            assert!(
                push.remotes.iter().any(|it| it.is_same_repository(&mine)),
                "{forge:?}: {mine}"
            );
        }
        let other: GitRemote = "https://git.example.com/team/website".parse().unwrap();
        assert!(!push.remotes.iter().any(|it| it.is_same_repository(&other)));
    }
}

#[test]
fn what_cannot_be_built_is_nothing() {
    let gone = GITHUB.replace(COMMIT, &"0".repeat(40));
    let note = GITHUB.replace("refs/heads/main", "refs/notes/commits");
    for (event, body) in [("ping", "{}"), ("issues", GITHUB), ("push", &gone), ("push", &note)] {
        assert_eq!(send(Forge::GitHub, event, &secret(), body.as_bytes()), Ok(None), "{event}");
    }
}

#[test]
fn what_is_not_signed_is_not_read() {
    let other = Secret::new(b"a guess".to_vec()).unwrap();
    for (forge, event, body) in [
        (Forge::GitHub, "push", GITHUB),
        (Forge::GitLab, "Tag Push Hook", GITLAB),
        (Forge::Gitea, "push", GITEA),
    ] {
        assert_eq!(send(forge, event, &other, body.as_bytes()), Err(WebhookError::BadSignature));
        assert_eq!(forge.read(&secret(), |_| None, body.as_bytes()), Err(WebhookError::Unsigned));
        assert_eq!(send(forge, event, &other, b"not JSON"), Err(WebhookError::BadSignature));
        assert_eq!(send(forge, event, &secret(), b"not JSON"), Err(WebhookError::Unreadable));
    }
    let evil = GITHUB.replace("refs/heads/main", "refs/heads/--upload-pack=x");
    assert_eq!(
        send(Forge::GitHub, "push", &secret(), evil.as_bytes()),
        Err(WebhookError::Unreadable)
    );
    let nowhere = GITHUB.replace("https://", "ext::").replace("git@", "-");
    assert_eq!(
        send(Forge::GitHub, "push", &secret(), nowhere.as_bytes()),
        Err(WebhookError::Unreadable)
    );
}

proptest! {
    #[test]
    fn anything_signed_is_read_or_refused(body in "\\PC{0,200}", at in 0..GITHUB.len(), byte: u8) {
        for forge in [Forge::Gitea, Forge::GitHub, Forge::GitLab] {
            let event = if forge == Forge::GitLab { "Push Hook" } else { "push" };
            drop(send(forge, event, &secret(), body.as_bytes()));
            let mut mutated = GITHUB.as_bytes().to_vec();
            mutated[at] = byte;
            drop(send(forge, event, &secret(), &mutated));
        }
    }

    #[test]
    fn one_other_byte_is_another_body(at in 0..GITHUB.len(), bit in 0_u8..8) {
        let signature = hex(&HMAC::mac(GITHUB, secret().reveal()));
        let mut mutated = GITHUB.as_bytes().to_vec();
        mutated[at] ^= 1 << bit;
        prop_assert!(!is_signed(&mutated, &secret(), &signature));
    }
}
