//! A drain that is told to stop.

use super::fake_buffer::VISIBILITY;
use super::fake_edge::throttled;
use super::*;

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
    let bench = Bench::start(FakeEdge::judged(|batch| Some(throttled(batch))));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(60)).await;
    let asked = Instant::now();
    let buffer = Arc::clone(&bench.buffer);
    let stopped = bench.stop().await;
    assert_eq!(
        (stopped.given_back, stopped.left),
        (1, 0),
        "throttled: not accepted"
    );
    assert_eq!(asked.elapsed(), GRACE);
    assert_eq!((buffer.remaining(), buffer.visible()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_drain_stops_at_once() {
    let bench = Bench::start(FakeEdge::default());
    pass(seconds(1)).await;
    let asked = Instant::now();
    assert_eq!(bench.stop().await, NOTHING_LEFT);
    assert_eq!(asked.elapsed(), Duration::ZERO);
}
