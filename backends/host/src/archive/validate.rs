//! Reads an archive block by block, and refuses it at the first thing that is not plain.
use super::{
    ArchiveError, Limits, Refusal, Rule,
    header::{self, Announced, PaxRecords},
    input::Input,
    tree::{Kind, Tree},
};
use deploy_core::digest::Digest;
use std::{collections::BTreeMap, io::Read};
use tar::Header;

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
