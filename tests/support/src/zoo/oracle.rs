//! What is left of a script, by the test's own means.
use std::{fs, io, path::Path, process::Command};

/// The processes whose environment or arguments hold `mark`, as `PID:NAME`. What has ended has neither.
pub(super) fn survivors(mark: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let path = process.path();
        if holds(&path.join("environ"), mark) || holds(&path.join("cmdline"), mark) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            found.push(format!("{}:{}", process.file_name().to_string_lossy(), name.trim()));
        }
    }
    Ok(found)
}

/// Ends what [`survivors`] finds.
pub(super) fn end(mark: &str) -> io::Result<()> {
    for survivor in survivors(mark)? {
        if let Some((pid, _)) = survivor.split_once(':') {
            // It may have ended meanwhile.
            Command::new("kill").args(["-KILL", pid]).output()?;
        }
    }
    Ok(())
}

fn holds(file: &Path, mark: &str) -> bool {
    // It may have ended meanwhile.
    let bytes = fs::read(file).unwrap_or_default();
    bytes.windows(mark.len()).any(|it| it == mark.as_bytes())
}
