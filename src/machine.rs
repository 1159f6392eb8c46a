//! What the machine leaves a process: open files, memory, room on the disk, and whether its clock is kept right. What cannot be
//! known is left out.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub open_files: Option<u64>,
    pub max_open_files: Option<u64>,
    /// What this process holds, and what it may: the limit of its control group, else the machine's memory.
    pub memory: Option<u64>,
    pub max_memory: Option<u64>,
    /// The file system of the data directory.
    pub disk_free: Option<u64>,
    pub disk_size: Option<u64>,
    /// Whether a time server sets the clock.
    pub clock_synchronised: Option<bool>,
}

impl Machine {
    /// This process, and the file system that `data` is on.
    #[must_use]
    pub fn of_process(data: &Path) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let (disk_free, disk_size) = disk(data).unzip();
        Machine {
            open_files: std::fs::read_dir("/proc/self/fd").ok().and_then(|list| u64::try_from(list.count()).ok()),
            max_open_files: read("/proc/self/limits").as_deref().and_then(max_open_files),
            memory: read("/proc/self/status").as_deref().and_then(|text| kilobytes(text, "VmRSS:")),
            max_memory: max_memory(),
            disk_free,
            disk_size,
            clock_synchronised: synchronised(Path::new("/run/systemd/timesync")),
        }
    }
}

/// What the user of this process may still write below a directory, or below the one that is to hold it, and how large it all is.
#[must_use]
pub fn disk(path: &Path) -> Option<(u64, u64)> {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    {
        let s = rustix::fs::statvfs(there).ok()?;
        Some((s.f_bavail.saturating_mul(s.f_frsize), s.f_blocks.saturating_mul(s.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        let _ = there;
        None
    }
}

/// The soft limit of `/proc/self/limits`.
fn max_open_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// A line such as `VmRSS:  31000 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn max_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| group_limit(&text, "/sys/fs/cgroup".as_ref()));
    machine.into_iter().chain(group).min()
}

/// The smallest limit of a control group and of those that it is in; none where there is no limit.
fn group_limit(groups: &str, root: &Path) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let place: PathBuf = root.join(group);
    let within = place.ancestors().take_while(|p| p.starts_with(root));
    within.filter_map(|p| std::fs::read_to_string(p.join("memory.max")).ok()?.trim().parse().ok()).min()
}

/// What systemd's time service says, where it runs; any other one leaves no such mark.
fn synchronised(timesync: &Path) -> Option<bool> {
    timesync.is_dir().then(|| timesync.join("synchronized").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             30000                30000                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(max_open_files(limits), Some(1024));
        assert_eq!(max_open_files("Max open files            unlimited  unlimited files"), None);
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t   31000 kB\n", "VmRSS:"), Some(31_744_000));
    }

    #[test]
    fn the_limit_of_a_control_group_is_the_smallest_of_those_around_it() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("system.slice/switchboard.service");
        std::fs::create_dir_all(&inner).expect("made");
        let write = |path: &Path, text: &str| std::fs::write(path.join("memory.max"), text).expect("written");
        write(&inner, "max\n");
        let limit = || group_limit("0::/system.slice/switchboard.service\n", root.path());
        assert_eq!(limit(), None);
        write(&root.path().join("system.slice"), "536870912\n");
        assert_eq!(limit(), Some(536_870_912));
        write(&inner, "268435456\n");
        assert_eq!(limit(), Some(268_435_456));
        assert_eq!(group_limit("1:memory:/a\n", root.path()), None, "an earlier kind of groups");
    }

    #[test]
    fn a_clock_is_synchronised_where_the_time_service_runs_and_says_so() {
        let run = tempfile::tempdir().expect("a directory");
        assert_eq!(synchronised(&run.path().join("timesync")), None);
        assert_eq!(synchronised(run.path()), Some(false));
        std::fs::write(run.path().join("synchronized"), "").expect("written");
        assert_eq!(synchronised(run.path()), Some(true));
    }

    #[cfg(unix)]
    #[test]
    fn the_room_of_a_directory_that_is_not_made_yet_is_that_of_the_one_around_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (free, size) = disk(&dir.path().join("not/there")).expect("a file system");
        assert!(size > 0 && free <= size, "{free} of {size}");
    }
}
