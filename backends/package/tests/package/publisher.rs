//! Whose word is taken, with keys and signatures of minisign itself.
use deploy_core::digest::Digest;
use deploy_package::publisher::{KeyList, NotPublished, PublisherKey, Publishers, Statement};
use minisign::KeyPair;
use proptest::prelude::*;

/// Somebody with a key.
struct Publisher(KeyPair);

impl Publisher {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn key(&self) -> PublisherKey {
        self.0.pk.to_base64().parse().unwrap()
    }

    fn sign(&self, bytes: &[u8]) -> String {
        minisign::sign(None, &self.0.sk, bytes, None, None).unwrap().into_string()
    }
}

fn statement() -> Statement {
    let web = "web".parse().unwrap();
    Statement::new(web, "1.4.2".parse().unwrap(), Digest::of(b"how"), 1_800_000_000)
        .with_package(Digest::of(b"what"))
        .with_manifest(Digest::of(b"tree"))
}

fn some<const N: usize>() -> [Publisher; N] {
    std::array::from_fn(|_| Publisher::new())
}

fn of(publishers: &[Publisher], needed: usize) -> Publishers {
    Publishers::new(publishers.iter().map(Publisher::key), needed).unwrap()
}

#[test]
fn as_many_have_to_sign_as_the_host_says() {
    let [one, two, three, stranger] = &some();
    let all = [one.key(), two.key(), three.key()];
    let believed = Publishers::new(all, 2).unwrap();
    let bytes = statement().to_bytes().unwrap();
    let by = |who: &[&Publisher]| {
        let signatures: Vec<_> = who.iter().map(|it| it.sign(&bytes)).collect();
        believed.verify(&bytes, &signatures)
    };
    assert_eq!(by(&[one, three]).unwrap(), statement());
    assert_eq!(by(&[one, two, three, stranger]).unwrap(), statement());
    for few in [&[][..], &[one], &[one, one], &[one, stranger], &[stranger]] {
        let refused = by(few).unwrap_err();
        let found = usize::from(few.iter().any(|it| it.key() == one.key()));
        assert_eq!(refused, NotPublished::TooFew { found, needed: 2 });
    }
    let crowd: Vec<_> = (0..40).map(|_| one.sign(&bytes)).collect();
    assert_eq!(believed.verify(&bytes, &crowd).unwrap_err().code(), "too_many_signatures");
}

#[test]
fn what_was_signed_is_what_it_is() {
    let publisher = Publisher::new();
    let believed = of(std::slice::from_ref(&publisher), 1);
    let list = KeyList::new(1, 1, vec![publisher.key()]).to_bytes().unwrap();
    let signed = statement().to_bytes().unwrap();
    // One is no other, whoever has signed it.
    let refused = believed.verify(&list, &[publisher.sign(&list)]).unwrap_err();
    assert_eq!(refused.code(), "malformed");
    let refused = believed.succeed(&signed, &[publisher.sign(&signed)], 0).unwrap_err();
    assert_eq!(refused.code(), "malformed");
    for bytes in [&b""[..], b"{}", b"null", &[b' '; 70_000]] {
        let refused = believed.verify(bytes, &[publisher.sign(bytes)]).unwrap_err();
        assert_eq!(refused.code(), "malformed", "{refused}");
    }
    let newer = String::from_utf8(signed).unwrap().replace("\"format\":1", "\"format\":2");
    let refused = believed.verify(newer.as_bytes(), &[publisher.sign(newer.as_bytes())]);
    assert!(refused.unwrap_err().to_string().contains("its format is 2"));
}

#[test]
fn keys_change_by_those_that_went_before() {
    let [old, new, stranger] = &some();
    let believed = of(std::slice::from_ref(old), 1);
    let list = KeyList::new(2, 1, vec![new.key()]);
    let bytes = list.to_bytes().unwrap();
    assert_eq!(believed.succeed(&bytes, &[old.sign(&bytes)], 1).unwrap(), list);
    let refused = believed.succeed(&bytes, &[old.sign(&bytes)], 2).unwrap_err();
    assert_eq!(refused, NotPublished::Old { got: 2, held: 2 });
    for by in [new, stranger] {
        let refused = believed.succeed(&bytes, &[by.sign(&bytes)], 1).unwrap_err();
        assert_eq!(refused.code(), "not_signed");
    }
    let next = list.publishers().unwrap();
    let signed = statement().to_bytes().unwrap();
    next.verify(&signed, &[new.sign(&signed)]).unwrap();
    assert_eq!(next.verify(&signed, &[old.sign(&signed)]).unwrap_err().code(), "not_signed");

    let nobody = KeyList::new(3, 0, vec![new.key()]).to_bytes().unwrap();
    let refused = believed.succeed(&nobody, &[old.sign(&nobody)], 1).unwrap_err();
    assert_eq!(refused, NotPublished::Threshold { needed: 0, keys: 1 });
}

#[test]
fn nothing_is_published_by_none_by_too_few_or_by_one_for_two() {
    let [one, two] = &some();
    let threshold = |keys: Vec<PublisherKey>, needed| Publishers::new(keys, needed).unwrap_err();
    let refused = NotPublished::Threshold { needed: 0, keys: 1 };
    assert_eq!(threshold(vec![one.key()], 0), refused);
    assert_eq!(threshold(vec![], 1), NotPublished::Threshold { needed: 1, keys: 0 });
    let refused = NotPublished::Threshold { needed: 3, keys: 2 };
    assert_eq!(threshold(vec![one.key(), two.key()], 3), refused);
    // The same key under another name.
    let mut text = one.key().to_string();
    let other = if text.as_bytes()[5] == b'A' { "B" } else { "A" };
    text.replace_range(5..6, other);
    let renamed: PublisherKey = text.parse().unwrap();
    assert_ne!(renamed, one.key());
    let refused = NotPublished::Threshold { needed: 2, keys: 1 };
    assert_eq!(threshold(vec![one.key(), renamed], 2), refused);
}

#[test]
fn a_signature_is_read_or_refused() {
    let publisher = Publisher::new();
    let believed = of(std::slice::from_ref(&publisher), 1);
    let bytes = statement().to_bytes().unwrap();
    let refused = believed.verify(&bytes, &["no signature"]).unwrap_err();
    assert_eq!(refused, NotPublished::Signature { number: 1 });
    assert!("RWabc".parse::<PublisherKey>().is_err());
}

proptest! {
    #[test]
    fn whatever_is_said_to_be_a_signature_is_none(
        text in "(untrusted comment: .{0,20}\n)?[A-Za-z0-9+/=]{0,120}\n?(trusted comment: .{0,20}\n)?[A-Za-z0-9+/=]{0,100}"
    ) {
        let publisher = Publisher::new();
        let believed = of(std::slice::from_ref(&publisher), 1);
        let bytes = statement().to_bytes().unwrap();
        prop_assert!(believed.verify(&bytes, &[text]).is_err());
    }

    #[test]
    fn one_byte_more_or_less_is_something_else(at in 0_usize..200, with in 1_u8..) {
        let publisher = Publisher::new();
        let believed = of(std::slice::from_ref(&publisher), 1);
        let mut bytes = statement().to_bytes().unwrap();
        let signature = publisher.sign(&bytes);
        let at = at % bytes.len();
        bytes[at] ^= with;
        prop_assert_eq!(believed.verify(&bytes, &[signature]).unwrap_err().code(), "not_signed");
    }

    #[test]
    fn a_key_is_read_or_refused(text in "(RW)?[A-Za-z0-9+/=]{50,60}|.{0,60}") {
        if let Ok(key) = text.parse::<PublisherKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}
