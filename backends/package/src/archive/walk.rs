//! Reads an archive block by block, and refuses it at the first thing that is not plain.
use super::{
    ArchiveError, ArchiveSummary, Limits, Refusal, Rule,
    decoded::Source,
    header::{self, Announced, PaxRecords},
    input::{Input, padding},
    tree::{Kind, Tree},
};
use tar::Header;

/// An entry that breaks no rule.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Without `.` and surplus `/`; empty for the archive's own folder.
    pub(crate) path: String,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Of its content, in bytes.
    pub(crate) size: u64,
    /// Of a link: as it is written for a symbolic one, and the path of the earlier file for a hard one.
    pub(crate) target: String,
}

/// Is told all of an archive, in its order.
pub(crate) trait Visitor {
    /// What stops the walk.
    type Error: From<ArchiveError>;

    /// Bytes of the tar that are no file's content.
    fn framing(&mut self, _bytes: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    /// An entry begins.
    fn entry(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// More of the content of the file that began last.
    fn content(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The entry that began last is over.
    fn done(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Goes through an archive once.
pub(crate) struct Walk<S> {
    input: Input<S>,
    limits: Limits,
    tree: Tree,
    ahead: Ahead,
    entries: u64,
    unpacked: u64,
    framing: u64,
}

/// How many bytes of a tar may be no file's content: so many for each entry that there may be, beyond these. A header has 512, with the
/// longest names and their own headers 6 KiB.
const FRAMING_OF_ONE: u64 = 8 << 10;
const FRAMING_OF_NONE: u64 = 4 << 20;

/// What extension headers said about the entry that follows.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    pax: Option<PaxRecords>,
}

impl<S: Source> Walk<S> {
    pub(crate) fn new(source: S, limits: Limits) -> Self {
        Self {
            input: Input::new(source),
            limits,
            tree: Tree::new(limits),
            ahead: Ahead::default(),
            entries: 0,
            unpacked: 0,
            framing: 0,
        }
    }

    pub(crate) fn run<V: Visitor>(mut self, visitor: &mut V) -> Result<ArchiveSummary, V::Error> {
        loop {
            let block = self.input.block()?;
            self.frame(block.len() as u64)?;
            visitor.framing(&block)?;
            if block.iter().all(|b| *b == 0) {
                break;
            }
            self.header(Header::from_byte_slice(&block), visitor)?;
        }
        if self.ahead.name.is_some() || self.ahead.target.is_some() || self.ahead.pax.is_some() {
            let detail = "it ends with a header about an entry that is not there";
            return Err(ArchiveError::from(Refusal::new(Rule::NotTar, detail)).into());
        }
        let (mut framing, limits) = (self.framing, self.limits);
        let source = self.input.finish(|bytes| {
            count_framing(&mut framing, bytes.len() as u64, limits)?;
            visitor.framing(bytes)
        })?;
        Ok(ArchiveSummary::new(source.seal()?, self.entries, self.unpacked))
    }

    fn header<V: Visitor>(&mut self, header: &Header, visitor: &mut V) -> Result<(), V::Error> {
        let named = |it: Refusal| ArchiveError::from(it.at(&header.path_bytes()));
        let announced = header::announced(header).map_err(named)?;
        let size = header::size(header).map_err(named)?;
        match announced {
            Announced::Entry(kind) => return self.entry(header, kind, size, visitor),
            Announced::LongName => {
                let name = self.long(size, visitor)?;
                once(&mut self.ahead.name, name)?;
            }
            Announced::LongTarget => {
                let target = self.long(size, visitor)?;
                once(&mut self.ahead.target, target)?;
            }
            Announced::Pax => {
                let data = self.small(size, visitor)?;
                once(&mut self.ahead.pax, header::pax(&data, false).map_err(ArchiveError::from)?)?;
            }
            Announced::PaxGlobal => {
                let data = self.small(size, visitor)?;
                header::pax(&data, true).map_err(ArchiveError::from)?;
            }
        }
        Ok(())
    }

    fn entry<V: Visitor>(
        &mut self,
        header: &Header,
        kind: Kind,
        size: u64,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        let ahead = std::mem::take(&mut self.ahead);
        let name = ahead.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = ahead
            .target
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let judged = judge(kind, &name, &target, size, ahead.pax.as_ref());
        let mode = judged.and_then(|()| header::mode(header, kind));
        let entry = mode.and_then(|mode| {
            let (path, target) = self.tree.add(kind, &name, &target)?;
            self.count(size)?;
            Ok(Entry { kind, path, mode, size, target })
        });
        visitor.entry(&entry.map_err(|it| ArchiveError::from(it.at(&name)))?)?;
        self.input.data(size, |bytes| visitor.content(bytes))?;
        self.frame(padding(size))?;
        self.input.data(padding(size), |bytes| visitor.framing(bytes))?;
        visitor.done()
    }

    fn frame(&mut self, bytes: u64) -> Result<(), ArchiveError> {
        count_framing(&mut self.framing, bytes, self.limits)
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

    fn long<V: Visitor>(&mut self, size: u64, visitor: &mut V) -> Result<Vec<u8>, V::Error> {
        let data = self.small(size, visitor)?;
        let text = data.strip_suffix(b"\0").unwrap_or(&data);
        if text.contains(&0) {
            let refusal = Refusal::new(Rule::Name, "a name with a control character").at(text);
            return Err(ArchiveError::from(refusal).into());
        }
        Ok(text.to_vec())
    }

    fn small<V: Visitor>(&mut self, size: u64, visitor: &mut V) -> Result<Vec<u8>, V::Error> {
        let longest =
            u64::try_from(self.limits.path_bytes).unwrap_or(u64::MAX).saturating_mul(4) + 4_096;
        if size > longest {
            let detail = format!("an extension header of {size} bytes");
            return Err(ArchiveError::from(Refusal::new(Rule::Header, detail)).into());
        }
        self.frame(size + padding(size))?;
        let mut data = Vec::new();
        self.input.data(size, |bytes| {
            data.extend_from_slice(bytes);
            visitor.framing(bytes)
        })?;
        self.input.data(padding(size), |bytes| visitor.framing(bytes))?;
        Ok(data)
    }
}

fn count_framing(framing: &mut u64, bytes: u64, limits: Limits) -> Result<(), ArchiveError> {
    *framing = framing.saturating_add(bytes);
    let most = limits.entries.saturating_mul(FRAMING_OF_ONE).saturating_add(FRAMING_OF_NONE);
    if *framing <= most {
        return Ok(());
    }
    let detail = format!("more than {most} bytes of headers and padding");
    Err(Refusal::new(Rule::TooLarge, detail).into())
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
