//! What the system allows this process: open files and memory.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is assumed where the system does not say how much memory there is.
const UNKNOWN_MEMORY: u64 = 1024 * 1024 * 1024;

/// Open files and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) files: u64,
    /// In bytes.
    pub(super) memory: u64,
}

impl Machine {
    /// Asks the system, and raises the soft limit of open files to the hard one.
    pub(super) fn read() -> Self {
        Self { files: raise_files(), memory: memory(Path::new("/")) }
    }
}

fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_err() {
            tracing::warn!("the limit of open files cannot be raised: few connections at once are possible");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The machine's memory, or the least that a control group around this process allows.
fn memory(root: &Path) -> u64 {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let total = read("proc/meminfo").lines().find_map(|line| {
        let kib: u64 = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    });
    let groups = read("proc/self/cgroup");
    let limits = groups.lines().filter_map(|line| line.split(':').nth(2).zip(line.split(':').nth(1)));
    let limits = limits.flat_map(|(group, controllers)| match controllers {
        "" => ancestors("sys/fs/cgroup", group, "memory.max"),
        "memory" => ancestors("sys/fs/cgroup/memory", group, "memory.limit_in_bytes"),
        _ => Vec::new(),
    });
    // "max" is no number, and no limit
    let limits = limits.filter_map(|file| read(&file).trim().parse::<u64>().ok());
    limits.chain(total).min().unwrap_or(UNKNOWN_MEMORY)
}

/// The file in a group and in all groups around it. In a container the group's own path may not be visible, only its root.
fn ancestors(mount: &str, group: &str, file: &str) -> Vec<String> {
    let groups = Path::new(group).ancestors().filter_map(Path::to_str);
    groups.map(|group| format!("{mount}/{}/{file}", group.trim_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Machine, UNKNOWN_MEMORY, memory};

    const GIB: u64 = 1024 * 1024 * 1024;

    fn machine(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        memory(root.path())
    }

    #[test]
    fn memory_is_the_least_of_the_machine_and_all_control_groups() {
        let total = ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree:  1 kB\n");
        let group = ("proc/self/cgroup", "0::/system.slice/portcullis.service\n");
        let own = "sys/fs/cgroup/system.slice/portcullis.service/memory.max";
        assert_eq!(machine(&[total]), 4 * GIB);
        assert_eq!(machine(&[total, group, (own, "max\n")]), 4 * GIB);
        assert_eq!(machine(&[total, group, (own, "1073741824\n")]), GIB);
        let parent = ("sys/fs/cgroup/system.slice/memory.max", "536870912\n");
        assert_eq!(machine(&[total, group, parent, (own, "1073741824\n")]), GIB / 2);
        let container = [total, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "268435456\n")];
        assert_eq!(machine(&container), GIB / 4);
        let first_version = [
            ("proc/self/cgroup", "4:cpu:/x\n3:memory:/docker/1\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
        ];
        assert_eq!(machine(&first_version), GIB / 8);
        assert_eq!(machine(&[]), UNKNOWN_MEMORY);
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let Machine { files, memory } = Machine::read();
        assert!(files >= 256, "{files}");
        assert!(!Path::new("/proc/meminfo").exists() || memory > 64 * 1024 * 1024, "{memory}");
    }
}
