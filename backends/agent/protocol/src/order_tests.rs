use super::*;
use crate::v1::{Observe, order::Kind};
use proptest::prelude::*;

fn signer() -> OrderSigner {
    OrderSigner::from_secret(&[7; 32])
}

fn gate() -> OrderGate {
    OrderGate::new("h1", vec![1; 16], [signer().public_key()]).unwrap()
}

fn order(sequence: u64) -> Order {
    Order {
        host: "h1".to_owned(),
        session: vec![1; 16],
        sequence,
        good_for_ms: 1_000,
        kind: Some(Kind::Observe(Observe::default())),
    }
}

#[test]
fn orders_pass_once_and_in_their_order() {
    let mut gate = gate();
    for sequence in [1, 2, 5] {
        assert_eq!(gate.admit(&signer().sign(&order(sequence))).unwrap(), order(sequence));
    }
    let mut refused = |sequence| gate.admit(&signer().sign(&order(sequence))).unwrap_err();
    for sequence in [0, 1, 2, 5] {
        assert_eq!(refused(sequence), NotTrusted::Replayed(sequence));
    }
    // Nothing came of these, and nothing will: whoever gave them may be told so, once.
    for sequence in [4, 3] {
        assert_eq!(refused(sequence), NotTrusted::Late { got: sequence, next: 6 });
        assert_eq!(refused(sequence), NotTrusted::Replayed(sequence));
    }
    gate.admit(&signer().sign(&order(u64::MAX))).unwrap();
    let overtaken = gate.admit(&signer().sign(&order(u64::MAX - 1))).unwrap_err();
    assert!(matches!(overtaken, NotTrusted::Late { .. }), "{overtaken}");
    assert!(gate.overtaken.len() as u64 <= OVERTAKEN);
}

#[test]
fn orders_for_others_and_by_others_do_not_pass() {
    let other = Order { host: "h2".to_owned(), ..order(1) };
    let mut gate = gate();
    assert_eq!(gate.admit(&signer().sign(&other)), Err(NotTrusted::OtherHost("h2".to_owned())));
    let other = Order { session: vec![2; 16], ..order(1) };
    assert_eq!(gate.admit(&signer().sign(&other)), Err(NotTrusted::OtherSession));
    let stranger = OrderSigner::from_secret(&[8; 32]);
    assert_eq!(gate.admit(&stranger.sign(&order(1))), Err(NotTrusted::UnknownSigner));
    let posing =
        SignedOrder { signer: signer().sign(&order(1)).signer, ..stranger.sign(&order(1)) };
    assert_eq!(gate.admit(&posing), Err(NotTrusted::BadSignature));
    // Whatever was refused has used up no number.
    gate.admit(&signer().sign(&order(1))).unwrap();
}

#[test]
fn keys_that_are_none_are_refused() {
    // No point of the curve has this for a coordinate.
    let mut bad = [0; 32];
    bad[0] = 2;
    let gate = OrderGate::new("h1", vec![], [bad]);
    assert!(matches!(gate, Err(NotTrusted::BadKey)), "{gate:?}");
}

#[test]
fn no_secret_is_shown() {
    assert_eq!(format!("{:?}", signer()), "OrderSigner { .. }");
}

proptest! {
    #[test]
    fn whatever_is_changed_on_the_way_does_not_pass(
        at in any::<prop::sample::Index>(),
        by in 1_u8..,
        part in 0..3,
    ) {
        let mut signed = signer().sign(&order(1));
        let change = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        };
        match part {
            0 => {
                let mut bytes = signed.order.to_vec();
                change(&mut bytes);
                signed.order = bytes.into();
            }
            1 => change(&mut signed.signature),
            _ => change(&mut signed.signer),
        }
        prop_assert!(gate().admit(&signed).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        order in prop::collection::vec(any::<u8>(), 0..200),
        signature in prop::collection::vec(any::<u8>(), 0..80),
        named in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let signed = SignedOrder { order: order.into(), signature, signer: named };
        prop_assert!(gate().admit(&signed).is_err());
    }
}
