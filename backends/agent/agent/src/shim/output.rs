//! What steps print: one pipe for both streams, so that their order is kept; read, masked, and put away.
use super::{mask::Masker, spool::Spool};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};
use std::{io, os::fd::OwnedFd, process::Stdio, time::Duration};

/// How much is read at once, and how large the pipe is where that is allowed.
const PIECE: usize = 64 << 10;
const PIPE: usize = 1 << 20;

/// Where it is put.
#[derive(Debug)]
pub(super) enum Sink {
    /// The last of it is kept in memory, up to so many bytes.
    Last(Vec<u8>, usize),
    Spool(Box<Spool>),
}

/// The output of the steps of an attempt.
#[derive(Debug)]
pub(super) struct Output {
    from: OwnedFd,
    /// Held so that the pipe stays open between steps.
    to: Option<OwnedFd>,
    masker: Masker,
    pub(super) sink: Sink,
    /// How much was printed, as it was printed.
    pub(super) printed: u64,
    buffer: Vec<u8>,
    masked: Vec<u8>,
}

impl Output {
    /// For processes of the account `owner`, which may open `/dev/stdout` by its name.
    pub(super) fn new(masker: Masker, sink: Sink, owner: Option<u32>) -> io::Result<Self> {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&from, OFlags::NONBLOCK)?;
        // A small pipe only makes more work.
        _ = fcntl_setpipe_size(&from, PIPE);
        let owner = owner.map(rustix::fs::Uid::from_raw);
        rustix::fs::fchown(&to, owner, None)?;
        let (buffer, masked) = (vec![0; PIECE], Vec::new());
        Ok(Self { from, to: Some(to), masker, sink, printed: 0, buffer, masked })
    }

    /// The end that processes print to.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        let to = self.to.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(to.try_clone()?.into())
    }

    pub(super) const fn source(&self) -> &OwnedFd {
        &self.from
    }

    /// Puts away what there is to read, up to a piece. `false`: there was nothing.
    pub(super) fn read(&mut self, now: Duration) -> io::Result<bool> {
        let length = match rustix::io::read(&self.from, &mut *self.buffer) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(err) => return Err(err.into()),
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        self.printed += length as u64;
        self.masker.push(bytes, &mut self.masked);
        self.put_away(now);
        Ok(length > 0)
    }

    /// Puts away what was printed before now, even where something goes on printing.
    pub(super) fn drain(&mut self, now: Duration) -> io::Result<()> {
        let enough = self.printed + PIPE as u64 + PIECE as u64;
        while self.printed < enough && self.read(now)? {}
        self.masker.flush(&mut self.masked);
        self.put_away(now);
        Ok(())
    }

    /// A line of the shim's own, among what is printed.
    pub(super) fn say(&mut self, line: &str, now: Duration) {
        self.masked.extend_from_slice(line.as_bytes());
        self.put_away(now);
    }

    fn put_away(&mut self, now: Duration) {
        match &mut self.sink {
            Sink::Spool(spool) => {
                spool.write(&self.masked);
                spool.sync_if_due(now);
            }
            Sink::Last(bytes, most) => {
                bytes.extend_from_slice(&self.masked);
                let surplus = bytes.len().saturating_sub(*most);
                drop(bytes.drain(..surplus));
            }
        }
        self.masked.clear();
    }

    /// When something is to be done although nothing is printed.
    pub(super) fn sync_due(&self) -> Option<Duration> {
        match &self.sink {
            Sink::Spool(spool) => spool.sync_due(),
            Sink::Last(..) => None,
        }
    }

    /// Does it.
    pub(super) fn sync_if_due(&mut self, now: Duration) {
        if let Sink::Spool(spool) = &mut self.sink {
            spool.sync_if_due(now);
        }
    }

    /// Lets go of the writing end: reading ends when the last process has.
    pub(super) fn close(&mut self) {
        self.to = None;
    }

    /// Reads and drops. `false`: nobody is left who could print.
    pub(super) fn discard(&mut self) -> bool {
        !matches!(rustix::io::read(&self.from, &mut *self.buffer), Ok(0))
    }
}
