//! What the edge refuses for a reason that is not about a path, or that nobody knows.

use std::collections::BTreeSet;

use super::fake_buffer::message;
use super::fake_edge::{denied, not_there, refused, unknown};
use super::*;
use crate::model::CommitTime;
use crate::progress::board::Component;

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_no_path_goes_within_seconds_once_the_reason_is_gone() {
    for error in [denied, not_there, refused, unknown] {
        for (minutes, calls_max) in [(1, 60), (10, 450)] {
            let away = Instant::now() + seconds(60 * minutes);
            let bench = Bench::start(FakeEdge::judged(move |batch| {
                (Instant::now() < away).then(|| error(batch))
            }));
            for n in 0..10 {
                bench.buffer.push("main", &[&format!("/{n}"), "/all"]);
                pass(seconds(5)).await;
            }
            bench.emptied().await;
            let late = away.elapsed();
            assert!(late < seconds(8), "{late:?}");
            let calls = bench.edge.calls();
            assert!(calls < calls_max, "one in a few seconds: {calls}");
            let deliveries = bench.buffer.with(|state| state.deliveries);
            assert_eq!(deliveries, 10, "each is received once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_an_account_may_not_invalidate_hold_nobody_else_up() {
    let edge = FakeEdge::judged(|batch| {
        let tenant = batch.scope.tenant.as_deref();
        let denies = tenant.is_some_and(|tenant| tenant != "dt_allowed");
        denies.then(|| denied(batch))
    });
    let bench = Bench::start(edge);
    let tenant = |tenant: &str, path: &str| {
        let mut message = message("main", &[path]);
        message.tenant = Some(tenant.into());
        bench.buffer.put(Ok(message));
    };
    for n in 0..50 {
        tenant(&format!("dt_{n}"), "/a");
    }
    pass(seconds(5)).await;
    for n in 0..100 {
        bench.buffer.push("main", &[&format!("/{n}")]);
        tenant("dt_allowed", &format!("/{n}"));
        pass(seconds(3)).await;
    }
    pass(seconds(3)).await;
    assert_eq!(bench.edge.made().len(), 200, "each within its window");
    let calls = bench.edge.calls();
    assert!(calls < 200 + 50 + 200, "{calls}");
    assert_eq!(bench.buffer.with(|state| state.deliveries), 250);
}

/// Others have something to send all the time.
#[tokio::test(start_paused = true)]
async fn what_is_held_has_its_turn_among_tenants_that_are_never_idle() {
    let mut denies = true;
    let edge = FakeEdge::judged(move |batch| {
        let is_first = batch.scope.tenant.as_deref() == Some("dt_first");
        (is_first && std::mem::take(&mut denies)).then(|| denied(batch))
    });
    let parts = (Arc::default(), Arc::new(edge));
    let bench = Bench::of(parts, Reports::default(), History::off(), |options| {
        options.calls_per_second = 1.0;
    });
    let change = |tenant: &str, path: &str| {
        let mut message = message("main", &[path]);
        message.tenant = Some(tenant.into());
        bench.buffer.put(Ok(message));
    };
    change("dt_first", "/a");
    for n in 0..120 {
        for tenant in 0..4 {
            change(&format!("dt_{tenant}"), &format!("/{n}"));
        }
        pass(seconds(1)).await;
    }
    assert!(bench.edge.paths().contains(&"/a".to_owned()));
}

/// The unknown error comes for requests that hold this path.
const ODD: &str = "/odd";

fn odd(error: fn(&crate::edge::InvalidationBatch) -> crate::edge::EdgeError) -> FakeEdge {
    FakeEdge::judged(move |batch| {
        let holds = batch.paths.iter().any(|path| path == ODD);
        holds.then(|| error(batch))
    })
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_knows_about_one_path_holds_up_no_other() {
    for error in [unknown, refused] {
        let reports = Reports::default();
        let bench = Bench::reporting(Arc::default(), Arc::new(odd(error)), reports.clone());
        let mut good: Vec<String> = (0..40).map(|n| format!("/together/{n}")).collect();
        let mut together: Vec<&str> = good.iter().map(String::as_str).collect();
        together.push(ODD);
        bench.buffer.push("main", &together);
        for n in 0..200 {
            let path = format!("/later/{n}");
            bench.buffer.push("main", &[&path]);
            good.push(path);
            pass(seconds(3)).await;
        }
        pass(seconds(5)).await;
        let sent: BTreeSet<String> = bench.edge.paths().into_iter().collect();
        let good: BTreeSet<String> = good.into_iter().collect();
        assert_eq!(sent, good);
        assert_eq!(bench.edge.paths().len(), good.len(), "each once");
        assert_eq!(bench.buffer.remaining(), 1);
        assert_eq!(bench.buffer.with(|state| state.deliveries), 201);
        let odd_calls = {
            let state = bench.edge.state.lock().unwrap();
            let calls = state.calls.iter();
            calls
                .filter(|batch| batch.paths.iter().any(|path| path == ODD))
                .count()
        };
        assert!((5..25).contains(&odd_calls), "later and later: {odd_calls}");

        let part = Component::Paths("main".into());
        let state = || reports.board.snapshot().parts.get(&part).cloned().unwrap();
        let committed_at = CommitTime::from_micros(1_763_892_000_000_000).unwrap();
        assert_eq!(
            state().trouble_since,
            committed_at.timestamp(),
            "its change waits since"
        );
        let (_, said) = state().last_error.unwrap();
        assert!(said.contains(ODD) && said.contains("on purpose"), "{said}");
        bench.edge.mend();
        pass(seconds(301)).await;
        assert_eq!(bench.buffer.remaining(), 0);
        assert_eq!(state().trouble_since, None);
        assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
    }
}

/// Nothing else is accepted meanwhile, so that it may be about everything.
#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_knows_parts_a_single_request_too() {
    let bench = Bench::start(odd(unknown));
    let paths: Vec<String> = (0..500).map(|n| format!("/{n}")).collect();
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.push(ODD);
    bench.buffer.push("main", &paths);
    pass(seconds(30)).await;
    assert_eq!(bench.edge.paths().len(), 500);
    assert!(bench.edge.calls() < 60, "{}", bench.edge.calls());
    bench.edge.mend();
    pass(seconds(301)).await;
    assert_eq!(bench.buffer.remaining(), 0);
}

/// Nothing new comes meanwhile whose acceptance would tell.
#[tokio::test(start_paused = true)]
async fn many_paths_with_an_error_that_nobody_knows_hold_no_good_one_up() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let holds = batch.paths.iter().any(|path| path.contains("odd"));
        holds.then(|| unknown(batch))
    }));
    for n in 0..100 {
        let paths = [format!("/a{n}"), format!("/odd{n}"), format!("/b{n}")];
        bench
            .buffer
            .push("main", &paths.each_ref().map(String::as_str));
    }
    pass(seconds(90)).await;
    assert_eq!(bench.edge.paths().len(), 200);
    pass(seconds(600)).await;
    bench.edge.mend();
    pass(seconds(301)).await;
    assert_eq!(bench.buffer.remaining(), 0);
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
}
