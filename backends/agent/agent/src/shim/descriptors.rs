//! Open files that a process was started with.
use std::{fs, io};

/// Closes all but standard input, output and error. What this program opens itself closes by itself; this is for what somebody else has left open.
pub(crate) fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|it| *it > 2) {
        // One of them was that of the folder itself.
        _ = nix::unistd::close(descriptor);
    }
    Ok(())
}
