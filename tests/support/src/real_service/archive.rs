//! Packs a server so that the same server gives the same bytes.
use super::{CONTENT, PROGRAM};
use flate2::{Compression, GzBuilder};
use std::{fs, io, path::Path};
use tar::{Builder, EntryType, Header};

/// The package of `version`, whose server is the file `program`.
pub(super) fn pack(version: &str, program: &Path) -> io::Result<Vec<u8>> {
    let page = format!("<!doctype html>\n<title>real service</title>\n<p>{version}</p>\n");
    let line = format!("{version}\n");
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::fast());
    let mut archive = Builder::new(gzip);
    add(&mut archive, "VERSION", 0o644, line.as_bytes())?;
    add_folder(&mut archive, "bin")?;
    add(&mut archive, PROGRAM, 0o755, &fs::read(program)?)?;
    add_folder(&mut archive, CONTENT)?;
    add(&mut archive, &format!("{CONTENT}/index.html"), 0o644, page.as_bytes())?;
    add(&mut archive, &format!("{CONTENT}/version.txt"), 0o644, line.as_bytes())?;
    archive.into_inner()?.finish()
}

fn add_folder(archive: &mut Builder<impl io::Write>, name: &str) -> io::Result<()> {
    let mut header = header(EntryType::Directory, 0o755, 0);
    archive.append_data(&mut header, format!("{name}/"), io::empty())
}

fn add(
    archive: &mut Builder<impl io::Write>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode, content.len() as u64);
    archive.append_data(&mut header, name, content)
}

/// A header that tells nothing of the machine or the time.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
