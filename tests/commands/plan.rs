//! `evictd plan` reads files and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use evictd::binlog::assemble::Interest;
use evictd::binlog::file::{FileItem, Files, Notice};
use evictd::binlog::layout::TableLayout;
use evictd::model::TableName;
use serde_json::Value;

use super::workload::Workload;
use crate::daemon::shop::{WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, eventually, scratch};

/// What `run --dry-run` prints from the workload's beginning on.
async fn dry_run(work: &Workload, format: &str, lines: usize) -> String {
    let args = ["run", "--dry-run", "--format", format];
    let evictd = Evictd::start(&work.config().options().args(&args));
    let text = eventually("the plans are printed", WITHIN, async || {
        let text = evictd.stdout();
        (text.lines().count() >= lines).then_some(text)
    })
    .await;
    stop(evictd).await;
    text
}

#[tokio::test]
async fn plans_from_files_and_from_the_server_are_byte_identical() {
    for gtid in [true, false] {
        let work = Workload::new(MysqlOptions {
            gtid,
            ..MysqlOptions::default()
        })
        .await;
        let planned = work.plan(&["--format", "json"], &work.files).await;
        assert_eq!(planned.code, Some(0), "{}", planned.stderr);
        let (plans, summary) = planned.stdout.trim_end().rsplit_once('\n').unwrap();
        let plans = format!("{plans}\n");
        let count = plans.lines().count();
        assert!(count > 20, "{plans}");
        assert_eq!(dry_run(&work, "json", count).await, plans, "gtid {gtid}");
        let text = work.plan(&[], &work.files).await;
        assert_eq!(dry_run(&work, "text", count).await, text.stdout);

        let summary: Value = serde_json::from_str(summary).unwrap();
        assert_eq!(summary["notices"], Value::Array(vec![]), "{summary}");
        let users = &summary["summary"]["tables"]["shop.users"];
        assert_eq!(users["insert"], 4, "{summary}");
        assert_eq!(users["delete"], 2, "{summary}");
        assert!(summary["summary"]["rules"]["users"]["widened"]["statement"].is_number());
        assert!(summary["summary"]["total"]["skipped"].as_u64() > Some(0));
        let paths = summary["summary"]["total"]["paths"].as_u64().unwrap();
        let most = summary["cloudfront"]["millidollars_at_most"].as_u64();
        assert_eq!(most, Some(paths * 5));
        assert!(
            text.stderr.contains("rule users: ") && text.stderr.contains("free each month"),
            "{}",
            text.stderr
        );
    }
}

#[tokio::test]
async fn files_that_do_not_follow_each_other_are_noticed_and_a_missing_one_is_refused() {
    let work = Workload::new(MysqlOptions::default()).await;
    let [first, second] = &work.files[..] else {
        panic!("two files")
    };
    let swapped = work.plan(&[], &[second.clone(), first.clone()]).await;
    assert_eq!(swapped.code, Some(0));
    assert!(
        swapped.stderr.contains("does not follow"),
        "{}",
        swapped.stderr
    );

    let missing = work.plan(&[], &[PathBuf::from("/nonexistent")]).await;
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.contains("/nonexistent: "),
        "{}",
        missing.stderr
    );
    let other = work.plan(&[], &[work.shop.checkpoint_file()]).await;
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    fs::write(work.shop.checkpoint_file(), "no binlog").unwrap();
    let other = work.plan(&[], &[work.shop.checkpoint_file()]).await;
    assert_eq!(other.code, Some(2));
    assert!(
        other.stderr.contains("is not a binlog file"),
        "{}",
        other.stderr
    );
}

#[tokio::test]
async fn without_column_names_in_the_binlog_whole_tables_are_planned_and_it_is_said() {
    let work = Workload::new(MysqlOptions {
        row_metadata: "MINIMAL",
        ..MysqlOptions::default()
    })
    .await;
    let planned = work.plan(&["--format", "json"], &work.files).await;
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    assert!(
        planned.stderr.contains("column names"),
        "{}",
        planned.stderr
    );
    let lines: Vec<Value> = planned
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let widened = lines.iter().any(|line| {
        let reason = line["reason"].as_str().unwrap_or_default();
        reason.starts_with("undecodable") && line["cache"][0] == "user:*:profile"
    });
    assert!(widened, "{}", planned.stdout);
}

#[tokio::test]
async fn another_configuration_is_compared_change_by_change() {
    let work = Workload::new(MysqlOptions::default()).await;
    let config = work.unreachable();
    let other = config.text().replace("user:{id}:profile", "profile:{id}");
    let path = work.shop.dir.path().join("other.toml");
    fs::write(&path, other).unwrap();
    let args = ["--format", "json", "--diff", path.to_str().unwrap()];
    let compared = work.plan(&args, &work.files).await;
    assert_eq!(compared.code, Some(0), "{}", compared.stderr);
    let lines: Vec<Value> = compared
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (summary, changes) = lines.split_last().unwrap();
    let first = &changes[0];
    assert_eq!(first["cache"]["added"], serde_json::json!(["profile:1"]));
    assert_eq!(
        first["cache"]["removed"],
        serde_json::json!(["user:1:profile"])
    );
    assert_eq!(first["edge"]["added"], serde_json::json!([]));
    assert_eq!(summary["summary"]["differing"], changes.len());
    assert_eq!(summary["summary"]["paths_added"], 0);

    fs::write(&path, config.text()).unwrap();
    let same = work.plan(&args[2..], &work.files).await;
    assert_eq!((same.code, same.stdout.as_str()), (Some(0), ""));
    assert!(same.stderr.contains("0 changes differ"), "{}", same.stderr);
}

/// Wants every table, and does nothing with it.
struct Everything;

impl Interest for Everything {
    type Table = ();

    fn wants(&self, _table: &TableName) -> bool {
        true
    }

    fn bind(&self, _layout: TableLayout) -> Result<(), String> {
        Ok(())
    }
}

/// How many events a file has, and what was noticed.
fn read(path: &Path) -> (u64, Vec<Notice>, usize) {
    let mut files = Files::new(Everything, vec![path.to_owned()]);
    let (mut notices, mut items) = (Vec::new(), 0);
    while let Some(next) = files.next_item().unwrap() {
        match next {
            FileItem::Notice(notice) => notices.push(notice),
            FileItem::Item(_) => items += 1,
        }
    }
    (files.events(), notices, items)
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_is_planned_up_to_there_and_the_cut_is_noticed() {
    let work = Workload::new(MysqlOptions::default()).await;
    let whole = fs::read(&work.files[0]).unwrap();
    let (all, notices, _) = read(&work.files[0]);
    assert_eq!(notices, []);
    let dir = scratch("cut");
    let path = dir.path().join("mysql-bin.000009");
    let mut before = 0;
    for length in 4..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (events, notices, _) = read(&path);
        assert!(events >= before && events < all, "{length}");
        assert!(notices.len() <= 1, "{length}: {notices:?}");
        if events == before && length > 4 {
            assert!(
                matches!(&notices[..], [Notice::Cut { .. }]) || events > 0,
                "{length}: {notices:?}"
            );
        }
        before = events;
    }
    // A flipped byte never ends it early without a word, and never panics.
    for index in (4..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[index] ^= 0x41;
        fs::write(&path, &damaged).unwrap();
        let (events, notices, items) = read(&path);
        assert!(
            !notices.is_empty() || events >= all - 20,
            "{index}: {events} of {all} events, {items} items"
        );
    }
}
