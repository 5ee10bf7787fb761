//! `relay.toml`: how much a relay keeps, how fast it goes, and where it is.
use deploy_distribution::transfer::{Rate, Space};
use serde::Deserialize;
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Why settings cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// They say something that is not understood.
    #[error("{}: {message}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// They cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// How much a relay keeps, how fast it goes, and where it is. All of it has a value that is right for most.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// How much it keeps, in GiB. 50 unless said otherwise.
    pub cache_gib: NonZeroU32,
    /// How much of its file system stays free, in GiB. 2 unless said otherwise.
    pub free_gib: u32,
    /// How fast it has blocks come, in megabits a second; absent is as fast as it goes.
    pub upstream_mbit: Option<NonZeroU32>,
    /// How fast it gives them.
    pub upload_mbit: Option<NonZeroU32>,
    /// Where hosts have blocks of it.
    pub blocks: BlockSettings,
    /// Where agents go through to the server.
    pub way_out: WayOutSettings,
}

/// Where hosts have blocks of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BlockSettings {
    /// Where it listens: at port 7446 unless said otherwise.
    pub listen: SocketAddr,
    /// The `HOST:PORT` that hosts are told; absent is the address from which the server sees it.
    pub address: Option<String>,
}

/// Where agents go through to the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WayOutSettings {
    /// Where it listens: at port 7444 unless said otherwise.
    pub listen: SocketAddr,
    /// Whether it does.
    pub serve: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_gib: const { NonZeroU32::new(50).expect("it is not 0") },
            free_gib: 2,
            upstream_mbit: None,
            upload_mbit: None,
            blocks: BlockSettings::default(),
            way_out: WayOutSettings::default(),
        }
    }
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self { listen: everywhere(7446), address: None }
    }
}

impl Default for WayOutSettings {
    fn default() -> Self {
        Self { listen: everywhere(7444), serve: true }
    }
}

impl Settings {
    /// Those in a file.
    ///
    /// # Errors
    /// If it cannot be read, or says something that is not understood.
    ///
    /// ```
    /// use deploy_relay::Settings;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("relay.toml");
    /// std::fs::write(&path, "cache_gib = 200\n[blocks]\naddress = 'fra-1.example.com:7446'\n")?;
    /// let settings = Settings::read(&path)?;
    /// assert_eq!((settings.cache_gib.get(), settings.free_gib), (200, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path)
            .map_err(|source| SettingsError::Io { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|message| SettingsError::Invalid { path: path.to_owned(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|err| err.to_string())?;
        let address = settings.blocks.address.as_deref();
        if let Some(address) = address.filter(|it| !deploy_distribution::transfer::is_address(it)) {
            let shown = address.escape_debug();
            return Err(format!("`blocks.address` is no HOST:PORT: `{shown}`"));
        }
        Ok(settings)
    }

    pub(crate) fn space(&self) -> Space {
        let gib = |it: u32| u64::from(it) << 30;
        Space::new(gib(self.cache_gib.get())).with_floor(gib(self.free_gib))
    }

    pub(crate) fn upstream(&self) -> Rate {
        rate(self.upstream_mbit)
    }

    pub(crate) fn upload(&self) -> Rate {
        rate(self.upload_mbit)
    }
}

const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

fn rate(mbit: Option<NonZeroU32>) -> Rate {
    NonZeroU64::new(u64::from(mbit?.get()) * 1_000_000 / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_to_be_said() {
        let settings = Settings::parse("").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.space(), Space::new(50 << 30).with_floor(2 << 30));
        assert_eq!((settings.upstream(), settings.upload()), (None, None));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [
            "cache_gib = 0",
            "cache = 5",
            "upload_mbit = 0",
            "[blocks]\nlisten = 'here'",
            "[blocks]\naddress = 'fra-1'",
            "[way_out]\nupstream = 'elsewhere:1'",
        ] {
            assert!(Settings::parse(wrong).is_err(), "{wrong}");
        }
        let some = Settings::parse("upstream_mbit = 80\n[way_out]\nserve = false").unwrap();
        assert_eq!(some.upstream().unwrap().get(), 10_000_000);
        assert!(!some.way_out.serve);
    }
}
