//! Reads an archive block by block, and refuses it at the first thing that is not plain.
use super::{
    ArchiveError, Limits, Refusal, Rule,
    header::{self, Announced, PaxRecords},
    tree::{Kind, Tree},
};
use deploy_core::digest::{Digest, Hasher};
use flate2::bufread::GzDecoder;
use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read},
};
use tar::Header;

const BLOCK: usize = 512;

/// What an archive that was accepted holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveSummary {
    /// How many files, folders and links.
    pub entries: u64,
    /// How many bytes its files have.
    pub unpacked_bytes: u64,
    /// How many bytes the archive itself has.
    pub packed_bytes: u64,
    /// The SHA-256 of the archive itself.
    pub digest: Digest,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveFile {
    /// Whether its account may execute it.
    pub executable: bool,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads all of a `tar.gz` archive and says whether it may be unpacked on a host. This blocks.
///
/// # Errors
/// The first [`Rule`] that it breaks and the entry, or that it cannot be read.
pub fn validate(archive: impl Read, limits: Limits) -> Result<ArchiveSummary, ArchiveError> {
    Walk::new(archive, limits).run(&mut |_, _| Ok(()))
}

/// Reads the files of a small `tar.gz` archive into memory, by path. It may hold files and folders, and no links. This blocks.
///
/// # Errors
/// As [`validate`].
pub fn read_files(
    archive: impl Read,
    limits: Limits,
) -> Result<BTreeMap<String, ArchiveFile>, ArchiveError> {
    let mut files = BTreeMap::new();
    Walk::new(archive, limits).run(&mut |entry, bytes| match entry.kind {
        Kind::Folder => Ok(()),
        Kind::HardLink | Kind::SymbolicLink => {
            Err(Refusal::new(Rule::Type, "a link in a descriptor").at(entry.path.as_bytes()))
        }
        Kind::File => {
            let executable = entry.mode & 0o100 != 0;
            let file = files
                .entry(entry.path.clone())
                .or_insert_with(|| ArchiveFile { executable, bytes: Vec::new() });
            file.bytes.extend_from_slice(bytes);
            Ok(())
        }
    })?;
    Ok(files)
}

struct Entry {
    kind: Kind,
    path: String,
    mode: u32,
}

/// Is given every entry once with no bytes, and then once more for each piece of a file.
type Sink<'a> = dyn FnMut(&Entry, &[u8]) -> Result<(), Refusal> + 'a;

struct Walk<R: Read> {
    input: Input<R>,
    limits: Limits,
    tree: Tree,
    ahead: Ahead,
    entries: u64,
    unpacked: u64,
}

/// What extension headers said about the entry that follows.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax: Option<PaxRecords>,
}

impl<R: Read> Walk<R> {
    fn new(archive: R, limits: Limits) -> Self {
        let input = Input::new(archive, limits);
        Self {
            input,
            limits,
            tree: Tree::new(limits),
            ahead: Ahead::default(),
            entries: 0,
            unpacked: 0,
        }
    }

    fn run(mut self, sink: &mut Sink<'_>) -> Result<ArchiveSummary, ArchiveError> {
        loop {
            let block = self.input.block()?;
            if block.iter().all(|b| *b == 0) {
                break;
            }
            self.header(Header::from_byte_slice(&block), sink)?;
        }
        if self.ahead.name.is_some() || self.ahead.target.is_some() || self.ahead.pax.is_some() {
            return Err(Refusal::new(
                Rule::NotTar,
                "it ends with a header about an entry that is not there",
            )
            .into());
        }
        let (packed_bytes, digest) = self.input.finish()?;
        Ok(ArchiveSummary {
            entries: self.entries,
            unpacked_bytes: self.unpacked,
            packed_bytes,
            digest,
        })
    }

