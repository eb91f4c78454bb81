use std::sync::Arc;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::edge::cover::coalesce::Room;
use crate::edge::cover::quota::{QUOTA, count};
use crate::edge::{BATCH_PATHS_MAX, Scope};
use crate::model::edge_item::matches;
use crate::model::{CommitTime, Sent};

fn ids(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

fn arrival(at: u64) -> MessageInfo {
    MessageInfo {
        sent: Some(Sent { by: 1, number: at }),
        deliveries: 1,
        committed_at: CommitTime::from_micros(at),
    }
}

fn gathering(messages: &[(&str, Vec<String>)]) -> Gathering {
    let mut gathering = Gathering::default();
    for (id, paths) in messages {
        gathering.add((*id).into(), arrival(7), paths.clone());
    }
    gathering
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("/{n:06}")).collect()
}

fn main() -> Scope {
    Scope::of(&"E1".into())
}

fn next(gathering: &mut Gathering, room: Room) -> Option<NextRequest> {
    gathering.next_batch(&main(), room, BudgetMode::Free, |_| false)
}

#[test]
fn what_is_at_most_a_quota_goes_in_parts_and_messages_complete_with_their_last() {
    let mut gathering = gathering(&[
        ("wide", numbered(0..2_500)),
        ("first", numbered(10..20)),
        ("last", numbered(2_490..2_500)),
        ("none", Vec::new()),
    ]);
    assert_eq!(gathering.empty(), ids(&["none"]));
    let room = |singles| Room {
        singles,
        wildcards: 15,
    };
    let first = next(&mut gathering, room(1_000)).unwrap();
    assert_eq!(first.invalidation.paths, numbered(0..1_000));
    assert_eq!(first.messages, ids(&["first", "wide"]));
    assert_eq!(gathering.accept(first), ids(&["first"]));
    assert_eq!(next(&mut gathering, room(0)), None, "it waits");
    let last = next(&mut gathering, room(3_000)).unwrap();
    assert_eq!(last.invalidation.paths, numbered(1_000..2_500));
    let mut complete = gathering.accept(last);
    complete.sort();
    assert_eq!(complete, ids(&["last", "wide"]));
    assert_eq!(
        (gathering.distinct_paths(), next(&mut gathering, QUOTA)),
        (0, None)
    );
}

#[test]
fn more_than_a_quota_is_coalesced_and_waits_for_a_wildcard() {
    let mut gathering = gathering(&[("a", numbered(0..2_000)), ("b", numbered(1_000..4_000))]);
    let room = |wildcards| Room {
        singles: 3_000,
        wildcards,
    };
    assert_eq!(next(&mut gathering, room(0)), None);
    assert_eq!(gathering.distinct_paths(), 4_000);
    let batch = next(&mut gathering, room(1)).unwrap();
    assert_eq!(batch.invalidation.paths, ["/00*"]);
    assert_eq!(gathering.accept(batch), ids(&["a", "b"]));
}

fn tags(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("#t{n:06}")).collect()
}

#[test]
fn tags_wait_for_room_up_to_a_quota_and_go_under_everything_beyond() {
    let room = |singles| Room {
        singles,
        wildcards: 15,
    };
    let mut some = gathering(&[("tags", tags(0..2_500)), ("paths", numbered(0..4_000))]);
    let first = next(&mut some, room(1_000)).unwrap();
    assert_eq!(
        first.invalidation.paths,
        tags(0..1_000),
        "exact, though late"
    );
    assert_eq!(some.accept(first), ids(&[]));
    let second = next(&mut some, room(2_000)).unwrap();
    assert_eq!(second.invalidation.paths[..1_500], tags(1_000..2_500));
    assert_eq!(second.invalidation.paths[1_500..], ["/00*"]);
    let mut complete = some.accept(second);
    complete.sort();
    assert_eq!(complete, ids(&["paths", "tags"]));

    let mut many = gathering(&[("tags", tags(0..3_001)), ("path", numbered(0..1))]);
    let all = next(&mut many, room(3_000)).unwrap();
    assert_eq!(all.invalidation.paths, ["/*"]);
    assert_eq!(all.coalesced(), 3_002);
    assert_eq!(many.accept(all).len(), 2);
}

