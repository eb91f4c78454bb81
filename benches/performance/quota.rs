//! Processes held to a part of a core, so that what is measured is not how many cores the machine has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::support::Redis;

/// Short, so that nobody waits long for its turn.
const PERIOD_US: u64 = 10_000;

/// Where the controller of processor time is, by the kernel's version of control groups.
const SECOND_VERSION: &str = "/sys/fs/cgroup";
const FIRST_VERSION: &str = "/sys/fs/cgroup/cpu";

/// Servers, each held to the same part of a core until this is dropped.
pub struct Quota {
    groups: Vec<PathBuf>,
    parent: PathBuf,
}

impl Quota {
    /// An error where this process may not limit others.
    pub fn hold(servers: &[Redis], cores: f64) -> io::Result<Self> {
        let second = fs::read_to_string(Path::new(SECOND_VERSION).join("cgroup.subtree_control"));
        let second = second.is_ok_and(|names| {
            names
                .split_whitespace()
                .any(|controller| controller == "cpu")
        });
        let parent = PathBuf::from(if second {
            SECOND_VERSION
        } else {
            FIRST_VERSION
        });
        let quota_us = (cores * PERIOD_US as f64).round();
        let mut quota = Self {
            groups: Vec::new(),
            parent,
        };
        for server in servers {
            let name = format!("evictd-bench-{}", server.pid());
            let group = quota.parent.join(name);
            fs::create_dir(&group)?;
            quota.groups.push(group.clone());
            if second {
                fs::write(group.join("cpu.max"), format!("{quota_us} {PERIOD_US}"))?;
            } else {
                fs::write(group.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
                fs::write(group.join("cpu.cfs_quota_us"), quota_us.to_string())?;
            }
            fs::write(group.join("cgroup.procs"), server.pid().to_string())?;
        }
        Ok(quota)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        for group in &self.groups {
            let held = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in held.lines() {
                fs::write(self.parent.join("cgroup.procs"), pid).ok();
            }
            fs::remove_dir(group).ok();
        }
    }
}
