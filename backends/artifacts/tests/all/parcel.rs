//! Exports: what was put in comes out, and whatever else comes is refused.
use deploy_artifacts::{
    Parcel, ParcelEntry, ParcelError, ParcelIndex, ParcelRelease, ParcelWriter, verify_parcel,
};
use deploy_core::{backend::ArtifactKind, digest::Digest, spec::Signed};
use proptest::prelude::*;
use std::{fs, io::Write as _, process::Command};
use tokio::runtime::Builder;

fn wait<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

fn read(file: &[u8]) -> Result<Parcel, ParcelError> {
    wait(verify_parcel(&mut &file[..]))
}

fn entry(kind: ArtifactKind, version: &str, bytes: &[u8]) -> ParcelEntry {
    ParcelEntry {
        repository: "web".parse().unwrap(),
        kind,
        version: version.parse().unwrap(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    }
}

fn pack(index: ParcelIndex, contents: &[Vec<u8>]) -> Result<Vec<u8>, ParcelError> {
    wait(async {
        let mut writer = ParcelWriter::begin(Vec::new(), index).await?;
        for bytes in contents {
            writer.add(&Digest::of(bytes), &mut &bytes[..]).await?;
        }
        writer.finish().await
    })
}

/// Versions `0`, `1`, … of these contents.
fn parcel(contents: &[Vec<u8>]) -> Vec<u8> {
    let numbered = contents.iter().enumerate();
    let entries =
        numbered.map(|(at, it)| entry(ArtifactKind::Package, &at.to_string(), it)).collect();
    pack(ParcelIndex::new(entries, Vec::new()), contents).unwrap()
}

fn release(package: &[u8], descriptor: &[u8]) -> ParcelRelease {
    ParcelRelease {
        id: "web-1".parse().unwrap(),
        service: "web".parse().unwrap(),
        version: "1".parse().unwrap(),
        package: Digest::of(package),
        descriptor: Digest::of(descriptor),
        parameters: [("PORT".parse().unwrap(), "8080".to_owned())].into(),
        provenance: "by hand".to_owned(),
        signed: Some(Signed::new("what was said".to_owned(), vec!["by whom".to_owned()])),
    }
}

/// An artifact behind a foreign index.
fn behind(index: &str) -> Vec<u8> {
    let mut header = [0; 512];
    let mut tar = tar_header(&mut header, &index_place(index), index.len());
    tar.extend(index.as_bytes());
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

fn index_place(index: &str) -> String {
    format!("index/sha256/{}", Digest::of(index.as_bytes()).hex())
}

fn tar_header(header: &mut [u8; 512], name: &str, size: usize) -> Vec<u8> {
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_put_in_comes_out(
        contents in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..2_000), 0..6)
    ) {
        let contents: Vec<_> = contents.into_iter().collect();
        let file = parcel(&contents);
        prop_assert_eq!(&file, &parcel(&contents), "the same content is the same bytes");
        let found = read(&file).unwrap();
        for bytes in &contents {
            let at = usize::try_from(found.offset_of(&Digest::of(bytes)).unwrap()).unwrap();
            prop_assert_eq!(&file[at..at + bytes.len()], &bytes[..]);
        }
    }

    #[test]
    fn a_byte_that_is_another_is_noticed(at in any::<prop::sample::Index>(), by in 1_u8..) {
        let mut file = parcel(&[b"one".to_vec(), vec![7; 1_000]]);
        let at = at.index(file.len());
        file[at] ^= by;
        let err = read(&file).unwrap_err();
        prop_assert!(["damaged", "foreign"].contains(&err.as_str()), "{err}");
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused(at in any::<prop::sample::Index>()) {
        let file = parcel(&[b"one".to_vec(), vec![7; 1_000]]);
        let cut = &file[..at.index(file.len())];
        let err = read(cut).unwrap_err();
        prop_assert!(["short", "foreign"].contains(&err.as_str()), "{err}");
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        index in prop::collection::vec(any::<u8>(), 0..300),
        rest in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        drop(read(&rest));
        let index = String::from_utf8_lossy(&index).into_owned();
        drop(read(&[behind(&index), rest].concat()));
    }
}

#[test]
fn any_tar_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.tar");
    fs::write(&path, parcel(&[b"one".to_vec(), Vec::new()])).unwrap();
    let unpacked = Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&path).status();
    assert!(unpacked.unwrap().success());
    let hex = Digest::of(b"one").hex().to_string();
    assert_eq!(fs::read(folder.path().join("blobs/sha256").join(hex)).unwrap(), b"one");
}

#[test]
fn a_release_brings_all_that_it_consists_of() {
    let entries = vec![
        entry(ArtifactKind::Package, "1", b"package"),
        entry(ArtifactKind::Descriptor, "7", b"descriptor"),
        // Another name for the same bytes, which lie there once.
        entry(ArtifactKind::Package, "1.0", b"package"),
    ];
    let contents = [b"package".to_vec(), b"descriptor".to_vec()];
    let index = ParcelIndex::new(entries.clone(), vec![release(b"package", b"descriptor")]);
    let file = pack(index.clone(), &contents).unwrap();
    assert_eq!(read(&file).unwrap().index, index);
    let half = ParcelIndex::new(entries, vec![release(b"package", b"another")]);
    assert_eq!(pack(half, &contents).unwrap_err().as_str(), "damaged");
}

