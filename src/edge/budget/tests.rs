use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::account::Account;
use super::month::{forecast, month_of};
use super::{Budget, BudgetError};
use crate::edge::cover::request::BudgetMode;

fn limits(limit: Option<u64>) -> BTreeMap<Arc<str>, Option<u64>> {
    [("main".into(), limit)].into()
}

fn spent(budget: &Budget) -> u64 {
    budget.status(&"main".into()).spent
}

#[tokio::test]
async fn a_request_is_counted_once_and_given_back_if_it_was_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    let budget = Budget::open_file(&path, limits(None)).await.unwrap();
    budget.open("main", "a", 30).await.unwrap();
    budget.open("main", "a", 30).await.unwrap();
    budget.open("main", "b", 5).await.unwrap();
    budget.open("images", "c", 7).await.unwrap();
    assert_eq!(spent(&budget), 35);
    budget.made("main", "a").await.unwrap();
    budget.not_made("main", "b").await.unwrap();
    budget.not_made("main", "a").await.unwrap();
    assert_eq!(spent(&budget), 30);
    let another = Budget::open_file(&path, limits(None)).await.unwrap();
    assert_eq!(spent(&another), 30);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn the_last_grant_is_known_for_a_minute_and_not_by_a_clock_that_was_set_back() {
    let mut account = Account::default();
    let at = |s: i64| Timestamp::from_second(1_763_892_000 + s).unwrap();
    let since = |account: &Account, tenant, s| {
        let since = account.since_granted(tenant, at(s));
        since.map(|since| since.as_secs())
    };
    account.granted(None, at(0));
    account.granted(Some("dt_1"), at(20));
    assert_eq!(since(&account, None, 45), Some(45));
    assert_eq!(since(&account, Some("dt_1"), 45), Some(25));
    assert_eq!(since(&account, Some("dt_2"), 45), None);
    assert_eq!(since(&account, None, -10), None);
    account.granted(Some("dt_2"), at(70));
    assert_eq!(since(&account, None, 70), None, "its minute is over");
    assert_eq!(since(&account, Some("dt_1"), 70), Some(50));
}

#[tokio::test]
async fn two_processes_that_share_the_file_count_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    let one = Budget::open_file(&path, limits(None)).await.unwrap();
    let two = Budget::open_file(&path, limits(None)).await.unwrap();
    for n in 0..10 {
        let (first, second) = (format!("one-{n}"), format!("two-{n}"));
        let (a, b) = tokio::join!(one.open("main", &first, 1), two.open("main", &second, 2));
        a.and(b).unwrap();
    }
    one.made("main", "one-0").await.unwrap();
    assert_eq!(spent(&one), 30);
}

#[tokio::test]
async fn what_a_crash_left_open_is_found_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    let budget = Budget::open_file(&path, limits(None)).await.unwrap();
    assert!(budget.orphans("main").is_empty());
    budget.open("main", "made", 1).await.unwrap();
    budget.open("main", "in doubt", 2).await.unwrap();
    budget.made("main", "made").await.unwrap();
    drop(budget);
    let next = Budget::open_file(&path, limits(None)).await.unwrap();
    let [(reference, since)] = next.orphans("main").try_into().unwrap();
    assert_eq!(reference, "in doubt");
    assert!(since <= Timestamp::now());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_budget_counts_as_spent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    for (number, content) in ["", "{}", "{\"version\":2,\"distributions\":{}}"]
        .into_iter()
        .enumerate()
    {
        std::fs::write(&path, content).unwrap();
        let error = Budget::read_file(&path, limits(None)).await.unwrap_err();
        assert!(matches!(error, BudgetError::Malformed { .. }), "{error}");
        let budget = Budget::open_file(&path, limits(Some(100))).await.unwrap();
        let aside = format!("{}.damaged-{}", path.display(), number + 1);
        assert_eq!(std::fs::read_to_string(aside).unwrap(), content);
        assert_eq!(spent(&budget), 100);
        let again = Budget::open_file(&path, limits(Some(100))).await.unwrap();
        assert_eq!(spent(&again), 100);
        let without = Budget::open_file(&path, limits(None)).await.unwrap();
        without.open("main", "a", 1).await.unwrap();
        assert_eq!(spent(&again), 100);
    }
    let budget = Budget::open_file(&path, limits(Some(200))).await.unwrap();
    assert_eq!(spent(&budget), 101);
    std::fs::write(&path, "x").unwrap();
    budget.open("main", "b", 9).await.unwrap();
    let again = Budget::open_file(&path, limits(Some(200))).await.unwrap();
    assert_eq!(spent(&again), 110, "what was known is in the new file");
    let nowhere = Budget::open_file("/nonexistent/x.json", limits(None)).await;
    let error = nowhere.unwrap_err().to_string();
    assert!(error.contains("check that the directory exists"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone/shop.budget.json");
    std::fs::create_dir(directory.path().join("gone")).unwrap();
    let budget = Budget::open_file(&path, limits(None)).await.unwrap();
    std::fs::remove_dir_all(directory.path().join("gone")).unwrap();
    budget.open("main", "a", 3).await.unwrap_err();
    assert_eq!(spent(&budget), 3);
}

/// A version that also counted what others had spent wrote fields that are gone.
#[tokio::test]
async fn a_file_of_an_earlier_version_is_read_on_and_loses_nothing_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    let now = Timestamp::now();
    let month = month_of(now);
    let content = format!(
        r#"{{
            "version": 1,
            "distributions": {{
                "main": {{
                    "month": "{month}",
                    "spent": 42,
                    "open": {{
                        "evictd-1": {{ "paths": 2, "process": 4194305, "opened_at": "{now}" }}
                    }},
                    "elsewhere": {{
                        "paths": 30,
                        "until": "2026-11-23T00:00:00Z",
                        "counted": {{ "I1": "2026-11-23T00:00:00Z" }}
                    }}
                }}
            }}
        }}"#
    );
    std::fs::write(&path, content).unwrap();
    let read = Budget::read_file(&path, limits(Some(100))).await.unwrap();
    let budget = Budget::open_file(&path, limits(Some(100))).await.unwrap();
    for status in [read.status(&"main".into()), budget.status(&"main".into())] {
        assert_eq!((status.spent, status.left), (42, Some(58)));
    }
    let [(reference, _)] = budget.orphans("main").try_into().unwrap();
    assert_eq!(reference, "evictd-1");
    budget.not_made("main", &reference).await.unwrap();
    budget.open("main", "evictd-2", 5).await.unwrap();
    let again = Budget::open_file(&path, limits(Some(100))).await.unwrap();
    assert_eq!(spent(&again), 45);
}

