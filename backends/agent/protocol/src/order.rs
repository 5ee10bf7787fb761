//! Orders are signed, for one host and one session, and each is let through once.
use crate::v1::{Order, SignedOrder};
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use prost::Message as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use thiserror::Error;

/// Goes before what is signed, so that a signature under anything else is none under an order.
const CONTEXT: &[u8] = b"deploy order v1\0";

/// How many bytes of a public key name it.
const NAME: usize = 8;

/// How many numbers that were overtaken are remembered: far more than there are orders on the way at one time.
const OVERTAKEN: u64 = 1_000;

/// The Ed25519 public key of somebody whose orders a host follows.
pub type PublicKey = [u8; 32];

/// Signs orders.
pub struct OrderSigner(SigningKey);

impl OrderSigner {
    /// With this secret key: 32 random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The key that hosts know it by.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `order`.
    #[must_use]
    pub fn sign(&self, order: &Order) -> SignedOrder {
        let order = Bytes::from(order.encode_to_vec());
        let signature = self.0.sign(&signed(&order)).to_bytes().to_vec();
        SignedOrder { order, signature, signer: name_of(&self.public_key()).to_vec() }
    }
}

impl fmt::Debug for OrderSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderSigner").finish_non_exhaustive()
    }
}

/// Why an order is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotTrusted {
    /// The bytes that were signed are no order.
    #[error("the order cannot be read: {0}")]
    Malformed(String),
    /// A key that signers are known by is no key.
    #[error("a signer's public key is not one of Ed25519")]
    BadKey,
    /// Nobody whose orders this host follows has signed it.
    #[error("its signer is not one that this host trusts")]
    UnknownSigner,
    /// The signature is not that of these bytes.
    #[error("its signature does not fit")]
    BadSignature,
    /// It was signed for another host.
    #[error("it is for the host `{0}`")]
    OtherHost(String),
    /// It was signed for another session.
    #[error("it is for another session")]
    OtherSession,
    /// One with a later number was let through before it, and this one never will be.
    #[error("its sequence number is {got}, and {next} was the next")]
    Late {
        /// The order's.
        got: u64,
        /// The smallest that is let through.
        next: u64,
    },
    /// It was let through, or refused as late, before.
    #[error("its sequence number is {0}, and it was here before")]
    Replayed(u64),
}

/// Lets the orders of one session through: each once, in their order, and only those for this host.
#[derive(Debug)]
pub struct OrderGate {
    host: String,
    session: Vec<u8>,
    signers: BTreeMap<[u8; NAME], VerifyingKey>,
    next: u64,
    /// Numbers that have been overtaken and were not seen yet, the newest of them.
    overtaken: BTreeSet<u64>,
}

impl OrderGate {
    /// A gate for a session of `host` that has just begun.
    ///
    /// # Errors
    /// If one of the keys is none.
    pub fn new(
        host: impl Into<String>,
        session: Vec<u8>,
        signers: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, NotTrusted> {
        let signers = signers.into_iter().map(|key| {
            let parsed = VerifyingKey::from_bytes(&key).map_err(|_not_a_key| NotTrusted::BadKey)?;
            Ok((name_of(&key), parsed))
        });
        Ok(Self {
            host: host.into(),
            session,
            signers: signers.collect::<Result<_, _>>()?,
            next: 1,
            overtaken: BTreeSet::new(),
        })
    }

    /// The order, if it is to be followed.
    ///
    /// # Errors
    /// If it is not. An order that was not carried out is [`Late`](NotTrusted::Late) once; whatever comes twice is
    /// [`Replayed`](NotTrusted::Replayed), and says nothing of what becomes of the first.
    pub fn admit(&mut self, order: &SignedOrder) -> Result<Order, NotTrusted> {
        let name = <[u8; NAME]>::try_from(order.signer.as_slice());
        let key =
            name.ok().and_then(|it| self.signers.get(&it)).ok_or(NotTrusted::UnknownSigner)?;
        let signature = Signature::from_slice(&order.signature)
            .map_err(|_not_a_signature| NotTrusted::BadSignature)?;
        key.verify_strict(&signed(&order.order), &signature)
            .map_err(|_no_match| NotTrusted::BadSignature)?;
        let order = Order::decode(order.order.clone())
            .map_err(|err| NotTrusted::Malformed(err.to_string()))?;
        if order.host != self.host {
            return Err(NotTrusted::OtherHost(order.host));
        }
        if order.session != self.session {
            return Err(NotTrusted::OtherSession);
        }
        if order.sequence < self.next {
            return Err(self.belated(order.sequence));
        }
        let remembered = self.next.max(order.sequence.saturating_sub(OVERTAKEN));
        self.overtaken.extend(remembered..order.sequence);
        while self.overtaken.len() as u64 > OVERTAKEN {
            self.overtaken.pop_first();
        }
        self.next = order.sequence.saturating_add(1);
        Ok(order)
    }

    fn belated(&mut self, got: u64) -> NotTrusted {
        if self.overtaken.remove(&got) {
            NotTrusted::Late { got, next: self.next }
        } else {
            NotTrusted::Replayed(got)
        }
    }
}

fn signed(order: &[u8]) -> Vec<u8> {
    [CONTEXT, order].concat()
}

fn name_of(key: &PublicKey) -> [u8; NAME] {
    let mut name = [0; NAME];
    name.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    name
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
