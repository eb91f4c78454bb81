//! The binlogs that instructions are counted with (`tests/performance/workloads.rs`).

use std::path::Path;

use crate::workload::World;

const MANY: &str =
    "UPDATE bench.users SET version = version + 1, name = CONCAT(name, '!') WHERE id < 300";

pub async fn write(world: &mut World) {
    let single: Vec<String> = (0..100)
        .map(|id| format!("UPDATE bench.users SET version = version + 1 WHERE id = {id}"))
        .collect();
    for (name, sql, rows) in [
        ("many.binlog", MANY.to_owned(), 300),
        ("single.binlog", single.join(";"), 100),
    ] {
        let stretch = world.stretch(&sql, rows).await;
        let from = world.mysql().data_dir().join(&stretch.file);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/performance");
        std::fs::copy(from, folder.join(name)).expect("the file can be copied");
    }
}
