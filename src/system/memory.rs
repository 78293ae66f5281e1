//! How much memory this process can take, and how much it has taken.
//!
//! On Linux, several limits hold at once, and the least of them counts ([`available`]):
//!
//! * What the machine can give: `MemAvailable` in `/proc/meminfo`. In a container, that is the figure of the host.
//! * The limits of the control group of the process, and of every group above it. Beyond such a limit, the kernel
//!   kills the process, and no allocation fails.
//! * The limit on the address space (`ulimit -v`).
//!
//! # Control groups
//!
//! `/proc/self/cgroup` has a line `ID:CONTROLLERS:PATH` for each hierarchy of groups that the process is in. Version 2
//! is the line `0::PATH`; of version 1 it is the line with the controller `memory`. Both may be there.
//! `/proc/self/mountinfo` says where a hierarchy is mounted, and which group is the root of the mount: in a container
//! this may be the group of the container, so `PATH` counts from there. If `PATH` does not lie below that root, as
//! where the process is outside of its own namespace, the root of the mount is the nearest group that can be seen.
//! A limit holds for a group and all groups below it, so every folder from the group up to the mount is asked.
//!
//! What a group has used includes pages of files that the kernel drops when memory gets short. They do not count.

#![expect(clippy::disallowed_methods, reason = "Linux says in files how much memory there is")]

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The memory that this process can have in all, with what it has already, and what bounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableMemory {
    /// Bytes in all, those that the process has already included.
    pub bytes: u64,
    /// What says so.
    pub bound: MemoryBound,
}

/// What bounds the memory of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryBound {
    /// The memory of the machine, or of another device.
    Machine,
    /// The limit of a control group.
    Group {
        /// The file of the limit.
        file: PathBuf,
        /// The limit.
        bytes: u64,
    },
    /// The limit on the address space of a process.
    AddressSpace {
        /// The limit.
        bytes: u64,
    },
}

/// Returns the memory that this process can have, where the system tells.
pub fn available() -> Option<AvailableMemory> {
    available_below(Path::new("/"))
}

