//! Who publishes releases, and whose word a host takes for it.
//!
//! A publisher signs a [`Statement`]: that these bytes are this version of this service. The signature is one of
//! [minisign](https://jedisct1.github.io/minisign/) (Ed25519), so that its tools make and check it as well. A host has the keys that it
//! believes ([`Publishers`]) from whoever set it up, and not from the server: a server that somebody has taken over has no release to give
//! that the publishers have not signed.
//!
//! Keys change by a [`KeyList`] that is signed by those that went before.
//!
//! ```
//! use deploy_package::publisher::{Publishers, Statement};
//! # use deploy_core::digest::Digest;
//! # use minisign::KeyPair;
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair()?;
//! # let sign = |bytes: &[u8]| minisign::sign(None, &sk, bytes, None, None).map(|it| it.into_string());
//! # let public = pk.to_base64();
//! let (descriptor, package) = (Digest::of(b"how"), Digest::of(b"what"));
//! let statement = Statement::new("web".parse()?, "1.4.2".parse()?, descriptor, 1_800_000_000).with_package(package);
//! let bytes = statement.to_bytes()?;
//! // As `minisign -Sm statement.json` does it.
//! let signature = sign(&bytes)?;
//!
//! let publishers = Publishers::new([public.parse()?], 1)?;
//! assert_eq!(publishers.verify(&bytes, &[&signature])?, statement);
//! assert!(publishers.verify(b"another statement", &[&signature]).is_err());
//! # Ok(())
//! # }
//! # example().unwrap();
//! ```
mod error;
mod key;
mod keys;
mod statement;

pub use error::NotPublished;
pub use key::{ParsePublisherKeyError, PublisherKey};
pub use keys::{KeyList, Publishers};
pub use statement::Statement;