    fn header(&mut self, header: &Header, sink: &mut Sink<'_>) -> Result<(), ArchiveError> {
        let named = |it: Refusal| it.at(&header.path_bytes());
        let announced = header::announced(header).map_err(named)?;
        let size = header::size(header).map_err(named)?;
        match announced {
            Announced::Entry(kind) => self.entry(header, kind, size, sink),
            Announced::LongName => {
                let name = self.long(size)?;
                once(&mut self.ahead.name, name)
            }
            Announced::LongTarget => {
                let target = self.long(size)?;
                once(&mut self.ahead.target, target)
            }
            Announced::Pax => {
                let records = header::pax(&self.small(size)?, false)?;
                once(&mut self.ahead.pax, records)
            }
            Announced::PaxGlobal => Ok(_ = header::pax(&self.small(size)?, true)?),
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: Kind,
        size: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), ArchiveError> {
        let ahead = std::mem::take(&mut self.ahead);
        let name = ahead.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = ahead
            .target
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let judged = judge(kind, &name, &target, size, ahead.pax.as_ref());
        let mode = judged.and_then(|()| header::mode(header, kind)).map_err(|it| it.at(&name))?;
        let path = self.tree.add(kind, &name, &target)?;
        self.count(size).map_err(|it| it.at(&name))?;
        let entry = Entry { kind, path, mode };
        sink(&entry, &[])?;
        self.input.data(size, &mut |bytes| sink(&entry, bytes)).map_err(|err| match err {
            ArchiveError::Refused(it) => it.at(&name).into(),
            io @ ArchiveError::Io(_) => io,
        })
    }

    fn count(&mut self, size: u64) -> Result<(), Refusal> {
        self.entries += 1;
        self.unpacked = self.unpacked.saturating_add(size);
        if self.entries > self.limits.entries {
            let detail = format!("more than {} entries", self.limits.entries);
            return Err(Refusal::new(Rule::TooManyEntries, detail));
        }
        if self.unpacked > self.limits.unpacked_bytes {
            let detail =
                format!("more than {} bytes when it is unpacked", self.limits.unpacked_bytes);
            return Err(Refusal::new(Rule::TooLarge, detail));
        }
        Ok(())
    }

    fn long(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let data = self.small(size)?;
        let text = data.strip_suffix(b"\0").unwrap_or(&data);
        if text.contains(&0) {
            return Err(Refusal::new(Rule::Name, "a name with a control character")
                .at(text)
                .into());
        }
        Ok(text.to_vec())
    }

    fn small(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let longest =
            u64::try_from(self.limits.path_bytes).unwrap_or(u64::MAX).saturating_mul(4) + 4_096;
        if size > longest {
            return Err(
                Refusal::new(Rule::Header, format!("an extension header of {size} bytes")).into()
            );
        }
        let mut data = Vec::new();
        self.input.data(size, &mut |bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(data)
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), ArchiveError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(Rule::Header, "two headers say the same of one entry").into()),
    }
}

/// What has to hold between an entry's header and what was said ahead of it.
fn judge(
    kind: Kind,
    name: &[u8],
    target: &[u8],
    size: u64,
    pax: Option<&PaxRecords>,
) -> Result<(), Refusal> {
    if kind != Kind::File && size != 0 {
        return Err(Refusal::new(Rule::SizeMismatch, "a folder or link that claims to have bytes"));
    }
    let last = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if kind != Kind::Folder && !name.is_empty() && matches!(last, b"" | b".") {
        let detail = "a file or link whose name is a folder's";
        return Err(Refusal::new(Rule::Header, detail));
    }
    let Some(pax) = pax else { return Ok(()) };
    if pax.size.is_some_and(|it| it != size) {
        return Err(Refusal::new(
            Rule::SizeMismatch,
            "its header and its PAX record say different sizes",
        ));
    }
    let other = |said: &Option<Vec<u8>>, held: &[u8]| said.as_ref().is_some_and(|it| it != held);
    if other(&pax.path, name) || other(&pax.target, target) {
        return Err(Refusal::new(
            Rule::Header,
            "a name in a PAX record, which not every `tar` reads",
        ));
    }
    Ok(())
}