/// Returns the largest resident memory of this process so far, where the system tells.
pub fn largest_resident_bytes() -> Option<u64> {
    bytes_of_line(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Returns the resident memory of this process, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    bytes_of_line(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Returns the bytes of the machine code of this program, where the system tells.
pub fn code_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    bytes_of_line(&status, "VmExe:")
}

/// Does what [`available`] does, with the system's files below another folder than `/`.
fn available_below(root: &Path) -> Option<AvailableMemory> {
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let status = read("proc/self/status").unwrap_or_default();
    let has = |label: &str| bytes_of_line(&status, label).unwrap_or(0);
    // What is counted as used, and what the process holds of it.
    let (anonymous, resident, mapped) = (has("RssAnon:"), has("VmRSS:"), has("VmSize:"));
    let machine = read("proc/meminfo").and_then(|text| bytes_of_line(&text, "MemAvailable:"));
    let machine =
        machine.map(|free| AvailableMemory { bytes: free + anonymous, bound: MemoryBound::Machine });
    let groups = group_limits(root).into_iter().map(|Limit { file, bytes, used }| AvailableMemory {
        bytes: bytes.saturating_sub(used) + anonymous,
        bound: MemoryBound::Group { file, bytes },
    });
    let address_space = read("proc/self/limits").and_then(|text| address_space(&text));
    let address_space = address_space.map(|bytes| AvailableMemory {
        bytes: bytes.saturating_sub(mapped) + resident,
        bound: MemoryBound::AddressSpace { bytes },
    });
    machine.into_iter().chain(groups).chain(address_space).min_by_key(|available| available.bytes)
}

/// A limit of a control group.
struct Limit {
    /// The file that says so, as the process sees it.
    file: PathBuf,
    bytes: u64,
    /// What the group and all below it have used, without what the kernel can drop.
    used: u64,
}

/// How a version of control groups spells things.
struct GroupVersion {
    limits: &'static [&'static str],
    usage: &'static str,
    /// Lines of `memory.stat` with the pages of files, of the group and all below it.
    pages_of_files: [&'static str; 2],
    /// The line of `memory.stat` with the least limit of the group and all above it, those that cannot be seen
    /// included.
    least_limit: Option<&'static str>,
}

const FIRST: GroupVersion = GroupVersion {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    pages_of_files: ["total_inactive_file ", "total_active_file "],
    least_limit: Some("hierarchical_memory_limit "),
};

const SECOND: GroupVersion = GroupVersion {
    // Above `memory.high` a process is not killed, but slowed down until it seems to stand still.
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    pages_of_files: ["inactive_file ", "active_file "],
    least_limit: None,
};

/// Limits from here on mean that there is none; version 1 writes the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// A hierarchy of control groups that is mounted.
struct Mount {
    version: &'static GroupVersion,
    /// The group that is mounted.
    group: PathBuf,
    /// Where.
    folder: PathBuf,
}

/// Returns the limits of the control groups that the process is in.
fn group_limits(root: &Path) -> Vec<Limit> {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let mounts = mounts(&read("proc/self/mountinfo"));
    let mut limits = Vec::new();
    for (version, path) in groups(&read("proc/self/cgroup")) {
        let fitting = || mounts.iter().filter(|mount| std::ptr::eq(mount.version, version));
        let below = |mount: &Mount| path_below(&path, &mount.group);
        // A hierarchy may be mounted several times; the mount that shows the group is the right one.
        let mount = fitting().find(|mount| below(mount).is_some()).or_else(|| fitting().next());
        let Some(mount) = mount else { continue };
        let group = mount.folder.join(below(mount).unwrap_or_default());
        for (above, folder) in group.ancestors().enumerate() {
            limits.extend(limits_of(root, folder, version, above == 0));
            if folder == mount.folder {
                break;
            }
        }
    }
    limits
}

/// Returns the limits of one control group; `own` says that the process is in it.
fn limits_of(root: &Path, folder: &Path, version: &GroupVersion, own: bool) -> Vec<Limit> {
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(root.join(file.strip_prefix("/").unwrap_or(&file))).ok()
    };
    let number = |name: &str| read(name).and_then(|text| text.trim().parse::<u64>().ok());
    let stat = read("memory.stat").unwrap_or_default();
    let stat_number = |label: &str| {
        stat.lines()
            .find_map(|line| line.strip_prefix(label))
            .and_then(|rest| rest.trim().parse::<u64>().ok())
    };
    let files: u64 = version.pages_of_files.iter().filter_map(|label| stat_number(label)).sum();
    let used = number(version.usage).unwrap_or(0).saturating_sub(files);
    let named = version.limits.iter().filter_map(|name| Some((folder.join(name), number(name)?)));
    let least = version.least_limit.filter(|_| own).and_then(stat_number);
    let least = least.map(|bytes| (folder.join("memory.stat"), bytes));
    named
        .chain(least)
        .filter(|(_, bytes)| *bytes < UNLIMITED)
        .map(|(file, bytes)| Limit { file, bytes, used })
        .collect()
}

/// Returns the paths of the control groups that bound the memory of a process, by its `/proc/self/cgroup`.
fn groups(text: &str) -> Vec<(&'static GroupVersion, PathBuf)> {
    let group = |line: &str| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let version = match (id, controllers) {
            ("0", "") => &SECOND,
            _ if controllers.split(',').any(|controller| controller == "memory") => &FIRST,
            _ => return None,
        };
        Some((version, PathBuf::from(path)))
    };
    text.lines().filter_map(group).collect()
}

/// Returns the mounted hierarchies that can bound memory, by a `/proc/self/mountinfo`.
fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        // Between both halves there are any number of optional fields.
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (group, folder) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next()?, kind.nth(1)?);
        let version = match kind {
            "cgroup2" => &SECOND,
            "cgroup" if options.split(',').any(|option| option == "memory") => &FIRST,
            _ => return None,
        };
        Some(Mount { version, group: unescaped(group), folder: unescaped(folder) })
    };
    text.lines().filter_map(mount).collect()
}

