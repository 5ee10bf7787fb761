//! Makes Rust of the schema, with a compiler that is written in Rust: nothing has to be installed for it.
use std::{error::Error, path::Path};

const SCHEMA: &str = "deploy/agent/v1/agent.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let files = protox::compile([SCHEMA], ["proto"])?;
    println!("cargo:rerun-if-changed={}", Path::new("proto").join(SCHEMA).display());
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::SparingCodec")
        .bytes(".deploy.agent.v1.LogChunk.bytes")
        .bytes(".deploy.agent.v1.FetchChunk.bytes")
        .bytes(".deploy.agent.v1.SignedOrder.order")
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
