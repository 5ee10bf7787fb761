//! Patches between what is in a store of artifacts.
mod support;

use deploy_core::digest::Digest;
use deploy_package::{archive::Limits, patch::Tar};
use deploy_parts::{PartsError, Patches, TarPatch};
use std::{error::Error, fs, path::Path, process::Command, sync::Arc};
use support::{Packages, Tested, noise, version};
use tokio::io::AsyncReadExt as _;

fn patches_of(packages: &Packages, folder: &Path) -> Patches {
    Patches::new(folder, Arc::clone(&packages.store) as _)
}

fn tar_of(archive: &[u8]) -> Result<Tar, Box<dyn Error>> {
    Ok(Tar::read(archive, Limits::PACKAGE, u64::MAX)?.ok_or("too large")?)
}

async fn bytes_of(patches: &Patches, patch: TarPatch) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    let mut reader = patches.open(patch.patch.digest, 0).await?.ok_or("it is gone")?;
    reader.read_to_end(&mut bytes).await?;
    assert_eq!(Digest::of(&bytes), patch.patch.digest);
    Ok(bytes)
}

fn blobs(folder: &Path) -> usize {
    fs::read_dir(folder.join("blobs")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn zstd_makes_the_new_package_s_tar_of_the_old_one_s() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let (old_bytes, new_bytes) = (version(1)?, version(2)?);
    let (old, new) = (packages.put("1", &old_bytes).await?, packages.put("2", &new_bytes).await?);
    let patches = patches_of(&packages, &folder.path().join("patches"));
    assert_eq!(patches.look(new, old).await?, None, "nobody has wanted it yet");
    let patch = patches.patch(new, old).await?.ok_or("no patch")?;
    assert!(patch.patch.size < new.size / 100, "{} of {}", patch.patch.size, new.size);

    let (was, is) = (tar_of(&old_bytes)?, tar_of(&new_bytes)?);
    let lengths = (was.bytes().len() as u64, is.bytes().len() as u64);
    assert_eq!((patch.from_bytes, patch.tar_bytes), lengths);
    let [base, file] = ["base.tar", "patch"].map(|it| folder.path().join(it));
    fs::write(&base, was.bytes())?;
    fs::write(&file, bytes_of(&patches, patch).await?)?;
    let mut zstd = Command::new("zstd");
    zstd.args(["-dcq", "--long=29"]).arg(format!("--patch-from={}", base.display())).arg(&file);
    assert_eq!(Digest::of(&zstd.output()?.stdout), is.digest());
    Ok(())
}

/// Two stores in one folder are two processes.
#[tokio::test]
async fn what_one_process_has_made_is_there_for_the_others_and_is_made_again_once_it_is_gone()
-> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let old = packages.put("1", &version(1)?).await?;
    let new = packages.put("2", &version(2)?).await?;
    let (one, other) = (patches_of(&packages, folder.path()), patches_of(&packages, folder.path()));
    let (made, too) = tokio::join!(one.patch(new, old), other.patch(new, old));
    let (made, too) = (made?, too?);
    assert!(made.is_some() && made == too, "{made:?} {too:?}");
    assert_eq!(patches_of(&packages, folder.path()).look(new, old).await?, Some(made));
    assert_eq!((blobs(folder.path()), fs::read_dir(folder.path().join("work"))?.count()), (1, 0));

    for blob in fs::read_dir(folder.path().join("blobs"))? {
        fs::remove_file(blob?.path())?;
    }
    assert_eq!(one.look(new, old).await?, None);
    assert!(one.open(made.ok_or("no patch")?.patch.digest, 0).await?.is_none());
    assert_eq!(one.patch(new, old).await?, made, "byte for byte the same");
    Ok(())
}

#[tokio::test]
async fn where_a_patch_is_no_shorter_there_is_none_and_that_is_remembered() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let file = |bytes: &[u8]| {
        let file = deploy_package::archive::PackedFile { path: "a", executable: false, bytes };
        deploy_package::archive::pack_files([file], Limits::PACKAGE, Vec::new())
    };
    let noise = noise(400_000);
    let old = packages.put("1", &file(&noise[..200_000])?).await?;
    let new = packages.put("2", &file(&noise[200_000..])?).await?;
    let patches = patches_of(&packages, folder.path());
    assert_eq!(patches.patch(new, old).await?, None);
    assert_eq!(patches.look(new, old).await?, Some(None));
    assert_eq!(blobs(folder.path()), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_no_package_has_no_patch_and_nothing_is_remembered_of_it() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let good = packages.put("1", &version(1)?).await?;
    let bad = packages.put("2", b"no archive").await?;
    let patches = patches_of(&packages, folder.path());
    for (package, base) in [(good, bad), (bad, good)] {
        let refused = patches.patch(package, base).await;
        assert_eq!(refused.as_ref().map_err(PartsError::code), Err("unpublishable"));
        assert_eq!(patches.look(package, base).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_newer_program_has_written_is_made_anew() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let old = packages.put("1", &version(1)?).await?;
    let new = packages.put("2", &version(2)?).await?;
    let patches = patches_of(&packages, folder.path());
    let made = patches.patch(new, old).await?;
    let pair = fs::read_dir(folder.path().join("pairs"))?.next().ok_or("no pair")??.path();
    for text in ["2 something else\n", "", "1 -", "1 abc 5 6 7\n"] {
        fs::write(&pair, text)?;
        assert_eq!(patches.look(new, old).await?, None, "{text:?}");
    }
    assert_eq!(patches.patch(new, old).await?, made);
    Ok(())
}