/// Returns the way from `group` to the group `path`; none if it does not lie below.
fn path_below(path: &Path, group: &Path) -> Option<PathBuf> {
    let below = path.strip_prefix(group).ok()?;
    below.components().all(|part| matches!(part, Component::Normal(_))).then(|| below.to_path_buf())
}

/// Returns a path of `mountinfo`, which writes blanks and the like as `\040`.
fn unescaped(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        path.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                path.push('\\');
                rest = after;
            }
        }
    }
    path.push_str(rest);
    PathBuf::from(path)
}

/// Returns the limit on the address space in a `/proc/self/limits`, the one that holds at the moment.
fn address_space(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns the bytes of the line that begins with `label` in a text of Linux's `/proc`, which counts in kibibytes.
fn bytes_of_line(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::{
        AvailableMemory, MemoryBound, available, available_below, bytes_of_line, path_below, unescaped,
    };

    const MIB: u64 = 1 << 20;

    /// Both hierarchies of a usual machine, with the memory in the first version.
    const BOTH: &str = "\
        30 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
        35 30 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        36 30 0:33 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        41 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    const SECOND: &str = "41 30 0:38 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    /// A made-up tree of the system's files, of a process that has 10 MiB on a machine with 1,000 MiB to give.
    struct Tree(TempDir);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Tree {
            let tree = Tree(TempDir::new().expect("a temporary folder"));
            tree.write("proc/meminfo", "MemTotal: 2048000 kB\nMemAvailable: 1024000 kB\n");
            tree.write("proc/self/status", "VmSize: 40960 kB\nVmRSS: 20480 kB\nRssAnon: 10240 kB\n");
            files.iter().for_each(|(file, text)| tree.write(file, text));
            tree
        }

        fn write(&self, file: &str, text: &str) {
            let file = self.0.path().join(file);
            fs::create_dir_all(file.parent().expect("it is in a folder")).expect("folders can be made");
            fs::write(file, text).expect("the disk has room");
        }

        /// Returns the mebibytes that the process can have, and the file or the limit that says so.
        fn available(&self) -> (u64, String) {
            let AvailableMemory { bytes, bound } = available_below(self.0.path()).expect("the system tells");
            let bound = match bound {
                MemoryBound::Machine => "machine".to_string(),
                MemoryBound::Group { file, .. } => file.display().to_string(),
                MemoryBound::AddressSpace { bytes } => format!("address space of {}", bytes / MIB),
            };
            (bytes / MIB, bound)
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let label = "MemAvailable:";
        assert_eq!(bytes_of_line("MemTotal: 9 kB\nMemAvailable:   24 kB\n", label), Some(24 * 1024));
        assert_eq!(bytes_of_line("MemTotal: 9 kB\n", label), None);
    }

    #[test]
    fn without_limits_the_machine_counts() {
        assert_eq!(Tree::new(&[]).available(), (1010, "machine".to_string()));
        let unlimited = Tree::new(&[
            ("proc/self/cgroup", "4:memory:/a\n0::/b\n"),
            ("proc/self/mountinfo", BOTH),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/unified/b/memory.max", "max\n"),
        ]);
        assert_eq!(unlimited.available().1, "machine");
        assert_eq!(available_below(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_limit_of_a_group_of_the_first_version_counts_less_what_cannot_be_dropped() {
        let group = "sys/fs/cgroup/memory/jobs/one";
        let stat = "inactive_file 1\ntotal_inactive_file 20971520\ntotal_active_file 10485760\n";
        let tree = Tree::new(&[
            ("proc/self/cgroup", "9:name=systemd:/\n4:cpuset,memory:/jobs/one\n0::/\n"),
            ("proc/self/mountinfo", BOTH),
            (&format!("{group}/memory.limit_in_bytes"), "104857600\n"),
            (&format!("{group}/memory.usage_in_bytes"), "52428800\n"),
            (&format!("{group}/memory.stat"), stat),
        ]);
        // 100, less 50 of which 30 are of files, and 10 are there already.
        let file = format!("/{group}/memory.limit_in_bytes");
        assert_eq!(tree.available(), (90, file));
        tree.write(&format!("{group}/memory.stat"), &format!("{stat}hierarchical_memory_limit 83886080\n"));
        assert_eq!(tree.available(), (70, format!("/{group}/memory.stat")), "of a group that cannot be seen");
    }

    #[test]
    fn every_group_above_is_asked() {
        let tree = Tree::new(&[
            ("proc/self/cgroup", "0::/a/b/c\n"),
            ("proc/self/mountinfo", SECOND),
            ("sys/fs/cgroup/a/memory.max", "209715200\n"),
            ("sys/fs/cgroup/a/memory.current", "104857600\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/c/memory.max", "157286400\n"),
            ("sys/fs/cgroup/a/b/c/memory.current", "10485760\n"),
        ]);
        assert_eq!(tree.available(), (110, "/sys/fs/cgroup/a/memory.max".to_string()));
        tree.write("sys/fs/cgroup/a/b/c/memory.high", "83886080\n");
        assert_eq!(tree.available(), (80, "/sys/fs/cgroup/a/b/c/memory.high".to_string()));
    }

    #[test]
    fn in_a_container_the_path_counts_from_the_group_that_is_mounted() {
        let limit = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let mounted = |root: &str| BOTH.replace("0:32 / ", &format!("0:32 {root} "));
        for (path, root, file) in [
            ("/docker/ab", "/docker/ab", limit),
            ("/docker/ab/job", "/docker/ab", "sys/fs/cgroup/memory/job/memory.limit_in_bytes"),
            // Outside of the namespace, and of what is mounted.
            ("/../other", "/", limit),
            ("/elsewhere", "/docker/ab", limit),
        ] {
            let tree = Tree::new(&[
                ("proc/self/cgroup", &format!("4:memory:{path}\n")),
                ("proc/self/mountinfo", &mounted(root)),
                (file, "104857600"),
            ]);
            assert_eq!(tree.available(), (110, format!("/{file}")), "{path} in {root}");
        }
        // Of two mounts, the one with the group counts.
        let tree = Tree::new(&[
            ("proc/self/cgroup", "0::/mine\n"),
            ("proc/self/mountinfo", &format!("40 30 0:38 /other /mnt rw - cgroup2 none rw\n{SECOND}")),
            ("mnt/memory.max", "1048576"),
            ("sys/fs/cgroup/mine/memory.max", "104857600"),
        ]);
        assert_eq!(tree.available(), (110, "/sys/fs/cgroup/mine/memory.max".to_string()));
    }

    #[test]
    fn a_limit_that_is_used_up_leaves_what_the_process_has() {
        let tree = Tree::new(&[
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", SECOND),
            ("sys/fs/cgroup/memory.max", "1048576"),
            ("sys/fs/cgroup/memory.current", "99999999"),
        ]);
        assert_eq!(tree.available(), (10, "/sys/fs/cgroup/memory.max".to_string()));
    }

    #[test]
    fn the_address_space_counts() {
        let limits = |soft: &str| {
            format!("Limit Soft Hard Units\nMax address space         {soft}            unlimited  bytes\n")
        };
        let tree = Tree::new(&[("proc/self/limits", &limits("104857600"))]);
        assert_eq!(tree.available(), (80, "address space of 100".to_string()));
        tree.write("proc/self/limits", &limits("unlimited"));
        assert_eq!(tree.available().1, "machine");
    }

    #[test]
    fn paths_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescaped(r"/a\040b\134c\x"), Path::new(r"/a b\c\x"));
        assert_eq!(path_below(Path::new("/ab"), Path::new("/a")), None, "`/ab` is not below `/a`");
    }

    #[test]
    fn this_process_can_have_memory() {
        if cfg!(target_os = "linux") {
            assert!(available().expect("Linux tells").bytes > MIB);
        }
    }
}