#[test]
fn a_request_on_a_low_budget_has_few_tags_or_covers_everything() {
    for (budget_mode, number, expected) in [
        (BudgetMode::AtMost(9), 9, tags(0..9)),
        (BudgetMode::AtMost(9), 10, vec!["/*".to_owned()]),
        (BudgetMode::Spent, 1, tags(0..1)),
        (BudgetMode::Spent, 2, vec!["/*".to_owned()]),
    ] {
        let mut gathering = gathering(&[("a", tags(0..number))]);
        let batch = gathering.next_batch(&main(), QUOTA, budget_mode, |_| false);
        let paths = batch.unwrap().invalidation.paths;
        assert_eq!(paths, expected, "{budget_mode:?} {number}");
    }
}

/// As what a sender that is gone had sent is received once more, and was invalidated before.
#[test]
fn a_request_reaches_back_by_the_senders_whose_paths_it_has() {
    let mut gathering = gathering(&[("a", vec!["/a".to_owned()]), ("b", vec!["/b".to_owned()])]);
    let of_another = MessageInfo {
        sent: Some(Sent { by: 2, number: 9 }),
        ..arrival(0)
    };
    gathering.add("old".into(), of_another, vec!["/old".to_owned()]);
    let (left_out, _) = gathering.leave_out(|path, _| path == "/old");
    assert_eq!(left_out, 1);
    let request = next(&mut gathering, QUOTA).unwrap();
    assert_eq!(request.horizon(), Some(Sent { by: 1, number: 7 }));
}

#[test]
fn what_is_put_back_is_sent_again() {
    let mut gathering = gathering(&[("a", numbered(0..5)), ("b", numbered(3..8))]);
    let batch = next(&mut gathering, QUOTA).unwrap();
    gathering.put_back(batch.clone());
    assert_eq!(next(&mut gathering, QUOTA), Some(batch));
}

#[test]
fn messages_that_wait_for_nothing_more_have_no_say() {
    let mut gathering = gathering(&[
        ("first", numbered(0..1)),
        ("last", numbered(1..2)),
        ("none", Vec::new()),
    ]);
    let waiting = |gathering: &Gathering| -> Vec<Arc<str>> {
        let arrivals = gathering.arrivals();
        arrivals.map(|(id, _)| Arc::clone(id)).collect()
    };
    assert_eq!(waiting(&gathering), ids(&["first", "last"]));
    let first = gathering.as_they_are(&main(), &numbered(0..1), QUOTA);
    gathering.accept(first.unwrap());
    assert_eq!(waiting(&gathering), ids(&["last"]));
}

#[test]
fn what_is_done_is_forgotten_as_more_comes() {
    let mut round = Gathering::default();
    for n in 0..100 {
        let path = numbered(n..n + 1);
        round.absorb(gathering(&[("message", path.clone())]));
        assert!(round.messages().len() <= 3, "{n}");
        let request = round.as_they_are(&main(), &path, QUOTA).unwrap();
        assert_eq!(round.accept(request), ids(&["message"]));
    }
}

#[test]
fn a_halved_batch_completes_its_messages_with_both_halves() {
    let mut gathering = gathering(&[
        ("low", numbered(0..2)),
        ("high", numbered(2..4)),
        ("both", numbered(1..3)),
    ]);
    let batch = next(&mut gathering, QUOTA).unwrap();
    let (first, second) = gathering.halve(batch).unwrap();
    assert_ne!(
        first.invalidation.caller_reference,
        second.invalidation.caller_reference
    );
    assert_eq!(first.messages, ids(&["both", "low"]));
    assert_eq!(second.messages, ids(&["both", "high"]));
    assert_eq!(gathering.accept(first), ids(&["low"]));
    assert_eq!(gathering.accept(second), ids(&["both", "high"]));
}

#[test]
fn a_single_path_cannot_be_halved() {
    let mut gathering = gathering(&[("a", numbered(0..1))]);
    let batch = next(&mut gathering, QUOTA).unwrap();
    assert_eq!(*gathering.halve(batch.clone()).unwrap_err(), batch);
    let renamed = gathering.renamed(batch.clone());
    assert_eq!(renamed.invalidation.paths, batch.invalidation.paths);
    assert_ne!(renamed, batch);
}

