//! Messages that nothing can be done with.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::fake_buffer::message;
use super::fake_edge::{denied, invalid, no_tenant, refused, unknown};
use super::*;
use crate::buffer::MessageError;
use crate::ledger::LedgerFiles;
use crate::model::CommitTime;

#[tokio::test(start_paused = true)]
async fn unusable_messages_become_dead_letters_at_once_or_after_a_few_deliveries() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.push("unheard-of", &["/a"]);
    bench
        .buffer
        .put(Err(MessageError::NewerVersion { found: 2 }));
    bench.buffer.put(Err(MessageError::Malformed {
        reason: "on purpose".to_owned(),
    }));
    bench.buffer.push("main", &["/b"]);
    pass(seconds(20)).await;
    let dead = bench.buffer.with(|state| state.dead.clone());
    let [(body, reason)] = Vec::from_iter(dead).try_into().unwrap();
    assert_eq!(body, "body of m2");
    assert!(reason.contains("on purpose"), "{reason}");
    assert_eq!(
        bench.buffer.remaining(),
        2,
        "others may know what to do with them"
    );
    pass(seconds(600)).await;
    assert_eq!(bench.buffer.remaining(), 0);
    assert_eq!(bench.edge.paths(), ["/b"]);
    let (deliveries, calls) = bench.buffer.with(|s| (s.deliveries, s.receive_calls));
    assert_eq!(deliveries, 2 + 2 * 5);
    assert!(calls < 120, "{calls}");
    let dead = bench.buffer.with(|state| state.dead.clone());
    assert!(dead["body of m0"].contains("unheard-of"), "{dead:?}");
    assert!(dead["body of m1"].contains("upgrade"), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_edge_refuses_becomes_a_dead_letter_with_the_edges_words() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let bad = batch.paths.contains(&"/bad".to_owned());
        bad.then(|| invalid(batch))
    }));
    bench.buffer.push("main", &["/a", "/bad"]);
    bench.buffer.push("main", &["/b"]);
    bench.among_others(seconds(60)).await;
    bench.emptied().await;
    let dead = bench.buffer.with(|state| state.dead.clone());
    let [(body, reason)] = Vec::from_iter(dead).try_into().unwrap();
    assert_eq!(body, "body of m0");
    assert!(reason.contains("correct its template"), "{reason}");
    assert_eq!(bench.buffer.remaining(), 0);
    assert!(bench.edge.paths().contains(&"/a".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_about_no_path_buries_nothing_however_often_it_comes() {
    for error in [unknown, denied, refused] {
        let away = Instant::now() + seconds(900);
        let bench = Bench::start(FakeEdge::judged(move |batch| {
            (Instant::now() < away).then(|| error(batch))
        }));
        for path in ["/a", "/b", "/c"] {
            bench.buffer.push("main", &[path]);
        }
        bench.emptied().await;
        assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
        assert_eq!(bench.edge.paths(), ["/a", "/b", "/c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_buried_for_its_bad_path_only_after_its_good_ones_are_accepted() {
    let away = Instant::now() + seconds(900);
    let ledger = Ledger::off();
    let edge = FakeEdge::judged(move |batch| {
        let bad = batch.paths.contains(&"/bad".to_owned());
        // The good ones are denied for a quarter of an hour.
        let denies = Instant::now() < away;
        if bad {
            Some(invalid(batch))
        } else {
            denies.then(|| denied(batch))
        }
    });
    let bench = Bench::recording(edge, ledger.clone());
    bench.buffer.push("main", &["/a", "/bad", "/c"]);
    pass(seconds(890)).await;
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
    bench.among_others(seconds(120)).await;
    bench.emptied().await;
    pass(seconds(1)).await;
    assert_eq!(bench.paths(), ["/a", "/c"], "each once");
    assert_eq!(ledger.summary().recent_dead_letters[0].paths, ["/bad"]);
}

/// Each row: visibility timeout, `max_receives`, seconds for which the path is refused,
/// whether it is buried.
#[tokio::test(start_paused = true)]
async fn a_path_is_buried_for_two_refusals_half_a_minute_apart_however_the_queue_is_set_up() {
    for (visibility, max_receives, refuses, buried) in [
        (1, 1, 25, false),
        (2, 3, 25, false),
        (30, 5, 25, false),
        (3_600, 1, 25, false),
        (1, 1, 3_600, true),
        (5, 3, 3_600, true),
        (30, 5, 3_600, true),
        (3_600, 50, 3_600, true),
    ] {
        let until = Instant::now() + seconds(refuses);
        let edge = FakeEdge::judged(move |batch| {
            let bad = batch.paths.contains(&"/bad".to_owned());
            (bad && Instant::now() < until).then(|| invalid(batch))
        });
        let buffer = Arc::new(FakeBuffer::default());
        buffer.with(|state| state.visibility = Some(seconds(visibility)));
        let parts = (buffer, Arc::new(edge));
        let bench = Bench::of(parts, Reports::default(), History::off(), |options| {
            options.max_receives = max_receives;
        });
        let case = format!("{visibility} {max_receives} {refuses}");
        bench.among_others(seconds(5)).await;
        bench.buffer.push("main", &["/a", "/bad"]);
        bench.among_others(seconds(29)).await;
        assert_eq!(bench.buffer.with(|state| state.dead.len()), 0, "{case}");
        assert_eq!(bench.paths(), ["/a"], "at once");
        bench.among_others(seconds(10)).await;
        bench.emptied().await;
        let (dead, deliveries) = bench.buffer.with(|s| (s.dead.len(), s.deliveries));
        let others = 1 + 6 + 2;
        assert_eq!(
            (dead, deliveries),
            (usize::from(buried), 1 + others),
            "{case}"
        );
        assert_eq!(bench.paths().len(), 2 - usize::from(buried), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_gone_for_two_refusals_half_a_minute_apart() {
    for (refuses, buried, paths) in [
        (25, 0, &["/a", "/b"][..]),
        (3_600, 1, &["/a", "/b"]),
        (3_600, 1, &["/a"]),
    ] {
        let until = Instant::now() + seconds(refuses);
        let bench = Bench::start(FakeEdge::judged(move |batch| {
            let gone = batch.scope.tenant.is_some() && Instant::now() < until;
            gone.then(|| no_tenant(batch))
        }));
        let mut message = message("main", paths);
        message.tenant = Some("dt_gone".into());
        bench.buffer.put(Ok(message));
        pass(seconds(10)).await;
        bench.buffer.push("main", &["/c"]);
        pass(seconds(30)).await;
        let (dead, deliveries) = bench.buffer.with(|s| (s.dead.len(), s.deliveries));
        assert_eq!((dead, deliveries), (buried, 2));
        assert!(bench.edge.calls() < 6, "{}", bench.edge.calls());
        assert_eq!(bench.buffer.remaining(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_redriven_is_tried_afresh_whatever_is_remembered() {
    for mended in [true, false] {
        let ledger = Ledger::off();
        let edge = FakeEdge::judged(|batch| {
            let bad = batch.paths.contains(&"/bad".to_owned());
            bad.then(|| invalid(batch))
        });
        let bench = Bench::recording(edge, ledger.clone());
        bench.buffer.push("main", &["/bad"]);
        bench.among_others(seconds(60)).await;
        assert_eq!(bench.buffer.with(|state| state.dead.len()), 1);
        // The next one waits for the next attempt.
        bench.buffer.push("main", &["/bad"]);
        pass(seconds(5)).await;
        let calls = bench.edge.calls();
        if mended {
            bench.edge.mend();
        }
        let mut message = message("main", &["/bad"]);
        message.redriven_at = Some(CommitTime::now());
        bench.buffer.put(Ok(message));
        pass(seconds(5)).await;
        let letters = ledger.summary().recent_dead_letters;
        assert!(letters.iter().all(|letter| letter.redriven_at.is_some()));
        assert_eq!(bench.edge.calls(), calls + 1);
        assert_eq!(bench.paths().len(), usize::from(mended));
        bench.among_others(seconds(40)).await;
        bench.emptied().await;
        let letters = ledger.summary().recent_dead_letters;
        let open = letters.iter().filter(|letter| letter.redriven_at.is_none());
        assert_eq!(open.count(), usize::from(!mended), "refused twice since");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_message_is_put_on_record_with_what_it_held_once_it_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), "shop").await;
    let bench = Bench::recording(FakeEdge::default(), ledger.clone());
    bench.buffer.push("unheard-of", &["/a", "/b"]);
    bench.buffer.put(Err(MessageError::Malformed {
        reason: "no JSON".to_owned(),
    }));
    bench
        .buffer
        .put(Err(MessageError::NewerVersion { found: 2 }));
    pass(seconds(20)).await;
    let letters = ledger.summary().recent_dead_letters;
    assert_eq!(letters.len(), 1, "others may be able to use the rest");
    bench.emptied().await;
    pass(seconds(1)).await;
    let letters = ledger.summary().recent_dead_letters;
    let said = |reason: &str| {
        letters
            .iter()
            .find(|letter| letter.reason == reason)
            .unwrap()
    };
    assert_eq!(letters.len(), 3, "each once");
    let unheard_of = said("unknown-distribution");
    assert_eq!(unheard_of.paths, ["/a", "/b"]);
    assert_eq!(unheard_of.distribution.as_deref(), Some("unheard-of"));
    assert!(unheard_of.remedy.contains("evictd drain --redrive"));
    assert!(said("malformed").message.is_some());
    assert!(said("newer-version").detail.contains("upgrade"));
    ledger.flush(seconds(60)).await;
    let on_disk = LedgerFiles::new(dir.path(), "shop").read().await.unwrap();
    assert_eq!(on_disk.recent_dead_letters, letters);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_message_without_a_place_for_dead_letters_stays_and_is_on_record_once() {
    let ledger = Ledger::off();
    let bench = Bench::recording(FakeEdge::default(), ledger.clone());
    bench.buffer.with(|state| state.no_place = true);
    bench.buffer.push("unheard-of", &["/a"]);
    pass(seconds(600)).await;
    assert_eq!(bench.buffer.remaining(), 1);
    let deliveries = bench.buffer.with(|state| state.deliveries);
    assert!(deliveries > 10, "{deliveries}");
    let letters = ledger.summary().recent_dead_letters;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].remedy.contains("redrive policy"), "{letters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_path_is_put_on_record_with_its_distribution_and_its_message_is_buried() {
    let ledger = Ledger::off();
    let edge = FakeEdge::judged(|batch| {
        let bad = batch.paths.iter().any(|path| path.starts_with("/bad"));
        bad.then(|| invalid(batch))
    });
    let bench = Bench::recording(edge, ledger.clone());
    bench.buffer.push("main", &["/a", "/bad", "/c", "/bad-too"]);
    bench.among_others(seconds(60)).await;
    bench.emptied().await;
    let accepted: BTreeSet<String> = bench.paths().into_iter().collect();
    assert_eq!(Vec::from_iter(accepted), ["/a", "/c"]);
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 1);
    let letters = ledger.summary().recent_dead_letters;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let mut letter = letters[0].clone();
    letter.paths.sort();
    assert_eq!(
        (letter.paths, letter.reason),
        (
            vec!["/bad".to_owned(), "/bad-too".to_owned()],
            "invalid-path".to_owned()
        )
    );
    assert_eq!(letter.distribution.as_deref(), Some("main"));
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_the_distribution_that_it_means_whatever_its_name_is_by_now() {
    for (name, sends) in [("before", true), ("before", false), ("main", false)] {
        let (reports, history) = (Reports::default(), History::off());
        let bench = Bench::of(Default::default(), reports, history, |options| {
            options.last_sent = sends.then(|| watch::Sender::new(None).subscribe());
        });
        let mut message = message(name, &["/a"]);
        message.distribution_id = Some("E2".into());
        bench.buffer.put(Ok(message));
        pass(seconds(100)).await;
        let made = bench.edge.made();
        let at: Vec<&str> = made.iter().map(|made| &*made.scope.distribution).collect();
        assert_eq!(at, ["E2"], "{name}");
        assert_eq!(bench.buffer.remaining(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_the_distribution_that_it_means_and_to_no_other_of_that_name() {
    for (source, id, sends, sent) in [
        ("shop", None, false, true),
        ("shop", Some("E1"), false, true),
        ("blog", Some("E1"), false, true),
        ("blog", None, false, true),
        // The id changed while the message waited, and the newest is known here.
        ("shop", Some("E7"), true, true),
        // It may be the one here that is not the newest.
        ("shop", Some("E7"), false, false),
        ("blog", Some("E7"), true, false),
    ] {
        let (reports, history) = (Reports::default(), History::off());
        let bench = Bench::of(Default::default(), reports, history, |options| {
            options.last_sent = sends.then(|| watch::Sender::new(None).subscribe());
        });
        let mut message = message("main", &["/a"]);
        message.source = source.into();
        message.distribution_id = id.map(Into::into);
        bench.buffer.put(Ok(message));
        pass(seconds(100)).await;
        let paths = bench.edge.paths();
        assert_eq!(paths.len(), usize::from(sent), "{source} {id:?} {sends}");
        assert_eq!(bench.buffer.remaining(), usize::from(!sent));
        pass(seconds(600)).await;
        // What is for another configuration is not buried: its own drain may be away.
        let dead = bench.buffer.with(|state| state.dead.clone());
        let buried = source == "shop" && !sent;
        assert_eq!(dead.len(), usize::from(buried), "{source} {id:?}");
        for reason in dead.values() {
            for words in ["E1 here", "E7 in", "evictd drain --redrive"] {
                assert!(reason.contains(words), "{reason}");
            }
        }
    }
}
