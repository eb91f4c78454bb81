//! An edge that refuses everything for a while, as if each path were bad, and an edge
//! that accepts nothing else meanwhile.

use std::collections::BTreeSet;

use super::fake_buffer::message;
use super::fake_edge::{invalid, unknown};
use super::*;
use crate::edge::{EdgeError, InvalidationBatch};
use crate::ledger::Ledger;

/// It refuses everything from now on until it is mended, but for what nobody has asked
/// for before.
async fn refusing(calls_per_second: f64, error: fn(&InvalidationBatch) -> EdgeError) -> Bench {
    let refuses = Instant::now() + seconds(60);
    let edge = FakeEdge::judged(move |batch| (Instant::now() >= refuses).then(|| error(batch)));
    let parts = (Arc::default(), Arc::new(edge));
    let bench = Bench::of(parts, Reports::default(), History::off(), |options| {
        options.calls_per_second = calls_per_second;
    });
    for n in 0..19 {
        bench.buffer.push("main", &[&format!("/before/{n}")]);
        pass(seconds(3)).await;
    }
    bench.emptied().await;
    pass(refuses - Instant::now()).await;
    bench
}

fn named(prefix: &str, paths: usize) -> Vec<String> {
    (0..paths).map(|n| format!("/{prefix}/{n}")).collect()
}

/// What it refused meanwhile, it refused for no path: that goes as one.
#[tokio::test(start_paused = true)]
async fn what_waited_while_everything_was_refused_goes_together_once_it_is_not() {
    for error in [invalid, unknown] {
        for (rate, messages, paths, minutes) in [
            (5.0, 200, 1, 1),
            (1.0, 200, 1, 4),
            (1.0, 1, 3, 4),
            (1.0, 3, 1, 4),
            (5.0, 10, 2_000, 4),
        ] {
            let bench = refusing(rate, error).await;
            for message in 0..messages {
                let paths = named(&message.to_string(), paths);
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                bench.buffer.push("main", &paths);
            }
            pass(seconds(60 * minutes)).await;
            let case = format!("{messages} x {paths} at {rate}");
            let refused = bench.edge.calls();
            let deliveries = bench.buffer.with(|state| state.deliveries);
            assert_eq!(deliveries, 19 + messages, "each once: {case}");
            bench.edge.mend();
            let mended = Instant::now();
            bench.emptied().await;
            let took = mended.elapsed();
            assert!(took < seconds(40), "{case}: {took:?}");
            if paths > 1 || messages > 3 {
                assert!(took < seconds(12), "{case}: {took:?}");
            }
            let calls = bench.edge.calls() - refused;
            assert!(calls < 15, "{case}: {calls}");
            assert_eq!(bench.buffer.with(|state| state.dead.len()), 0, "{case}");
        }
    }
}

/// A rule renders nothing but bad paths, and nobody else sends any.
#[tokio::test(start_paused = true)]
async fn good_paths_among_many_bad_ones_are_found_where_nothing_else_is_accepted() {
    for error in [invalid, unknown] {
        let bench = Bench::start(FakeEdge::judged(move |batch| {
            let bad = batch.paths.iter().any(|path| path.starts_with("/bad"));
            bad.then(|| error(batch))
        }));
        let mut paths = named("bad", 600);
        paths.insert(300, "/good/1".to_owned());
        paths.push("/fine/2".to_owned());
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        bench.buffer.push("main", &paths);
        pass(seconds(30)).await;
        let sent = bench.edge.paths();
        assert_eq!(sent.len(), 2, "{sent:?}");
    }
}

/// Others come all the time, as they do before.
#[tokio::test(start_paused = true)]
async fn what_comes_while_everything_is_refused_takes_no_more_calls_than_before() {
    for error in [invalid, unknown] {
        let bench = refusing(5.0, error).await;
        let before = bench.edge.calls();
        for n in 0..120 {
            bench.buffer.push("main", &[&format!("/while/{n}"), "/all"]);
            pass(seconds(3)).await;
        }
        let calls = bench.edge.calls() - before;
        assert!(calls < 120 + 150 + 360 / 5, "{calls}");
        bench.edge.mend();
        let mended = Instant::now();
        bench.emptied().await;
        assert!(mended.elapsed() < seconds(10), "{:?}", mended.elapsed());
        assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
        let sent: BTreeSet<String> = bench.edge.paths().into_iter().collect();
        assert!((0..120).all(|n| sent.contains(&format!("/while/{n}"))));
    }
}

