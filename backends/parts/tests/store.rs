//! Parts of what is in a store of artifacts.
mod support;

use deploy_core::{digest::Digest, spec::ArtifactRef};
use deploy_package::{
    archive::Limits,
    delta::Delta,
    install::{NewTree, Previous, unpack},
    manifest::Manifest,
    publish::{Holdings, WayKind, ways},
};
use deploy_parts::{PartStore, PartStoreOptions, PartsError};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use support::{Packages, Tested, version};
use tokio::io::AsyncReadExt as _;

fn parts_of(packages: &Packages, folder: &Path) -> Result<PartStore, Box<dyn Error>> {
    let options = PartStoreOptions::default();
    Ok(PartStore::open(folder, Arc::clone(&packages.store) as _, options)?)
}

async fn read(parts: &PartStore, digest: Digest) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    parts
        .open_part(&digest, 0)
        .await?
        .ok_or("there is no such part")?
        .read_to_end(&mut bytes)
        .await?;
    assert_eq!(Digest::of(&bytes), digest);
    Ok(bytes)
}

#[tokio::test]
async fn a_host_gets_from_one_version_to_the_next_by_what_changed() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let (old_bytes, new_bytes) = (version(1)?, version(2)?);
    let (old, new) = (packages.put("1", &old_bytes).await?, packages.put("2", &new_bytes).await?);
    let parts = parts_of(&packages, &folder.path().join("parts"))?;

    let published = parts.publish(new, Some(old)).await?;
    let manifest = Manifest::read(&*old_bytes, Limits::PACKAGE)?.manifest;
    let way = ways(&published.publication, &Holdings::new().with_tree(manifest.digest()?));
    let way = &way[0];
    assert_eq!(way.kind, WayKind::Delta);
    assert!(way.needs.download < new.size / 100, "{} of {}", way.needs.download, new.size);

    // What a host does with it.
    let expected = published.publication.manifest().digest;
    unpack(&*old_bytes, Limits::PACKAGE, &manifest, NewTree::begin(folder.path(), "1")?)?;
    let delta = folder.path().join("delta");
    fs::write(&delta, read(&parts, way.parts[0].part.digest).await?)?;
    let delta = Delta::open(&delta, &manifest, Limits::PACKAGE)?;
    let previous = Previous::open(folder.path().join("1"), manifest)?;
    delta.install(expected, &previous, NewTree::begin(folder.path(), "2")?)?;
    assert_eq!(fs::read(folder.path().join("2/bin/srv"))?[500_000], 2);
    Ok(())
}

#[tokio::test]
async fn what_was_removed_is_made_again_byte_for_byte() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let old = packages.put("1", &version(1)?).await?;
    let new = packages.put("2", &version(2)?).await?;
    let parts = parts_of(&packages, folder.path())?;
    let first = parts.publish(new, Some(old)).await?;
    assert!(read(&parts, first.list.digest).await?.len() as u64 == first.list.size);
    for blob in fs::read_dir(folder.path().join("blobs"))? {
        fs::remove_file(blob?.path())?;
    }
    assert!(parts.open_part(&first.list.digest, 0).await?.is_none());

    let again = parts_of(&packages, folder.path())?.publish(new, Some(old)).await?;
    assert_eq!(again.list, first.list);
    for part in again.publication.parts() {
        read(&parts, part.digest).await?;
    }
    Ok(())
}

#[tokio::test]
async fn lists_of_what_had_to_make_room_go_with_it() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let [kept, gone] =
        [packages.put("1", &version(1)?).await?, packages.put("2", &version(2)?).await?];
    let parts = parts_of(&packages, folder.path())?;
    parts.publish(kept, None).await?;
    let list = parts.publish(gone, None).await?.list.digest;
    fs::remove_file(folder.path().join("blobs").join(list.hex()))?;
    drop(parts);
    let parts = parts_of(&packages, folder.path())?;
    let left = fs::read_dir(folder.path().join("publications"))?;
    let left: Vec<_> = left.map(|it| it.map(|it| it.file_name())).collect::<Result<_, _>>()?;
    assert_eq!(left, [format!("{}.new", kept.digest.hex()).as_str()]);
    assert!(parts.look(kept, None).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_is_no_package_has_no_parts() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let parts = parts_of(&packages, folder.path())?;
    let text = packages.put("1", b"no archive").await?;
    let refused = parts.publish(text, None).await.map(drop);
    assert_eq!(refused.as_ref().map_err(PartsError::code), Err("unpublishable"));
    let missing = ArtifactRef::new(Digest::of(b"nobody put this"), 15);
    let refused = parts.publish(missing, None).await.map(drop);
    assert_eq!(refused.as_ref().map_err(PartsError::code), Err("package_unreadable"));
    assert_eq!(fs::read_dir(folder.path().join("work"))?.count(), 0, "nothing is left of it");
    Ok(())
}

#[tokio::test]
async fn many_who_want_the_same_have_it_made_once() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let new = packages.put("1", &version(1)?).await?;
    let parts = parts_of(&packages, folder.path())?;
    let all = (0..8).map(|_| {
        let parts = parts.clone();
        tokio::spawn(async move { parts.publish(new, None).await.map(|it| it.publication) })
    });
    let all: Vec<_> = all.collect();
    let mut made = Vec::new();
    for one in all {
        made.push(one.await??);
    }
    assert!(made.windows(2).all(|it| it[0] == it[1]));
    Ok(())
}

#[tokio::test]
async fn a_package_is_a_file_once_somebody_asks_for_it() -> Tested {
    let (packages, folder) = (Packages::new().await?, tempfile::tempdir()?);
    let bytes = version(1)?;
    let package = packages.put("1.0.0", &bytes).await?;
    let parts = parts_of(&packages, folder.path())?;
    let all = twice(&parts, package.digest).await?;
    assert!(all.iter().all(|it| fs::read(it).is_ok_and(|it| it == bytes)), "{all:?}");

    fs::remove_file(&all[0])?;
    assert_eq!(fs::read(parts.file(package.digest).await?)?, bytes);
    let missing = parts.file(Digest::of(b"nothing")).await;
    assert!(matches!(missing, Err(PartsError::Package(_))), "{missing:?}");
    let left = fs::read_dir(folder.path().join("work"))?;
    assert_eq!(left.count(), 0, "nothing is left of what was copied");
    Ok(())
}

/// Asks for a file twice at once.
async fn twice(parts: &PartStore, digest: Digest) -> Result<Vec<PathBuf>, PartsError> {
    let (one, two) = tokio::join!(parts.file(digest), parts.file(digest));
    Ok(vec![one?, two?])
}
