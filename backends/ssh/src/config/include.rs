//! The files that an `Include` names.
use crate::pattern;
use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// What an `Include` has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Included {
    /// The files, by name.
    pub(super) files: Vec<PathBuf>,
    /// The folders that were searched: another file may appear there.
    pub(super) folders: Vec<PathBuf>,
}

/// Finds the files that `value` names: `*` and `?` stand for characters of one component of the path. What does not exist
/// is left out.
pub(super) fn find(value: &str, base: &Path, home: Option<&Path>) -> Included {
    let path = match (value.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => base.join(value),
    };
    let mut found = Included { files: vec![PathBuf::new()], folders: Vec::new() };
    for component in path.components() {
        found.descend(component);
    }
    let Included { mut files, mut folders } = found;
    folders.extend(files.iter().filter_map(|it| it.parent()).map(Path::to_path_buf));
    files.retain(|it| it.is_file());
    folders.dedup();
    Included { files, folders }
}

impl Included {
    fn descend(&mut self, component: Component<'_>) {
        let name = component.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            self.files.iter_mut().for_each(|it| it.push(component));
            return;
        }
        for folder in std::mem::take(&mut self.files) {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|it| it.file_name().into_string().ok());
            let mut fitting: Vec<String> = names
                .filter(|it| pattern::matches(&name, it))
                .filter(|it| !it.starts_with('.') || name.starts_with('.'))
                .collect();
            fitting.sort();
            self.files.extend(fitting.iter().map(|it| folder.join(it)));
            self.folders.push(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_by_name_and_by_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("conf.d")).unwrap();
        for name in ["conf.d/b.conf", "conf.d/a.conf", "conf.d/.hidden.conf", "conf.d/a.bak", "x"] {
            fs::write(at(name), "").unwrap();
        }
        let files = |value: &str| find(value, dir.path(), Some(dir.path())).files;
        assert_eq!(files("x"), [at("x")]);
        assert_eq!(files("~/x"), [at("x")]);
        assert_eq!(files("conf.d/*.conf"), [at("conf.d/a.conf"), at("conf.d/b.conf")]);
        assert_eq!(files("con?.d/a.*"), [at("conf.d/a.bak"), at("conf.d/a.conf")]);
        assert_eq!(files("missing"), [] as [PathBuf; 0]);
        assert_eq!(files("conf.d"), [] as [PathBuf; 0], "a folder is no file");
        assert!(find("conf.d/*", dir.path(), None).folders.contains(&at("conf.d")));
    }
}