#[test]
fn a_new_month_begins_at_zero_and_the_one_before_is_kept() {
    let mut account = Account::default();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    account.open("a".to_owned(), 10, 1, at("2026-11-30T23:59:59Z"));
    account.open("b".to_owned(), 3, 1, at("2026-12-01T00:00:00Z"));
    assert_eq!((account.month.as_str(), account.spent), ("2026-12", 3));
    // The clock was wrong, and is set back.
    account.open("c".to_owned(), 4, 1, at("2026-11-30T00:00:00Z"));
    assert_eq!((account.month.as_str(), account.spent), ("2026-11", 14));
    for (reference, expected) in [("a", (4, 3)), ("b", (4, 0)), ("c", (0, 0))] {
        account.not_made(reference);
        let months = ["2026-11", "2026-12"].map(|month| account.spent_in(month));
        assert_eq!(months, [expected.0, expected.1], "{reference}");
    }
    assert_eq!(account.spent_in("2026-10"), 0);
}

#[test]
fn it_keeps_a_bounded_number_of_months() {
    let mut account = Account::default();
    for year in 2000..2100 {
        let now = format!("{year}-06-01T00:00:00Z").parse().unwrap();
        account.open(year.to_string(), 1, 1, now);
        account.made(&year.to_string());
    }
    assert_eq!(account.spent_in("2087-06"), 1);
    assert_eq!(account.spent_in("2086-06"), 0);
}

#[test]
fn the_forecast_is_the_pace_so_far_until_the_months_end() {
    for (now, expected) in [
        ("2026-11-01T00:00:00Z", 72_000),
        ("2026-11-01T01:00:00Z", 72_000),
        ("2026-11-16T00:00:00Z", 200),
        ("2026-11-30T23:59:59Z", 100),
    ] {
        let now = now.parse().unwrap();
        assert_eq!(forecast(100, now), expected, "{now}");
    }
    assert_eq!(
        forecast(u64::MAX, "2026-11-01T00:00:00Z".parse().unwrap()),
        u64::MAX
    );
}

#[tokio::test]
async fn requests_cost_less_from_four_fifths_of_the_budget_on() {
    for (limit, spent, expected) in [
        (None, 1_000_000, BudgetMode::Free),
        (Some(20_000), 0, BudgetMode::AtMost(20_000)),
        (Some(20_000), 15_999, BudgetMode::AtMost(4_001)),
        (Some(20_000), 16_000, BudgetMode::AtMost(80)),
        (Some(20_000), 19_999, BudgetMode::AtMost(1)),
        (Some(20_000), 20_000, BudgetMode::Spent),
        (Some(20_000), 30_000, BudgetMode::Spent),
        (Some(0), 0, BudgetMode::Spent),
    ] {
        let budget = Budget::in_memory(limits(limit));
        budget.open("main", "a", spent).await.unwrap();
        let status = budget.status(&"main".into());
        assert_eq!(status.mode(), expected, "{limit:?} {spent}");
        assert_eq!(
            status.left,
            limit.map(|limit| limit.saturating_sub(u64::try_from(spent).unwrap()))
        );
    }
}