/// The unpacked bytes of a gzip stream, of which everything is accounted for.
struct Input<R: Read> {
    gzip: GzDecoder<BufReader<Counted<R>>>,
    limits: Limits,
    unpacked: u64,
}

impl<R: Read> Input<R> {
    fn new(archive: R, limits: Limits) -> Self {
        let counted = Counted { inner: archive, count: 0, hasher: Hasher::new(), failure: None };
        let gzip = GzDecoder::new(BufReader::with_capacity(64 << 10, counted));
        Self { gzip, limits, unpacked: 0 }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|it| !it.is_empty()) {
            match self.gzip.read(rest) {
                Ok(0) => return Err(Refusal::new(Rule::Truncated, "it ends early").into()),
                Ok(read) => filled += read,
                Err(err) => return Err(self.failure(&err)),
            }
        }
        self.grown(BLOCK as u64)?;
        Ok(block)
    }

    /// Reads `size` bytes, and what fills up the last block.
    fn data(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        let mut buffer = [0; 16 << 10];
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let mut all = padded.ok_or_else(|| Refusal::new(Rule::TooLarge, "an impossible size"))?;
        while all > 0 {
            let room = usize::try_from(all).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..room).unwrap_or_default();
            let read = self.gzip.read(part).map_err(|err| self.failure(&err))?;
            if read == 0 {
                return Err(Refusal::new(Rule::Truncated, "it ends early").into());
            }
            let real = usize::try_from(left).unwrap_or(usize::MAX).min(read);
            sink(buffer.get(..real).unwrap_or_default())?;
            left -= real as u64;
            all -= read as u64;
            self.grown(read as u64)?;
        }
        Ok(())
    }

    fn grown(&mut self, by: u64) -> Result<(), Refusal> {
        self.unpacked = self.unpacked.saturating_add(by);
        let packed = self.gzip.get_ref().get_ref().count;
        let allowed = packed.saturating_mul(self.limits.ratio).max(self.limits.ratio_floor);
        if self.unpacked > allowed {
            let detail =
                format!("more than {} times larger when it is unpacked", self.limits.ratio);
            return Err(Refusal::new(Rule::Ratio, detail));
        }
        Ok(())
    }

    /// After the first empty block there is another, then only zeros, and then nothing.
    fn finish(mut self) -> Result<(u64, Digest), ArchiveError> {
        let mut buffer = [0; 16 << 10];
        let mut zeros = 0;
        loop {
            match self.gzip.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    self.grown(read as u64)?;
                    zeros += read;
                    if buffer.iter().take(read).any(|b| *b != 0) {
                        return Err(Refusal::new(
                            Rule::TrailingData,
                            "something follows the end of the archive",
                        )
                        .into());
                    }
                }
                Err(err) => return Err(self.failure(&err)),
            }
        }
        if zeros < BLOCK || zeros % BLOCK != 0 {
            return Err(
                Refusal::new(Rule::Truncated, "its end is not marked by two empty blocks").into()
            );
        }
        let mut rest = self.gzip.into_inner();
        if !rest.fill_buf()?.is_empty() {
            return Err(
                Refusal::new(Rule::TrailingData, "something follows the gzip stream").into()
            );
        }
        let counted = rest.into_inner();
        Ok((counted.count, counted.hasher.finish()))
    }

    fn failure(&mut self, err: &io::Error) -> ArchiveError {
        if let Some(failure) = self.gzip.get_mut().get_mut().failure.take() {
            return failure.into();
        }
        match err.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::new(Rule::Truncated, "it ends early").into(),
            _ => Refusal::new(Rule::NotGzip, format!("it is not gzip or damaged ({err})")).into(),
        }
    }
}

/// Counts and hashes what is read, and keeps its own failures apart from the decoder's.
struct Counted<R> {
    inner: R,
    count: u64,
    hasher: Hasher,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.count += read as u64;
                self.hasher.update(buffer.get(..read).unwrap_or_default());
                Ok(read)
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Err(err),
            Err(err) => {
                let kind = err.kind();
                self.failure = Some(err);
                Err(kind.into())
            }
        }
    }
}