#[test]
fn a_message_without_a_commit_time_may_be_as_old_as_can_be() {
    let redelivered = |committed_at| MessageInfo {
        deliveries: 2,
        committed_at,
        ..arrival(7)
    };
    let mut gathering = gathering(&[("a", vec!["/a".to_owned()])]);
    let seven = CommitTime::from_micros(7).unwrap();
    assert_eq!(gathering.oldest(), Some(UNIX_EPOCH + seven.since_epoch()));
    let five = CommitTime::from_micros(5).unwrap();
    gathering.add("b".into(), redelivered(Some(five)), vec!["/b".to_owned()]);
    assert_eq!(gathering.oldest(), Some(UNIX_EPOCH + five.since_epoch()));
    gathering.add("c".into(), redelivered(None), vec!["/c".to_owned()]);
    assert_eq!(gathering.oldest(), Some(UNIX_EPOCH));
    let request = next(&mut gathering, QUOTA).unwrap();
    assert_eq!(request.committed_at, Some(five), "as far as is known");
}

#[test]
fn what_was_covered_before_is_left_out_for_the_messages_that_were_there() {
    let mut gathering = Gathering::default();
    gathering.add("early".into(), arrival(10), vec!["/a".into(), "/b".into()]);
    gathering.add("late".into(), arrival(20), vec!["/a".into()]);
    let covered =
        |path: &str, sent: Option<Sent>| path == "/a" && sent.is_some_and(|sent| sent.number < 15);
    assert_eq!(gathering.leave_out(covered), (0, Vec::new()));
    let batch = next(&mut gathering, QUOTA).unwrap();
    assert_eq!(batch.invalidation.paths, ["/a", "/b"], "for the late one");
    assert_eq!(batch.horizon, Some(Sent { by: 1, number: 20 }));
    gathering.put_back(batch);
    let all = gathering.leave_out(|_, _| true);
    assert_eq!(all, (2, ids(&["late", "early"])));
}

#[test]
fn a_request_on_a_low_budget_costs_no_more_than_it_may() {
    for (budget_mode, paths, always, expected) in [
        (
            BudgetMode::AtMost(6),
            5,
            "",
            vec!["/000000", "/000001", "/000002", "/000003", "/000004"],
        ),
        (BudgetMode::AtMost(3), 5, "", vec!["/00000*"]),
        (BudgetMode::AtMost(0), 5, "", vec!["/00000*"]),
        (BudgetMode::Spent, 1, "", vec!["/000000"]),
        (BudgetMode::Spent, 5, "", vec!["/00000*"]),
        (BudgetMode::Spent, 5, "/000003", vec!["/00000*", "/000003"]),
    ] {
        let mut gathering = gathering(&[("a", numbered(0..paths))]);
        let batch = gathering.next_batch(&main(), QUOTA, budget_mode, |path| path == always);
        let batch = batch.unwrap();
        assert_eq!(
            batch.invalidation.paths, expected,
            "{budget_mode:?} {paths} {always}"
        );
        assert_eq!(gathering.accept(batch), ids(&["a"]));
    }
}

fn any_messages() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    let wide = (0_u32..9_000, 0_u32..4_000).prop_map(|(from, count)| from..from + count);
    let narrow = (0_u32..100, 0_u32..10).prop_map(|(from, count)| from..from + count);
    let star = (0_u32..100).prop_map(|n| n..n);
    let range = prop_oneof![1 => wide, 3 => narrow, 1 => star];
    prop::collection::vec(range, 0..8).prop_map(|ranges| {
        let named = |(n, range): (usize, std::ops::Range<u32>)| {
            let paths = match (range.is_empty(), range.start % 4) {
                (true, _) => vec![format!("/{}*", range.start)],
                (false, 0) => tags(range),
                (false, _) => numbered(range),
            };
            (format!("m{n}"), paths)
        };
        ranges.into_iter().enumerate().map(named).collect()
    })
}