#[test]
fn what_is_written_is_what_was_promised() {
    let index = || ParcelIndex::new(vec![entry(ArtifactKind::Package, "1", b"bytes")], vec![]);
    let write = async |bytes: &'static [u8]| {
        let mut writer = ParcelWriter::begin(Vec::new(), index()).await?;
        writer.add(&Digest::of(b"bytes"), &mut &bytes[..]).await?;
        writer.finish().await
    };
    for wrong in [&b"byte"[..], b"bytes!", b"bites", b""] {
        assert_eq!(wait(write(wrong)).unwrap_err().as_str(), "damaged", "{wrong:?}");
    }
    assert!(wait(write(b"bytes")).is_ok());
    let left_out = wait(async { ParcelWriter::begin(Vec::new(), index()).await?.finish().await });
    assert_eq!(left_out.unwrap_err().as_str(), "short");
}

#[test]
fn what_is_something_else_is_told_apart() {
    let digest = Digest::of(b"one");
    let lying = format!(
        r#"{{"format":1,"entries":[{{"repository":"web","kind":"package","version":"1","digest":"{digest}","size":3}},
        {{"repository":"web","kind":"package","version":"2","digest":"{digest}","size":9000000000000}}],"releases":[]}}"#
    );
    let path = r#"{"format":1,"entries":[{"repository":"../web","kind":"package","version":"1"}]}"#;
    for (file, code) in [
        (Vec::new(), "foreign"),
        (b"hello".to_vec(), "foreign"),
        (vec![0; 4_096], "foreign"),
        (behind("[]"), "foreign"),
        (behind(r#"{"format":2,"what":"nobody knows"}"#), "too_new"),
        (behind(r#"{"format":1}"#), "damaged"),
        (behind(path), "damaged"),
        (behind(&lying), "too_large"),
        (behind(&lying.replace("9000000000000", "4")), "damaged"),
        (behind(&lying.replace(r#""2""#, r#""1""#).replace("9000000000000", "3")), "damaged"),
    ] {
        assert_eq!(read(&file).unwrap_err().as_str(), code, "{}", String::from_utf8_lossy(&file));
    }
    let mut longer = parcel(&[b"one".to_vec()]);
    longer.push(0);
    assert_eq!(read(&longer).unwrap_err().as_str(), "damaged");
}

/// The right bytes, under a header that lies in one place: a path, a kind, a size, an owner, a mode.
#[test]
fn a_header_that_lies_is_refused() {
    let good = parcel(&[b"one".to_vec()]);
    let at = 512 + good[512..].iter().position(|it| *it == 0).unwrap().next_multiple_of(512);
    let place = format!("blobs/sha256/{}", Digest::of(b"one").hex());
    let mut header = [0; 512];
    assert_eq!(tar_header(&mut header, &place, 3), good[at..at + 512]);
    for (name, size) in
        [("../../../etc/cron.d/x", 3), ("/etc/passwd", 3), (&*place, 4), (&*place, 1 << 32)]
    {
        let mut header = [0; 512];
        let mut file = good.clone();
        file.splice(at..at + 512, tar_header(&mut header, name, size));
        assert_eq!(read(&file).unwrap_err().as_str(), "damaged", "{name}, {size} bytes");
    }
    for kind in *b"1234567LKxgS" {
        let mut file = good.clone();
        file[at + 156] = kind;
        assert_eq!(read(&file).unwrap_err().as_str(), "damaged", "kind {kind}");
    }
}

/// Tars of other programs, with what is in them that should not be, and an index before that.
#[test]
fn a_hostile_tar_is_refused_where_it_begins_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("/etc/passwd", at("link")).unwrap();
    fs::write(at("file"), b"one").unwrap();
    fs::hard_link(at("file"), at("hard")).unwrap();
    let good = parcel(&[b"one".to_vec()]);
    let index_end = 512 + good[512..].iter().position(|it| *it == 0).unwrap().next_multiple_of(512);
    for member in [vec!["link"], vec!["file", "hard"], vec!["./file"], vec!["/etc/passwd"]] {
        let mut tar = Command::new("tar");
        tar.args(["-P", "-cf", "-", "-C"]).arg(folder.path()).args(&member);
        let tar = tar.output().unwrap();
        let file = [&good[..index_end], &tar.stdout].concat();
        assert_eq!(read(&file).unwrap_err().as_str(), "damaged", "{member:?}");
        assert_eq!(read(&tar.stdout).unwrap_err().as_str(), "foreign", "{member:?}");
    }
}

/// An index for a million versions is refused by its size, before it is read.
#[test]
fn a_million_entries_are_refused_before_they_are_read() {
    use std::io::Seek as _;
    let mut header = [0; 512];
    let size = 200_000_000;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&tar_header(&mut header, &index_place("long"), size)).unwrap();
    // Sparse: reading on would be noticed by its time.
    file.set_len(512 + size as u64).unwrap();
    file.rewind().unwrap();
    let err = Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { verify_parcel(&mut tokio::fs::File::from_std(file)).await.unwrap_err() });
    assert_eq!(err.as_str(), "too_large", "{err}");
}
