//! zstd, with all of its parameters in one place: they are part of the formats.
use crate::{Fault, PackageError};
use std::io;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter};

/// The largest window there is (ZSTD_WINDOWLOG_MAX on 64-bit machines).
const LARGEST_WINDOW: u32 = 31;
const SMALLEST_WINDOW: u32 = 10;

/// Compresses `bytes` by themselves.
pub(crate) fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>, PackageError> {
    encode(bytes, &[], level)
}

/// What `target` has that `source` has not. Long matches are looked for in all of the source.
pub(crate) fn patch(source: &[u8], target: &[u8], level: i32) -> Result<Vec<u8>, PackageError> {
    encode(target, source, level)
}

fn encode(bytes: &[u8], source: &[u8], level: i32) -> Result<Vec<u8>, PackageError> {
    let mut context = CCtx::create();
    let mut set = |parameter| context.set_parameter(parameter).map(drop).map_err(failed);
    set(CParameter::CompressionLevel(level))?;
    set(CParameter::DictIdFlag(false))?;
    if !source.is_empty() {
        set(CParameter::EnableLongDistanceMatching(true))?;
        set(CParameter::WindowLog(window_log(source.len() + bytes.len())))?;
        context.ref_prefix(source).map_err(failed)?;
    }
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    context.compress2(&mut packed, bytes).map_err(failed)?;
    packed.shrink_to_fit();
    Ok(packed)
}

/// The window that reaches over `length` bytes.
fn window_log(length: usize) -> u32 {
    let log = length.checked_next_power_of_two().map_or(LARGEST_WINDOW, usize::ilog2);
    log.clamp(SMALLEST_WINDOW, LARGEST_WINDOW)
}

fn failed(code: usize) -> PackageError {
    PackageError::io("compressing", io::Error::other(zstd_safe::get_error_name(code)))
}

/// Undoes [`compress`], of exactly `size` bytes; takes no memory but for these.
pub(crate) fn decompress(packed: &[u8], size: usize, what: Fault) -> Result<Vec<u8>, PackageError> {
    decode(packed, &[], size, what)
}

/// Undoes [`patch`], of exactly `size` bytes; takes no memory but for these.
pub(crate) fn apply(
    source: &[u8],
    patch: &[u8],
    size: usize,
    what: Fault,
) -> Result<Vec<u8>, PackageError> {
    decode(patch, source, size, what)
}

fn decode(packed: &[u8], source: &[u8], size: usize, what: Fault) -> Result<Vec<u8>, PackageError> {
    let damaged = |code| {
        let detail = format!("it is damaged ({})", zstd_safe::get_error_name(code));
        PackageError::malformed(what, detail)
    };
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW)).map_err(failed)?;
    if !source.is_empty() {
        context.ref_prefix(source).map_err(failed)?;
    }
    let mut bytes = Vec::with_capacity(size);
    let length = context.decompress(&mut bytes, packed).map_err(damaged)?;
    if length != size {
        return Err(PackageError::malformed(what, "a piece of it is shorter than it says"));
    }
    Ok(bytes)
}