fn any_budget_mode() -> impl Strategy<Value = BudgetMode> {
    prop_oneof![
        Just(BudgetMode::Free),
        (0_usize..50).prop_map(BudgetMode::AtMost),
        Just(BudgetMode::Spent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_path_is_sent_within_the_room_before_its_message_completes(
        messages in any_messages(),
        rooms in prop::collection::vec((0_usize..4_000, 0_usize..16), 1..6),
        budget_mode in any_budget_mode(),
    ) {
        let mut gathering = Gathering::default();
        for (id, paths) in &messages {
            gathering.add(id.as_str().into(), arrival(7), paths.clone());
        }
        let mut complete = gathering.empty();
        let mut sent: Vec<String> = Vec::new();
        // The room changes as others use the quota too, and is whole in the end.
        let rooms = rooms.into_iter().map(|(singles, wildcards)| Room { singles, wildcards });
        for room in rooms.chain(std::iter::repeat_n(QUOTA, 1_000)) {
            if gathering.distinct_paths() == 0 {
                break;
            }
            let Some(batch) = gathering.next_batch(&main(), room, budget_mode, |_| false) else {
                prop_assert!(room != QUOTA, "something fits when nothing is in progress");
                continue;
            };
            let paths = &batch.invalidation.paths;
            let used = count(paths);
            prop_assert!(!paths.is_empty() && paths.len() <= BATCH_PATHS_MAX);
            prop_assert!(used.singles <= room.singles && used.wildcards <= room.wildcards);
            match budget_mode {
                BudgetMode::Free => {}
                BudgetMode::AtMost(most) => prop_assert!(paths.len() <= most.max(1)),
                BudgetMode::Spent | BudgetMode::Saving => prop_assert_eq!(paths.len(), 1),
            }
            sent.extend(paths.clone());
            complete.extend(gathering.accept(batch));
            for id in &complete {
                let (_, paths) = messages.iter().find(|(other, _)| **other == **id).unwrap();
                let reached = |path: &String| sent.iter().any(|sent| matches(sent, path));
                prop_assert!(paths.iter().step_by(97).all(reached));
            }
        }
        complete.sort();
        let mut all: Vec<Arc<str>> = messages.iter().map(|(id, _)| id.as_str().into()).collect();
        all.sort();
        prop_assert_eq!(complete, all, "each once");
    }

    #[test]
    fn the_order_of_arrival_does_not_change_the_request(
        (messages, shuffled) in any_messages()
            .prop_flat_map(|messages| (Just(messages.clone()), Just(messages).prop_shuffle()))
    ) {
        let request = |messages: &[(String, Vec<String>)]| {
            let mut gathering = Gathering::default();
            for (id, paths) in messages {
                gathering.add(id.as_str().into(), arrival(7), paths.clone());
            }
            next(&mut gathering, QUOTA).map(|batch| batch.invalidation)
        };
        prop_assert_eq!(request(&messages), request(&shuffled));
    }
}

#[test]
fn messages_of_a_refused_request_leave_with_all_of_their_paths_and_nobody_elses() {
    let mut round = gathering(&[
        ("both", numbered(0..4)),
        ("first", numbered(0..1)),
        ("last", numbered(3..4)),
    ]);
    let room = Room {
        singles: 2,
        wildcards: 0,
    };
    let refused = next(&mut round, room).unwrap();
    assert_eq!(refused.invalidation.paths, numbered(0..2));
    let mut suspects = round.take_out(refused);
    assert_eq!(round.unfinished(), ids(&["last"]));
    assert_eq!(suspects.unfinished(), ids(&["both", "first"]));
    let last = next(&mut round, QUOTA).unwrap();
    assert_eq!(last.invalidation.paths, numbered(3..4));
    assert_eq!(round.accept(last), ids(&["last"]));

    suspects.absorb(gathering(&[("other", numbered(3..5))]));
    let paths: Vec<&str> = suspects.paths().collect();
    assert_eq!(paths, numbered(0..5));
    let bad = |path: &str| path == "/000003";
    assert_eq!(suspects.take_ended(bad), []);
    let asked = ["/000004"].map(str::to_owned);
    let request = suspects.as_they_are(&main(), &asked, QUOTA).unwrap();
    assert_eq!(request.alone(), Some("/000004"));
    assert_eq!(suspects.accept(request), ids(&[]));
    let other = ("other".into(), numbered(3..4));
    assert_eq!(suspects.take_ended(bad), [other]);
    assert!(suspects.holds("/000003"), "another message holds it");
    let more = gathering(&[("more", numbered(2..3))]);
    suspects.absorb(more);
    let rest = suspects.as_they_are(&main(), &numbered(0..3), QUOTA);
    let complete = suspects.accept(rest.unwrap());
    assert_eq!(complete, ids(&["first", "more"]));
    let both = ("both".into(), numbered(3..4));
    assert_eq!(suspects.take_ended(bad), [both]);
    assert!(!suspects.holds("/000003"));
}
