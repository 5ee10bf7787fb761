//! How messages become bytes.
use prost::Message;
use std::marker::PhantomData;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// The room that a stream begins with for each direction, in bytes. A heartbeat takes a tenth of it; whatever is larger gets what it takes.
const ROOM: usize = 1 << 10;
/// From so many bytes on, what was written so far is sent before there is more: tonic's own number.
const SEND_FROM: usize = 32 << 10;

/// Protocol Buffers in little room. A session says next to nothing nearly all the time, and a server has one for each of its hosts; tonic's own
/// codec takes 16 KiB for each.
#[derive(Clone, Debug)]
pub struct SparingCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SparingCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SparingCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(ROOM, SEND_FROM)
}
