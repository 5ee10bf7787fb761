//! A typed client of the control plane, over the documents of `deploy-wire`.
//!
//! Every `POST` carries an idempotency key, so a request whose answer was lost is sent again and done once. Streams of events and
//! uploads go on where they were cut. Every error that the server tells is a [`ClientError::Problem`] with its stable code.
//!
//! ```no_run
//! use deploy_client::{Client, Server};
//! use deploy_wire::NewRollout;
//!
//! # async fn example(token: String, authority: Vec<u8>) -> Result<(), deploy_client::ClientError> {
//! let server = Server::new("https://deploy.example.com:7443", token).with_authority(authority);
//! let client = Client::new(server)?;
//! let asked = NewRollout { service: "web".into(), release: "web-1.4.2".into(), ..Default::default() };
//! let rollout = client.start(&asked).await?;
//! let mut events = client.events(&rollout.id, 0);
//! while let Some(event) = events.next().await? {
//!     println!("{}", event.text.unwrap_or(event.kind));
//! }
//! # Ok(())
//! # }
//! ```
mod agents;
mod api;
mod builds;
mod channels;
mod error;
mod follow;
mod http;
mod limits;
mod query;
mod sse;
mod upkeep;
mod upload;

pub use api::Client;
pub use channels::ArtifactsOf;
pub use error::ClientError;
pub use follow::Feed;
pub use http::Server;
pub use query::PageOf;
pub use upload::ArtifactUpload;
