//! A drain that is told to stop.

use super::fake_buffer::{VISIBILITY, message};
use super::fake_edge::{denied, invalid, throttled, too_many, unavailable, unknown};
use super::*;
use crate::edge::{EdgeError, InvalidationBatch};

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_is_under_way_and_leaves_the_rest() {
    let bench = Bench::start(FakeEdge::slow(seconds(5)));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(3)).await;
    bench.buffer.push("main", &["/b"]);
    pass(seconds(1)).await;
    let (buffer, edge) = (Arc::clone(&bench.buffer), Arc::clone(&bench.edge));
    let asked = Instant::now();
    let stopped = bench.stop().await;
    assert_eq!((stopped.given_back, stopped.left), (1, 0));
    assert_eq!(edge.paths(), ["/a"]);
    assert_eq!((buffer.remaining(), buffer.visible()), (1, 1));
    assert!(
        asked.elapsed() < seconds(5),
        "long before its visibility ends"
    );
}

#[tokio::test(start_paused = true)]
async fn what_only_gathers_is_given_back_before_deliveries_under_way_are_done() {
    let bench = Bench::start(FakeEdge::slow(seconds(8)));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(3)).await;
    bench.buffer.push("main", &["/b"]);
    pass(seconds(1)).await;
    bench.shutdown.cancel();
    pass(seconds(1)).await;
    assert!(!bench.drain.is_finished());
    assert_eq!(bench.buffer.visible(), 1, "/b, while /a is under way");
    bench.drain.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_edge_may_have_accepted_is_not_given_back() {
    let bench = Bench::start(FakeEdge::slow(GRACE * 10));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(5)).await;
    bench.buffer.push("images", &["/b"]);
    pass(Duration::from_millis(100)).await;
    let buffer = Arc::clone(&bench.buffer);
    let stopped = bench.stop().await;
    assert_eq!((stopped.given_back, stopped.left), (1, 1));
    assert_eq!(buffer.visible(), 1);
    pass(VISIBILITY).await;
    assert_eq!(buffer.visible(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_does_not_take_messages_back_holds_up_no_stop() {
    let bench = Bench::start(FakeEdge::default());
    bench
        .buffer
        .with(|state| state.slow_returns = seconds(3_600));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(1)).await;
    let asked = Instant::now();
    let stopped = bench.stop().await;
    assert_eq!((stopped.given_back, stopped.left), (0, 1));
    assert!(asked.elapsed() < seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_with_its_grace_period_at_the_latest() {
    let bench = Bench::start(FakeEdge::judged(|batch| Some(unavailable(batch))));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(60)).await;
    let asked = Instant::now();
    let buffer = Arc::clone(&bench.buffer);
    let stopped = bench.stop().await;
    assert_eq!((stopped.given_back, stopped.left), (0, 1), "in doubt");
    assert_eq!(asked.elapsed(), GRACE);
    assert_eq!((buffer.remaining(), buffer.visible()), (1, 0));
}

type Refusal = fn(&InvalidationBatch) -> EdgeError;

#[tokio::test(start_paused = true)]
async fn what_was_certainly_refused_is_given_back_at_once_and_sent_at_once_by_the_next_drain() {
    let refusals: [Refusal; 5] = [too_many, throttled, denied, invalid, unknown];
    for refusal in refusals {
        let budget = Arc::new(Budget::in_memory(BTreeMap::new()));
        let start = |parts| {
            let budget = Arc::clone(&budget);
            Bench::counting(budget, parts, Reports::default(), History::off(), |_| ())
        };
        let edge = FakeEdge::judged(move |batch| Some(refusal(batch)));
        let bench = start((Arc::default(), Arc::new(edge)));
        bench.buffer.push("main", &["/a"]);
        bench.buffer.push("images", &["/b"]);
        pass(WINDOW + seconds(7)).await;
        let parts = (Arc::clone(&bench.buffer), Arc::clone(&bench.edge));
        assert_eq!(budget.orphans("main"), [], "if it were killed now");
        let asked = Instant::now();
        let stopped = bench.stop().await;
        assert_eq!((stopped.given_back, stopped.left), (2, 0));
        assert!(asked.elapsed() < seconds(1), "{:?}", asked.elapsed());
        parts.1.mend();
        let begun = Instant::now();
        let bench = start(parts);
        bench.emptied().await;
        let late = begun.elapsed();
        assert!(late < WINDOW + seconds(1), "{late:?}");
        assert_eq!(bench.edge.paths(), ["/a", "/b"]);
        assert_eq!(budget.status(&"main".into()).spent, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_is_given_back_while_another_request_is_under_way() {
    let parts = (Arc::default(), Arc::new(FakeEdge::slow(seconds(8))));
    let bench = Bench::of(parts, Reports::default(), History::off(), |options| {
        options.calls_per_second = 0.1;
    });
    bench.buffer.push("main", &["/under-way"]);
    pass(Duration::from_millis(100)).await;
    bench.buffer.push("images", &["/turn"]);
    pass(seconds(4)).await;
    let (buffer, edge) = (Arc::clone(&bench.buffer), Arc::clone(&bench.edge));
    bench.shutdown.cancel();
    pass(seconds(1)).await;
    assert!(!bench.drain.is_finished());
    assert_eq!((buffer.remaining(), buffer.visible()), (2, 1));
    let stopped = bench.drain.await.unwrap();
    assert_eq!((stopped.given_back, stopped.left), (1, 0));
    assert_eq!(edge.paths(), ["/under-way"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_about_is_given_back_while_another_request_is_under_way() {
    let bench = Bench::start(FakeEdge::slow(seconds(8)));
    bench.edge.state.lock().unwrap().failing_lists = u32::MAX;
    bench.buffer.push("main", &["/under-way"]);
    let again = message("images", &["/again"]);
    bench.buffer.received_before(again);
    pass(seconds(4)).await;
    let buffer = Arc::clone(&bench.buffer);
    bench.shutdown.cancel();
    pass(seconds(1)).await;
    assert!(!bench.drain.is_finished());
    assert_eq!((buffer.remaining(), buffer.visible()), (2, 1));
    let stopped = bench.drain.await.unwrap();
    assert_eq!((stopped.given_back, stopped.left), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_is_given_back_at_once() {
    let bench = Bench::start(FakeEdge::default());
    bench.edge.state.lock().unwrap().stands_still = true;
    let paths: Vec<String> = (0..3_000).map(|n| format!("/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bench.buffer.push("main", &paths);
    bench.emptied().await;
    bench.buffer.push("main", &["/later"]);
    pass(WINDOW + seconds(1)).await;
    let asked = Instant::now();
    let stopped = bench.stop().await;
    assert_eq!((stopped.given_back, stopped.left), (1, 0));
    assert!(asked.elapsed() < seconds(1), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_drain_stops_at_once() {
    let bench = Bench::start(FakeEdge::default());
    pass(seconds(1)).await;
    let asked = Instant::now();
    assert_eq!(bench.stop().await, NOTHING_LEFT);
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
