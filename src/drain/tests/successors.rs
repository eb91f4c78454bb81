//! A drain that comes after one that was killed.

use tokio::sync::watch;

use super::fake_buffer::{VISIBILITY, message};
use super::*;
use crate::model::Sent;

#[tokio::test(start_paused = true)]
async fn a_successor_after_a_crash_learns_from_the_edge_what_is_done() {
    for tenant in [None, Some("dt_1")] {
        let bench = Bench::start(FakeEdge::slow(seconds(1)));
        bench.buffer.with(|state| state.failing_deletes = u32::MAX);
        for path in ["/a", "/b", "/c"] {
            let mut message = message("main", &[path, "/all"]);
            message.tenant = tenant.map(Into::into);
            bench.buffer.put(Ok(message));
            pass(seconds(4)).await;
        }
        assert_eq!(bench.edge.made().len(), 3);
        bench.drain.abort();

        // What is in progress is read anyway.
        pass(FakeEdge::COMPLETES_AFTER).await;
        bench.buffer.with(|state| state.failing_deletes = 0);
        let bench = Bench::resume(bench.buffer, bench.edge);
        bench.emptied().await;
        assert_eq!(bench.edge.calls(), 3, "{tenant:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_repeated_before_anything_is_paid_for_again() {
    let bench = Bench::start(FakeEdge::slow(seconds(1)));
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    bench.buffer.push("main", &["/a", "/b"]);
    pass(seconds(4)).await;
    bench.drain.abort();

    bench.buffer.with(|state| state.failing_deletes = 0);
    // Of the start, and of the recall.
    bench.edge.state.lock().unwrap().failing_lists = 4;
    let bench = Bench::resume(bench.buffer, bench.edge);
    bench.emptied().await;
    assert_eq!(bench.edge.state.lock().unwrap().failing_lists, 0);
    assert_eq!(bench.edge.calls(), 1);
}

/// A look lasts longer than the pause after it, so that the next one begins at once.
#[tokio::test(start_paused = true)]
async fn a_slow_look_that_fails_is_repeated_before_anything_is_paid_for_again() {
    for _ in 0..10 {
        let bench = Bench::start(FakeEdge::default());
        bench.buffer.with(|state| state.failing_deletes = u32::MAX);
        bench.buffer.push("main", &["/a", "/b"]);
        pass(seconds(4)).await;
        bench.drain.abort();

        bench.buffer.with(|state| state.failing_deletes = 0);
        {
            let mut state = bench.edge.state.lock().unwrap();
            (state.failing_reads, state.slow_reads) = (3, seconds(8));
        }
        let bench = Bench::resume(bench.buffer, bench.edge);
        bench.emptied().await;
        assert_eq!(bench.edge.calls(), 1);
    }
}

/// A drain that was killed after `/a` was made, at an edge that does not say so.
async fn killed_and_left_without_lists() -> Bench {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    bench.buffer.push("main", &["/a"]);
    pass(seconds(4)).await;
    bench.drain.abort();
    bench.buffer.with(|state| state.failing_deletes = 0);
    bench.edge.state.lock().unwrap().failing_lists = u32::MAX;
    bench
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_never_says_what_was_made_holds_up_no_change_for_long() {
    let bench = killed_and_left_without_lists().await;
    let begun = Instant::now();
    let bench = Bench::resume(bench.buffer, bench.edge);
    bench.emptied().await;
    assert!(begun.elapsed() < VISIBILITY + seconds(120));
}

#[tokio::test(start_paused = true)]
async fn what_is_new_waits_for_no_question_whether_something_else_was_made() {
    let bench = killed_and_left_without_lists().await;
    let deliveries = |bench: &Bench| bench.buffer.with(|state| state.deliveries);
    let before = deliveries(&bench);
    let bench = Bench::resume(bench.buffer, bench.edge);
    while deliveries(&bench) == before {
        pass(seconds(1)).await;
    }
    pass(seconds(1)).await;
    bench.buffer.push("main", &["/b"]);
    pass(seconds(4)).await;
    let made = bench.edge.made();
    let paths: Vec<&[String]> = made.iter().map(|batch| &*batch.paths).collect();
    // By now five looks may have failed, so that `/a` is paid for again.
    assert_eq!(paths[..2], [&["/a"], &["/b"]]);
    bench.emptied().await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_reads_on_disk_what_was_made_and_asks_the_edge_for_none_of_it() {
    for tenant in [None, Some("dt_1")] {
        let dir = tempfile::tempdir().unwrap();
        let history = || History::open_file(dir.path().join("made.jsonl"), VISIBILITY);
        let start = |buffer, edge, history| Bench::with(buffer, edge, Reports::default(), history);
        let edge = Arc::new(FakeEdge::slow(seconds(1)));
        let bench = start(Arc::default(), edge, history().await.unwrap());
        bench.buffer.with(|state| state.failing_deletes = u32::MAX);
        for n in 0..5 {
            let mut message = message("main", &[&format!("/{n}")]);
            message.tenant = tenant.map(Into::into);
            bench.buffer.put(Ok(message));
            pass(seconds(4)).await;
        }
        assert_eq!(bench.edge.made().len(), 5);
        bench.drain.abort();

        bench.buffer.with(|state| state.failing_deletes = 0);
        let bench = start(bench.buffer, bench.edge, history().await.unwrap());
        bench.emptied().await;
        let state = bench.edge.state.lock().unwrap();
        assert_eq!((state.calls.len(), state.reads), (5, 0), "{tenant:?}");
    }
}

/// The rest of the backlog is received by the successor alone.
#[tokio::test(start_paused = true)]
async fn a_successor_reads_on_disk_how_far_the_sender_had_come_when_a_wildcard_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let history = || History::open_file(dir.path().join("made.jsonl"), VISIBILITY);
    let last_sent = watch::Sender::new(Some(Sent { by: 1, number: 500 }));
    let parts = (Arc::default(), Arc::default());
    let log = history().await.unwrap();
    let bench = Bench::of(parts, Reports::default(), log, |options| {
        options.last_sent = Some(last_sent.subscribe());
    });
    bench.buffer.push("main", &["/products/*"]);
    bench.emptied().await;
    bench.drain.abort();
    for n in 0..501 {
        bench.buffer.push("main", &[&format!("/products/{n}")]);
    }
    let (reports, log) = (Reports::default(), history().await.unwrap());
    let bench = Bench::with(bench.buffer, bench.edge, reports, log);
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/products/*", "/products/500"]);
}

#[tokio::test(start_paused = true)]
async fn a_successor_pays_for_nothing_again_and_for_every_later_change() {
    let bench = Bench::start(FakeEdge::slow(seconds(1)));
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    bench.buffer.push("main", &["/a", "/b"]);
    bench.buffer.push("main", &["/b", "/c"]);
    pass(seconds(4)).await;
    assert_eq!(bench.edge.made().len(), 1);
    bench.drain.abort();
    bench.buffer.with(|state| state.failing_deletes = 0);
    bench.buffer.push("main", &["/a"]);
    let bench = Bench::resume(bench.buffer, bench.edge);
    bench.emptied().await;
    let made = bench.edge.made();
    let paths: Vec<&[String]> = made.iter().map(|batch| &*batch.paths).collect();
    assert_eq!(paths, [&["/a", "/b", "/c"][..], &["/a"]]);
}

#[tokio::test(start_paused = true)]
async fn what_was_made_at_the_distribution_that_had_the_name_before_is_made_at_the_one_that_has_it()
{
    let dir = tempfile::tempdir().unwrap();
    let history = || History::open_file(dir.path().join("made.jsonl"), VISIBILITY);
    let start = |parts, id: &'static str, history| {
        Bench::of(parts, Reports::default(), history, |options| {
            options.distributions.insert("main".into(), id.into());
        })
    };
    let bench = start(Default::default(), "E1", history().await.unwrap());
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    for path in ["/a", "/b"] {
        bench.buffer.push("main", &[path]);
        pass(seconds(4)).await;
    }
    bench.drain.abort();
    bench.buffer.with(|state| state.failing_deletes = 0);
    let parts = (bench.buffer, bench.edge);
    let bench = start(parts, "E7", history().await.unwrap());
    bench.emptied().await;
    let at = |id: &str| {
        let made = bench.edge.made().into_iter();
        let there = made.filter(|batch| &*batch.scope.distribution == id);
        there.flat_map(|batch| batch.paths).collect::<Vec<_>>()
    };
    assert_eq!(at("E1"), ["/a", "/b"]);
    assert_eq!(at("E7"), ["/a", "/b"]);
}
