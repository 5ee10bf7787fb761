use deploy_core::digest::{Digest, digest_of};
use proptest::prelude::*;
use serde::{Serialize, Serializer, ser::Error as _};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize)]
enum Value {
    Absent(Option<()>),
    Bool(bool),
    Bytes(Bytes),
    Unit,
    Number(i128),
    Text(String),
    Maybe(Option<Box<Self>>),
    List(Vec<Self>),
    Pair(Box<Self>, Box<Self>),
    Map(BTreeMap<String, Self>),
    Fields { a: Box<Self>, b: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Absent(None)),
        Just(Value::Unit),
        any::<bool>().prop_map(Value::Bool),
        any::<Vec<u8>>().prop_map(|it| Value::Bytes(Bytes(it))),
        (-3_i128..4).prop_map(Value::Number),
        any::<i128>().prop_map(Value::Number),
        "[a-c.{\\[]{0,3}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::option::of(inner.clone().prop_map(Box::new)).prop_map(Value::Maybe),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::Pair(Box::new(a), Box::new(b))),
            prop::collection::btree_map("[a-b]{0,2}", inner.clone(), 0..3).prop_map(Value::Map),
            (inner, any::<Vec<u8>>()).prop_map(|(a, b)| Value::Fields { a: Box::new(a), b }),
        ]
    })
}

proptest! {
    #[test]
    fn values_differ_as_their_digests_do(a in values(), b in values()) {
        prop_assert_eq!(a == b, digest_of(&a) == digest_of(&b));
        prop_assert_eq!(digest_of(&a), digest_of(&a.clone()));
    }

    #[test]
    fn the_split_of_texts_matters(texts in prop::collection::vec("[a.]{0,4}", 0..4), at in 0_usize..4) {
        let mut split = texts.clone();
        let moved = split.get(at).is_some_and(|it| !it.is_empty());
        if let (true, Some(next)) = (moved, at.checked_add(1).filter(|it| *it < split.len())) {
            let last = split[at].pop().unwrap();
            split[next].insert(0, last);
            prop_assert_eq!(texts == split, digest_of(&texts) == digest_of(&split));
        }
    }

    #[test]
    fn the_width_of_an_integer_does_not_matter(number in any::<i8>()) {
        let digest = digest_of(&number);
        prop_assert_eq!(digest, digest_of(&i16::from(number)));
        prop_assert_eq!(digest, digest_of(&i32::from(number)));
        prop_assert_eq!(digest, digest_of(&i64::from(number)));
        prop_assert_eq!(digest, digest_of(&i128::from(number)));
        if let Ok(number) = u8::try_from(number) {
            prop_assert_eq!(digest, digest_of(&number));
            prop_assert_eq!(digest, digest_of(&u64::from(number)));
            prop_assert_eq!(digest, digest_of(&u128::from(number)));
        }
    }

    #[test]
    fn long_values_count_to_the_last_byte(len in 1_usize..40_000, at in any::<prop::sample::Index>()) {
        let text = vec![b'a'; len];
        let mut other = text.clone();
        other[at.index(len)] = b'b';
        prop_assert_ne!(digest_of(&Bytes(text.clone())), digest_of(&Bytes(other)));
        prop_assert_ne!(digest_of(&Bytes(text.clone())), digest_of(&Bytes(text[1..].to_vec())));
    }
}

#[test]
fn what_looks_alike_differs() {
    #[derive(Serialize)]
    struct Field {
        a: u8,
    }
    let map = BTreeMap::from([("a", 1_u8)]);
    let digests = [
        digest_of(&Field { a: 1 }),
        digest_of(&map),
        digest_of(&[("a", 1_u8)]),
        digest_of(&("a", 1_u8)),
        digest_of(&Some(("a", 1_u8))),
        digest_of(&Some(Some(1_u8))),
        digest_of(&Some(1_u8)),
        digest_of(&1_u8),
        digest_of(&-1_i8),
        digest_of(&1.0_f64),
        digest_of(&true),
        digest_of("1"),
        digest_of(&None::<u8>),
        digest_of(&()),
        digest_of(&Bytes(b"1".to_vec())),
    ];
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
}

#[test]
fn a_field_that_is_skipped_leaves_no_trace() {
    #[derive(Serialize)]
    struct Old {
        a: u8,
    }
    #[derive(Serialize)]
    struct New {
        a: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<u8>,
    }
    assert_eq!(digest_of(&Old { a: 1 }), digest_of(&New { a: 1, b: None }));
    assert_ne!(digest_of(&Old { a: 1 }), digest_of(&New { a: 1, b: Some(1) }));
}

#[test]
fn a_value_that_refuses_has_a_digest_of_its_own() {
    struct Refuses(&'static str);
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom(self.0))
        }
    }
    assert_ne!(digest_of(&Refuses("a")), digest_of(&Refuses("b")));
    assert_ne!(digest_of(&Refuses("a")), Digest::of(b""));
}

/// Plans that are stored, signed or approved are known by this encoding: it must never change.
#[test]
fn the_encoding_is_the_one_that_plans_are_known_by() {
    #[derive(Serialize)]
    struct Everything {
        flag: bool,
        number: u32,
        below: i64,
        text: &'static str,
        none: Option<u8>,
        some: Option<u8>,
        list: Vec<u8>,
        map: BTreeMap<&'static str, u8>,
        unit: (),
        variant: Result<u8, u8>,
    }
    let everything = Everything {
        flag: true,
        number: 300,
        below: -1,
        text: "text",
        none: None,
        some: Some(1),
        list: vec![1, 2],
        map: BTreeMap::from([("key", 1)]),
        unit: (),
        variant: Ok(1),
    };
    let mut bytes = b"{".to_vec();
    let fields: [(&str, &[u8]); 10] = [
        ("flag", b"y"),
        ("number", b"p\xac\x02"),
        ("below", b"n\x01"),
        ("text", b"t\x04text"),
        ("none", b"-"),
        ("some", b"+p\x01"),
        ("list", b"[p\x01p\x02."),
        ("map", b"mt\x03keyp\x01."),
        ("unit", b"u"),
        ("variant", b"v\x02Okp\x01"),
    ];
    for (name, value) in fields {
        bytes.push(b't');
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.as_bytes());
        bytes.extend(value);
    }
    bytes.push(b'.');
    assert_eq!(digest_of(&everything), Digest::of(&bytes));
}
