//! What gathers becomes invalidations, and its messages go.

use tokio::sync::watch;

use super::fake_buffer::{VISIBILITY, message, trouble};
use super::fake_edge::{denied, throttled, too_many};
use super::*;
use crate::buffer::ReceiptError;
use crate::drain::extension::report;
use crate::drain::in_flight::{InFlight, ReceivedMessage};
use crate::model::Sent;
use crate::progress::board::Component;

#[tokio::test(start_paused = true)]
async fn messages_of_one_window_become_one_invalidation_without_duplicates() {
    let bench = Bench::start(FakeEdge::default());
    let start = Instant::now();
    bench.buffer.push("main", &["/b", "/a"]);
    pass(seconds(1)).await;
    bench.buffer.push("main", &["/a", "/c"]);
    bench.emptied().await;
    let state = bench.edge.state.lock().unwrap();
    let [(at, batch)] = state.made.as_slice() else {
        panic!("{:?}", state.made);
    };
    assert_eq!(batch.paths, ["/a", "/b", "/c"]);
    assert_eq!(&*batch.scope.distribution, "E1");
    assert_eq!(*at - start, WINDOW, "counted from the first message");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_waits_for_no_window() {
    let bench = Bench::start(FakeEdge::default());
    let paths: Vec<String> = (0..3_000).map(|n| format!("/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bench.buffer.push("main", &paths);
    pass(Duration::from_millis(10)).await;
    assert_eq!(bench.edge.paths().len(), 3_000);
}

#[tokio::test(start_paused = true)]
async fn what_an_edge_has_no_room_for_waits_and_then_goes_as_it_is() {
    let bench = Bench::start(FakeEdge::default());
    let paths: Vec<String> = (0..5_000).map(|n| format!("/{n:04}")).collect();
    for part in paths.chunks(2_500) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        bench.buffer.push("main", &part);
        pass(seconds(3)).await;
    }
    let start = Instant::now();
    bench.emptied().await;
    assert!(
        start.elapsed() >= seconds(4),
        "it waited for the completion"
    );
    assert_eq!(bench.edge.paths(), paths, "each as it is, and once");
    let state = bench.edge.state.lock().unwrap();
    let sizes: Vec<usize> = state
        .made
        .iter()
        .map(|(_, batch)| batch.paths.len())
        .collect();
    assert_eq!(sizes, [2_500, 500, 2_000]);
}

/// A request for more than the room that is left would be refused.
#[tokio::test(start_paused = true)]
async fn a_first_round_waits_until_it_is_known_what_others_have_in_progress() {
    let others = Bench::start(FakeEdge::default());
    let paths: Vec<String> = (0..3_100).map(|n| format!("/{n:04}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    others.buffer.push("main", &paths[..2_900]);
    others.emptied().await;
    others.drain.abort();
    others.edge.state.lock().unwrap().slow_reads = seconds(1);
    let (reports, history) = (Reports::default(), History::off());
    let parts = (others.buffer, others.edge);
    let bench = Bench::of(parts, reports, history, |options| {
        options.window = Duration::from_millis(100);
    });
    bench.buffer.push("main", &paths[2_900..]);
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), paths, "each as it is, and once");
    let made = bench.edge.made();
    let sizes: Vec<usize> = made.iter().map(|batch| batch.paths.len()).collect();
    assert_eq!(sizes, [2_900, 100, 100]);
}

/// Others may use most of the quota, and the edge does not always show it.
#[tokio::test(start_paused = true)]
async fn what_is_more_than_the_room_that_is_there_goes_in_parts() {
    for most in [30, 3, 1] {
        let edge = FakeEdge::judged(move |batch| {
            let wildcard = batch.paths.iter().any(|path| path.ends_with('*'));
            (wildcard || batch.paths.len() > most).then(|| too_many(batch))
        });
        let bench = Bench::with(
            Arc::default(),
            Arc::new(edge),
            Reports::default(),
            History::off(),
        );
        let paths: Vec<String> = (0..80).map(|n| format!("/{n}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        bench.buffer.push("main", &paths);
        bench.buffer.push("main", &["/hot"]);
        let began = Instant::now();
        bench.emptied().await;
        assert_eq!(bench.paths().len(), 81, "each once");
        // A refusal is waited out for longer and longer.
        let within = seconds(40 + 300 / u64::try_from(most).unwrap());
        assert!(began.elapsed() < within, "{most}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn paths_of_one_kind_wait_for_no_room_of_the_other() {
    for (fits, waits) in [("/p/7", "/w/*"), ("/w/*", "/p/7")] {
        let is_like = |path: &str| path.ends_with('*') == waits.ends_with('*');
        let edge = FakeEdge::judged(move |batch| {
            let mut paths = batch.paths.iter();
            paths.any(|path| is_like(path)).then(|| too_many(batch))
        });
        let bench = Bench::start(edge);
        bench.buffer.push("main", &[waits, fits]);
        pass(seconds(60)).await;
        assert_eq!(bench.paths(), [fits]);
        bench.edge.mend();
        bench.emptied().await;
    }
}

/// The quota of wildcards is small, and easily used up.
#[tokio::test(start_paused = true)]
async fn paths_that_come_while_a_wildcard_waits_for_room_wait_for_nothing() {
    let refuses: [fn() -> FakeEdge; 2] = [FakeEdge::default, || {
        FakeEdge::judged(|batch| {
            let mut paths = batch.paths.iter();
            let is_late = |path: &String| path.starts_with("/late/") && path.ends_with('*');
            paths.any(is_late).then(|| too_many(batch))
        })
    }];
    for (index, edge) in refuses.into_iter().enumerate() {
        let (reports, history) = (Reports::default(), History::off());
        let board = Arc::clone(&reports.board);
        let bench = Bench::with(Arc::default(), Arc::new(edge()), reports, history);
        bench.edge.state.lock().unwrap().stands_still = true;
        let wildcards: Vec<String> = (0..15).map(|n| format!("/{n:02}/*")).collect();
        let wildcards: Vec<&str> = wildcards.iter().map(String::as_str).collect();
        bench
            .buffer
            .push("main", &wildcards[..if index == 0 { 15 } else { 1 }]);
        bench.emptied().await;
        bench.buffer.push("main", &["/late/*"]);
        let (mut pushed, mut troubles) = (BTreeMap::new(), Vec::new());
        for n in 0..100 {
            let path = format!("/p/{n:02}");
            bench.buffer.push("main", &[&path]);
            pushed.insert(path, Instant::now());
            pass(seconds(1)).await;
            let parts = board.snapshot().parts;
            let edge = parts.get(&Component::Edge("main".into()));
            troubles.push(edge.and_then(|edge| edge.trouble_since));
        }
        let since = troubles[99].expect("a wildcard waits");
        assert_eq!(
            troubles[80..],
            [Some(since); 20],
            "all the time, and since when"
        );
        pass(seconds(10)).await;
        let made = bench.edge.state.lock().unwrap().made.clone();
        let mut late = BTreeMap::new();
        for (at, batch) in &made {
            for path in &batch.paths {
                late.extend(pushed.get(path).map(|since| (path, *at - *since)));
            }
        }
        assert_eq!(late.len(), 100, "{index}: {:?}", late.keys());
        let longest = late.values().max().unwrap();
        assert!(*longest < WINDOW + seconds(7), "{index}: {longest:?}");
        bench.edge.state.lock().unwrap().stands_still = false;
        bench.edge.mend();
        bench.emptied().await;
        assert!(bench.paths().contains(&"/late/*".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_trouble_of_paths_that_waited_for_room_ends_though_they_were_refused_then() {
    let began = Instant::now();
    let edge = FakeEdge::judged(move |batch| match began.elapsed().as_secs() {
        0..100 => Some(too_many(batch)),
        100..130 => Some(denied(batch)),
        _ => None,
    });
    let (reports, history) = (Reports::default(), History::off());
    let board = Arc::clone(&reports.board);
    let bench = Bench::with(Arc::default(), Arc::new(edge), reports, history);
    bench.buffer.push("main", &["/a"]);
    let trouble = || {
        let parts = board.snapshot().parts;
        let edge = parts.get(&Component::Edge("main".into()));
        edge.and_then(|edge| edge.trouble_since)
    };
    pass(seconds(90)).await;
    assert!(trouble().is_some(), "it waits for room");
    bench.emptied().await;
    assert_eq!(trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_behind_an_accepted_wildcard_needs_no_call() {
    let bench = Bench::start(FakeEdge::slow(seconds(5)));
    bench.buffer.push("main", &["/products/*"]);
    for n in 0..500 {
        bench.buffer.push("main", &[&format!("/products/{n}")]);
    }
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*"]);
    bench.buffer.push("main", &["/products/7"]);
    bench.emptied().await;
    assert_eq!(
        bench.edge.paths(),
        ["/products/*", "/products/7"],
        "a later change"
    );
}

/// It is received while the wildcard waits.
#[tokio::test(start_paused = true)]
async fn what_was_received_before_a_wildcard_was_asked_for_needs_no_call() {
    let away = Instant::now() + seconds(60);
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        (Instant::now() < away).then(|| throttled(batch))
    }));
    bench.buffer.push("main", &["/products/*"]);
    pass(seconds(30)).await;
    for n in 0..300 {
        bench.buffer.push("main", &[&format!("/products/{n}")]);
    }
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*"]);
    bench.buffer.push("main", &["/products/7"]);
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*", "/products/7"]);
}

/// A drain holds no more than a thousand messages, and its sender knows of all.
#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_wildcard_was_asked_for_needs_no_call() {
    let last_sent = watch::Sender::new(None);
    let subscribed = last_sent.subscribe();
    let away = Instant::now() + seconds(60);
    let edge = FakeEdge::judged(move |batch| (Instant::now() < away).then(|| throttled(batch)));
    let buffer = Arc::<FakeBuffer>::default();
    let (reports, history) = (Reports::default(), History::off());
    let bench = Bench::of((buffer, Arc::new(edge)), reports, history, |options| {
        options.last_sent = Some(subscribed);
    });
    bench.buffer.push("main", &["/products/*"]);
    for n in 0..3_000 {
        bench.buffer.push("main", &[&format!("/products/{n}")]);
    }
    last_sent.send_replace(Some(Sent {
        by: 1,
        number: 3_000,
    }));
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*"]);
    bench.buffer.push("main", &["/products/7"]);
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*", "/products/7"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_change_to_the_same_path_is_a_second_invalidation() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    assert_eq!(bench.edge.made().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_edge_is_asked_what_is_in_progress_until_nothing_is() {
    let bench = Bench::start(FakeEdge::default());
    let lists = || bench.edge.state.lock().unwrap().lists;
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    let accepted = lists();
    pass(FakeEdge::COMPLETES_AFTER / 2).await;
    assert!(lists() > accepted + 10, "{} and {accepted}", lists());
    pass(FakeEdge::COMPLETES_AFTER).await;
    let completed = lists();
    pass(seconds(600)).await;
    assert_eq!(lists(), completed, "an idle edge is not asked");
}

#[tokio::test(start_paused = true)]
async fn a_slow_edge_does_not_make_held_messages_visible_again() {
    let bench = Bench::start(FakeEdge::slow(VISIBILITY * 10));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(20)).await;
    bench.buffer.push("main", &["/b"]);
    bench.emptied().await;
    assert_eq!(bench.buffer.with(|state| state.deliveries), 2, "each once");
    assert!(bench.buffer.with(|state| state.extend_calls) > 30);
    assert_eq!(bench.edge.paths(), ["/a", "/b"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_received_again_while_held_is_sent_once_and_deleted() {
    let bench = Bench::start(FakeEdge::slow(VISIBILITY * 3));
    bench.buffer.with(|state| state.extensions_fail = true);
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    assert!(bench.buffer.with(|state| state.deliveries) > 1);
    assert_eq!(bench.edge.made().len(), 1);
}

#[test]
fn an_extension_that_finds_a_message_deleted_is_no_failure() {
    let in_flight = InFlight::of(1);
    let held = |receipt| ReceivedMessage {
        receipt,
        body: String::new(),
        deliveries: 1,
    };
    in_flight.admit(&"m0".into(), held((0, 1)), &message("main", &["/a"]));
    in_flight.admit(&"m1".into(), held((1, 2)), &message("main", &["/b"]));
    let in_danger = |receipt| {
        let error = ReceiptError {
            failed: vec![receipt],
            cause: trouble(),
        };
        report(Err(error), &in_flight)
    };
    in_flight.leaving(&["m0".into()]);
    assert_eq!(in_danger((0, 1)), 0);
    in_flight.release(&["m0".into()]);
    assert_eq!(in_danger((0, 1)), 0);
    assert_eq!(in_danger((1, 2)), 1);
}

#[tokio::test(start_paused = true)]
async fn deletions_that_fail_in_part_are_repeated() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_deletes = 3);
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        bench.buffer.push("main", &[path]);
    }
    pass(seconds(25)).await;
    assert_eq!(bench.buffer.remaining(), 0);
    assert_eq!(bench.edge.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_deleted_is_paid_for_once() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_deletes = 12);
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    assert!(bench.buffer.with(|state| state.deliveries) > 1);
    assert_eq!(bench.edge.calls(), 1, "it is known to be done");
}
