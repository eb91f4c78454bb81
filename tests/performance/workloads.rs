//! What is read while instructions are counted: binlogs that a server wrote, and rules.
//!
//! The binlogs are `many.binlog`, a transaction of 300 updates of 12 columns, and `single.binlog`, 100 of one update
//! each; `cargo bench --bench performance -- corpus` writes them anew.

use super::reader::Reader;

/// A binlog and rules.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub name: &'static str,
    pub binlog: &'static [u8],
    /// Row changes in the binlog.
    pub changes: u64,
    pub rules: &'static str,
}

pub const MANY_CHANGES: u64 = 300;
pub const SINGLE_CHANGES: u64 = 100;

const MANY: &[u8] = include_bytes!("many.binlog");
const SINGLE: &[u8] = include_bytes!("single.binlog");

const ONE_KEY: &str = r#"
[[rule]]
name   = "users"
tables = ["bench.users"]
keys   = ["user:{id}"]
"#;

const FIVE_KEYS: &str = r#"
[[rule]]
name   = "users"
tables = ["bench.users"]
keys   = ["user:{id}", "profile:{id}", "page:{slug}", "tenant:{tenant_id}:users", "mail:{email|lower}"]
"#;

/// What an application has that versions its entries and sits behind an edge.
const EVERYTHING: &str = r#"
[[rule]]
name    = "users"
tables  = ["bench.users"]
changed = ["name", "email", "slug", "status"]
when    = "after.status != 'draft'"
version = "version"
keys    = ["user:{id}:v{version}", "user:{id}:profile"]
paths   = ["/users/{slug}", "/api/users/{id}*"]
"#;

pub const WORKLOADS: [Workload; 6] = [
    of_many("a table without rules", ""),
    of_many("one key", ONE_KEY),
    of_many("five keys", FIVE_KEYS),
    of_many("condition, version, keys and paths", EVERYTHING),
    of_single("transactions of one row, one key", ONE_KEY),
    of_single("transactions of one row, a table without rules", ""),
];

const fn of_many(name: &'static str, rules: &'static str) -> Workload {
    Workload {
        name,
        binlog: MANY,
        changes: MANY_CHANGES,
        rules,
    }
}

const fn of_single(name: &'static str, rules: &'static str) -> Workload {
    Workload {
        name,
        binlog: SINGLE,
        changes: SINGLE_CHANGES,
        rules,
    }
}

impl Workload {
    pub fn named(name: &str) -> Option<Self> {
        WORKLOADS.into_iter().find(|workload| workload.name == name)
    }

    /// Reads the binlog so often, and returns how many keys are planned to be deleted.
    pub fn read(&self, passes: u64) -> usize {
        let mut reader = Reader::new(&self.configuration());
        for _ in 0..passes {
            reader.read(self.binlog);
        }
        reader.keys()
    }

    /// With a rule at least: a configuration without one is refused.
    fn configuration(&self) -> String {
        let other =
            "[[rule]]\nname = \"other\"\ntables = [\"bench.other\"]\nkeys = [\"other:{id}\"]\n";
        format!("{}{other}", self.rules)
    }
}
