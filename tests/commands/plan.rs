//! `evictd plan`, which reads files and nothing else.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use evictd::binlog::decode::layout::TableLayout;
use evictd::binlog::events::event_type::{PREVIOUS_GTIDS, ROWS_QUERY};
use evictd::binlog::file::{BinlogFiles, FileItem, Notice};
use evictd::binlog::reader::{Interest, Item};
use evictd::model::TableName;
use serde_json::Value;

use super::workload::Workload;
use crate::daemon::shop::{Shop, WITHIN, stop};
use crate::support::{Evictd, MysqlOptions, eventually, scratch};

/// What `run --dry-run` prints for the workload.
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
        assert!(plans.contains(r#""edge":["dt_3:/en/"#), "{plans}");
        assert!(plans.contains(r#""dt_3:#user-1"],"distributions":["main"]"#));
        assert!(summary["summary"]["rules"]["pages"]["tags"].as_u64() > Some(0));
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

    let text = work.plan(&args[2..], &work.files).await.stdout;
    assert!(
        text.contains("\n  - cache user:1:profile\n  + cache profile:1\n"),
        "{text}"
    );

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

/// The number of events in a file, the notices, and the number of items that widen.
fn read(path: &Path) -> (u64, Vec<Notice>, usize) {
    let mut files = BinlogFiles::new(Everything, vec![path.to_owned()]);
    let (mut notices, mut widened) = (Vec::new(), 0);
    while let Some(next) = files.next_item().unwrap() {
        match next {
            FileItem::Notice(notice) => notices.push(notice),
            FileItem::Item(Item::AnyChanged(_) | Item::Undecodable(..)) => widened += 1,
            FileItem::Item(_) => {}
        }
    }
    (files.events(), notices, widened)
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_is_planned_up_to_there_and_the_cut_is_noticed() {
    let work = Workload::new(MysqlOptions::default()).await;
    let whole = fs::read(&work.files[0]).unwrap();
    let (all, notices, widened) = read(&work.files[0]);
    assert_eq!((notices, widened), (vec![], 0));
    let dir = scratch("cut");
    let path = dir.path().join("mysql-bin.000009");
    let mut ends = vec![4];
    while *ends.last().unwrap() < whole.len() {
        let at = *ends.last().unwrap();
        let size = u32::from_le_bytes(whole[at + 9..at + 13].try_into().unwrap());
        ends.push(at + usize::try_from(size).unwrap());
    }
    let mut before = 0;
    // A file that is written anew each time waits for the disk each time.
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&whole[..4]).unwrap();
    for length in 4..whole.len() {
        let (events, notices, _) = read(&path);
        assert!(events >= before && events < all, "{length}");
        before = events;
        match (ends.contains(&length), &notices[..]) {
            (false, [Notice::Cut { offset, .. }]) => {
                let last = ends.iter().rfind(|end| **end < length).unwrap();
                assert_eq!(*offset, u64::try_from(*last).unwrap(), "{length}");
            }
            (true, [] | [Notice::Unfinished { .. }]) => {}
            other => panic!("{length}: {other:?}"),
        }
        file.write_all(&whole[length..=length]).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_byte_anywhere_widens_or_is_noticed_and_loses_no_event_silently() {
    let work = Workload::new(MysqlOptions::default()).await;
    let whole = fs::read(&work.files[0]).unwrap();
    let (all, _, _) = read(&work.files[0]);
    let dir = scratch("damaged");
    let path = dir.path().join("mysql-bin.000009");
    fs::write(&path, &whole).unwrap();
    // In place: a file that is written anew each time waits for the disk each time.
    let file = fs::File::options().write(true).open(&path).unwrap();
    for (index, byte) in whole.iter().enumerate().skip(4) {
        let damaged = byte ^ [0x01, 0x41, 0xff][index % 3];
        let at = u64::try_from(index).unwrap();
        file.write_all_at(&[damaged], at).unwrap();
        let (events, notices, widened) = read(&path);
        file.write_all_at(&[*byte], at).unwrap();
        assert!(
            events >= all || widened > 0 || !notices.is_empty(),
            "{index}: {events} of {all} events"
        );
    }
}

/// A copy of a binlog without checksums in which 4 GiB of meaningless events come before the transactions. Their bytes
/// are holes, which take no room on the disk. Returns by how much the transactions moved.
fn pushed_beyond_4_gib(original: &[u8], path: &Path) -> u64 {
    const FILLER_BYTES: u64 = 64 << 20;
    const FILLERS: u64 = 65;
    let shift = FILLER_BYTES * FILLERS;
    let low = |offset: u64| u32::try_from(offset & 0xffff_ffff).unwrap().to_le_bytes();
    let mut file = fs::File::create(path).unwrap();
    file.write_all(&original[..4]).unwrap();
    let (mut at, mut moved) = (4, false);
    while at < original.len() {
        let size = u32::from_le_bytes(original[at + 9..at + 13].try_into().unwrap());
        let end = at + usize::try_from(size).unwrap();
        let mut event = original[at..end].to_vec();
        if moved {
            event[13..17].copy_from_slice(&low(u64::try_from(end).unwrap() + shift));
        }
        file.write_all(&event).unwrap();
        if event[4] == PREVIOUS_GTIDS {
            moved = true;
            for number in 0..FILLERS {
                let from = u64::try_from(end).unwrap() + number * FILLER_BYTES;
                let mut header = event[..19].to_vec();
                header[4] = ROWS_QUERY;
                header[9..13].copy_from_slice(&low(FILLER_BYTES));
                header[13..17].copy_from_slice(&low(from + FILLER_BYTES));
                header[17..19].copy_from_slice(&0x80_u16.to_le_bytes());
                file.write_all(&header).unwrap();
                file.seek(SeekFrom::Start(from + FILLER_BYTES)).unwrap();
            }
        }
        at = end;
    }
    shift
}

#[tokio::test]
async fn offsets_beyond_4_gib_and_events_of_64_mib_are_planned_like_others() {
    let work = Workload::new(MysqlOptions {
        extra: vec!["--binlog-checksum=NONE".to_owned()],
        ..MysqlOptions::default()
    })
    .await;
    let dir = scratch("large");
    let path = dir.path().join(work.files[0].file_name().unwrap());
    let shift = pushed_beyond_4_gib(&fs::read(&work.files[0]).unwrap(), &path);
    assert!(shift > 1 << 32);
    let plans = async |path: &PathBuf| {
        // 4 GiB pass through memory three times, in a debug build.
        let args = ["--format", "json"];
        let planned = work
            .plan_within(WITHIN * 8, &args, std::slice::from_ref(path))
            .await;
        assert_eq!(planned.code, Some(0), "{}", planned.stderr);
        let lines = planned.stdout.lines();
        let mut plans: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        plans.pop().expect("a summary");
        plans
    };
    let mut expected = plans(&work.files[0]).await;
    assert!(expected.len() > 20, "{expected:?}");
    for plan in &mut expected {
        let offset = plan["position"]["offset"].as_u64().unwrap();
        plan["position"]["offset"] = Value::from(offset + shift);
    }
    assert_eq!(plans(&path).await, expected);
}

#[tokio::test]
async fn what_widens_again_and_again_is_said_once_with_its_number() {
    let work = Workload::new(MysqlOptions {
        row_metadata: "MINIMAL",
        ..MysqlOptions::default()
    })
    .await;
    let planned = work.plan(&[], &work.files).await;
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    let of_users: Vec<&str> = planned
        .stderr
        .lines()
        .filter(|line| line.contains("cannot be decoded") && line.contains("shop.users"))
        .collect();
    let [first, more] = of_users[..] else {
        panic!("{}", planned.stderr);
    };
    assert!(first.contains("the column names"), "{first}");
    assert!(more.contains(" more in the last"), "{more}");
}

/// A shell that lists the files sorts their names as text.
#[tokio::test]
async fn files_are_read_by_their_numbers_when_those_grow_a_digit() {
    let shop = Shop::own(MysqlOptions::default()).await;
    shop.mysql()
        .exec("RESET BINARY LOGS AND GTIDS TO 999998")
        .await;
    for id in 1..=4 {
        shop.sql(&format!(
            "INSERT INTO users (id) VALUES ({id}); FLUSH BINARY LOGS"
        ))
        .await;
    }
    let data = shop.mysql().data_dir();
    let files = ["1000000", "1000001", "999998", "999999"];
    let files = files.map(|number| {
        data.join(format!("mysql-bin.{number}"))
            .display()
            .to_string()
    });
    let mut args = vec!["plan", "--binlog"];
    args.extend(files.iter().map(String::as_str));
    let planned = Evictd::finish(&shop.config().options().args(&args), WITHIN).await;
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    assert!(
        !planned.stderr.contains("does not follow"),
        "{}",
        planned.stderr
    );
    let ids: Vec<usize> = (1..=4)
        .filter_map(|id| planned.stdout.find(&format!("user:{id}:profile")))
        .collect();
    assert!(ids.len() == 4 && ids.is_sorted(), "{}", planned.stdout);
}