/// Each row: seconds from one good path to the next, and whether the bad one is buried
/// within five minutes.
#[tokio::test(start_paused = true)]
async fn a_path_is_condemned_only_while_others_are_accepted() {
    for (every, buried) in [(5, true), (45, true), (100, true), (3_600, false)] {
        let ledger = Ledger::off();
        let edge = FakeEdge::judged(|batch| {
            let bad = batch.paths.iter().any(|path| path == "/bad");
            bad.then(|| invalid(batch))
        });
        let bench = Bench::recording(edge, ledger.clone());
        bench.buffer.push("main", &["/bad"]);
        for n in 0..300 / every + 1 {
            let path = format!("/good/{n}");
            bench.buffer.push("main", &[&path]);
            pass(seconds(5)).await;
            assert!(bench.edge.paths().contains(&path), "at once");
            pass(seconds(every.min(300) - 5)).await;
        }
        let dead = bench.buffer.with(|state| state.dead.len());
        assert_eq!(dead, usize::from(buried), "{every}");
        assert_eq!(bench.buffer.remaining(), usize::from(!buried));
        let calls = bench.edge.calls();
        assert!(calls < 110, "{every}: {calls}");
    }
}

/// What was refused before counts for nothing, though it is bad.
#[tokio::test(start_paused = true)]
async fn what_is_bad_is_condemned_by_what_is_refused_after_the_edge_is_mended() {
    let mended = Instant::now() + seconds(300);
    let edge = FakeEdge::judged(move |batch| {
        let bad = batch.paths.iter().any(|path| path == "/bad");
        (bad || Instant::now() < mended).then(|| invalid(batch))
    });
    let bench = Bench::start(edge);
    bench.buffer.push("main", &["/a", "/bad"]);
    pass(mended - Instant::now()).await;
    for n in 0..20 {
        let dead = bench.buffer.with(|state| state.dead.len());
        let after = mended.elapsed();
        assert!(dead == 0 || after > seconds(30), "{after:?}");
        bench.buffer.push("main", &[&format!("/good/{n}")]);
        pass(seconds(3)).await;
    }
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 1);
    assert!(bench.edge.paths().contains(&"/a".to_owned()));
}

/// Nothing has been accepted before it.
#[tokio::test(start_paused = true)]
async fn a_path_with_an_error_that_nobody_knows_holds_up_nothing_that_comes_later() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let odd = batch.paths.iter().any(|path| path == "/odd");
        odd.then(|| unknown(batch))
    }));
    bench.buffer.push("main", &["/odd"]);
    pass(seconds(60)).await;
    for n in 0..10 {
        let path = format!("/good/{n}");
        bench.buffer.push("main", &[&path]);
        pass(seconds(4)).await;
        assert!(bench.edge.paths().contains(&path), "{path}");
    }
    assert_eq!(bench.buffer.remaining(), 1);
}

/// Whether somebody has sent it already is not known for a quarter of a minute.
#[tokio::test(start_paused = true)]
async fn what_may_be_refused_waits_for_no_question_about_something_else() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let bad = batch.paths.iter().any(|path| path == "/bad/1");
        bad.then(|| invalid(batch))
    }));
    bench
        .buffer
        .with(|state| state.visibility = Some(seconds(2)));
    bench.buffer.push("main", &["/a", "/bad/1"]);
    pass(seconds(5)).await;
    assert_eq!(bench.edge.paths(), ["/a"]);
    bench.edge.state.lock().unwrap().failing_lists = u32::MAX;
    bench.buffer.received_before(message("main", &["/bad/2"]));
    pass(seconds(3)).await;
    bench.buffer.push("main", &["/bad/3"]);
    pass(seconds(3)).await;
    assert_eq!(bench.edge.paths(), ["/a", "/bad/3"]);
    pass(seconds(20)).await;
    assert_eq!(bench.edge.paths(), ["/a", "/bad/2", "/bad/3"]);
}
