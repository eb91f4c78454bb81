//! A buffer and an edge that do not work for a while.

use super::fake_buffer::{VISIBILITY, message};
use super::fake_edge::{denied, throttled, too_large, too_many, unavailable};
use super::*;
use crate::progress::board::Component;

#[tokio::test(start_paused = true)]
async fn a_throttled_distribution_does_not_hold_up_another() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        (&*batch.scope.distribution == "E1").then(|| throttled(batch))
    }));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(10)).await;
    bench.buffer.push("images", &["/b"]);
    pass(seconds(3)).await;
    assert_eq!(bench.edge.paths(), ["/b"]);
    assert_eq!(bench.buffer.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_edge_in_trouble_is_on_the_board_until_it_is_over() {
    let reports = Reports::default();
    let mut calls = 0;
    let edge = FakeEdge::judged(move |batch| {
        calls += 1;
        (calls <= 2).then(|| throttled(batch))
    });
    let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
    bench.buffer.push("main", &["/a"]);
    let part = Component::Edge("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned();
    while state().is_none_or(|part| part.trouble_since.is_none()) {
        pass(Duration::from_millis(10)).await;
    }
    bench.emptied().await;
    let state = state().unwrap();
    assert_eq!(state.trouble_since, None);
    assert!(state.last_error.unwrap().1.contains("on purpose"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_says_what_to_do_and_what_waits_for_whom_since_when() {
    type Refusal = fn(&crate::edge::InvalidationBatch) -> crate::edge::EdgeError;
    let refusals: [(Refusal, &str); 2] = [
        (too_many, "find out what else invalidates there"),
        (throttled, "lower cloudfront.calls_per_second"),
    ];
    for (refusal, remedy) in refusals {
        let reports = Reports::default();
        let edge = FakeEdge::judged(move |batch| Some(refusal(batch)));
        let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
        let mut message = message("main", &["/a", "/b"]);
        message.tenant = Some("dt_1".into());
        bench.buffer.put(Ok(message));
        pass(WINDOW + seconds(2)).await;
        let parts = reports.board.snapshot().parts;
        let part = parts.get(&Component::Edge("main".into())).unwrap();
        let (_, error) = part.last_error.clone().unwrap();
        for words in [
            "tenant dt_1: ",
            remedy,
            "for a higher",
            "paths of the request: ",
            ", the oldest of a change at 2025-11-23T10:00:00Z",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_trouble_of_an_edge_outlives_a_turn_until_nobody_meets_it_again() {
    let reports = Reports::default();
    let part = Component::Edge("main".into());
    let since = || reports.board.snapshot().parts.get(&part)?.trouble_since;
    let edge = FakeEdge::judged(|batch| Some(too_many(batch)));
    let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
    bench.buffer.push("main", &["/a"]);
    pass(WINDOW + seconds(2)).await;
    let (buffer, edge) = (Arc::clone(&bench.buffer), Arc::clone(&bench.edge));
    let begun = since().unwrap();
    bench.stop().await;
    reports.board.next_turn(|name| name == "main");
    let bench = Bench::reporting(buffer, Arc::clone(&edge), reports.clone());
    for _ in 0..60 {
        assert_eq!(since(), Some(begun));
        pass(seconds(1)).await;
    }
    bench.stop().await;
    reports.board.next_turn(|name| name == "main");
    let bench = Bench::reporting(Arc::default(), edge, reports.clone());
    pass(seconds(1)).await;
    assert_eq!(since(), Some(begun));
    pass(seconds(20)).await;
    assert_eq!(since(), None, "it holds nothing up");
    bench.stop().await;
    reports.board.failed(&part, "it is away".to_owned());
    reports.board.next_turn(|name| name == "images");
    assert_eq!(since(), None, "there is no such distribution any more");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_was_away_for_long_gets_its_paths_within_seconds() {
    for (minutes, calls_max) in [(1, 40), (10, 400)] {
        let away = Instant::now() + seconds(60 * minutes);
        let bench = Bench::start(FakeEdge::judged(move |batch| {
            (Instant::now() < away).then(|| unavailable(batch))
        }));
        bench.buffer.push("main", &["/a"]);
        bench.emptied().await;
        let late = away.elapsed();
        assert!(late < seconds(6), "{late:?}");
        let calls = bench.edge.calls();
        assert!(calls < calls_max, "{calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_hangs_is_trouble_and_gets_its_paths_within_seconds_once_it_answers() {
    for hangs in [15, 30, 300] {
        let reports = Reports::default();
        let back = Instant::now() + seconds(hangs);
        let edge = Arc::new(FakeEdge::hanging(back));
        let bench = Bench::reporting(Arc::default(), edge, reports.clone());
        bench.buffer.push("main", &["/a"]);
        pass(WINDOW + seconds(6)).await;
        let parts = reports.board.snapshot().parts;
        let part = parts.get(&Component::Edge("main".into())).unwrap();
        let (_, error) = part.last_error.clone().unwrap();
        assert!(part.trouble_since.is_some() && error.contains("has not answered"));
        bench.emptied().await;
        let late = back.elapsed();
        assert!(late < seconds(7), "{late:?}");
        assert_eq!(bench.edge.paths(), ["/a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn paths_that_wait_for_room_for_long_are_on_the_board_since_they_wait() {
    let reports = Reports::default();
    let bench = Bench::reporting(Arc::default(), Arc::default(), reports.clone());
    bench.edge.state.lock().unwrap().stands_still = true;
    let paths: Vec<String> = (0..3_000).map(|n| format!("/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bench.buffer.push("main", &paths);
    bench.emptied().await;
    let part = Component::Edge("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned().unwrap();
    let before = jiff::Timestamp::now();
    bench.buffer.push("main", &["/later"]);
    pass(seconds(55)).await;
    assert_eq!(state().trouble_since, None, "that happens");
    pass(seconds(20)).await;
    let begun = state().trouble_since.unwrap();
    assert!(begun >= before);
    let (_, error) = state().last_error.unwrap();
    assert!(error.contains("1 paths wait for room"), "{error}");
    pass(seconds(600)).await;
    assert_eq!(state().trouble_since, Some(begun), "its age grows");
    bench.edge.state.lock().unwrap().stands_still = false;
    bench.emptied().await;
    assert_eq!(state().trouble_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_cannot_be_read_is_tried_with_growing_delays() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_receives = 1_000);
    pass(seconds(600)).await;
    let calls = bench.buffer.with(|state| state.receive_calls);
    assert!((100..400).contains(&calls), "{calls}");
    bench.buffer.with(|state| state.failing_receives = 0);
    bench.buffer.push("main", &["/a"]);
    let back = Instant::now();
    bench.emptied().await;
    assert!(back.elapsed() < seconds(5) + WINDOW + seconds(1));
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_is_down_bounds_what_is_held() {
    let bench = Bench::start(FakeEdge::judged(|batch| Some(throttled(batch))));
    for n in 0..3_000 {
        let distribution = if n % 2 == 0 { "main" } else { "images" };
        bench.buffer.push(distribution, &[&format!("/{n}")]);
    }
    pass(seconds(60)).await;
    let before = bench.buffer.with(|state| state.deliveries);
    assert!((800..=1_010).contains(&before), "{before}");
    pass(seconds(600)).await;
    let deliveries = bench.buffer.with(|state| state.deliveries);
    assert_eq!(
        deliveries, before,
        "nothing more is received, nothing twice"
    );
}

#[tokio::test(start_paused = true)]
async fn a_distribution_that_is_stuck_starves_no_other_however_much_waits_for_it() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        (&*batch.scope.distribution == "E1").then(|| throttled(batch))
    }));
    for n in 0..3_000 {
        bench.buffer.push("main", &[&format!("/{n}")]);
    }
    pass(seconds(60)).await;
    for n in 0..30 {
        bench.buffer.push("images", &[&format!("/{n}")]);
        pass(seconds(2)).await;
    }
    pass(seconds(3)).await;
    assert_eq!(bench.edge.paths().len(), 30, "each within its window");
    assert_eq!(bench.buffer.remaining(), 3_000);
    let before = bench.buffer.with(|state| state.deliveries);
    pass(VISIBILITY * 10).await;
    let deliveries = bench.buffer.with(|state| state.deliveries) - before;
    assert!(
        deliveries <= 11 * 2_300,
        "each once in a visibility timeout: {deliveries}"
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_every_path_reaches_the_edge_and_the_buffer_empties() {
    for _ in 0..20 {
        let bench = Bench::start(FakeEdge::judged(|batch| match rand::random_range(0..6) {
            0 => Some(throttled(batch)),
            1 => Some(too_large(batch)).filter(|_| batch.paths.len() > 1),
            2 if rand::random_bool(0.2) => Some(denied(batch)),
            _ => None,
        }));
        bench.buffer.with(|state| state.chaos = true);
        let mut expected = Vec::new();
        for n in 0..300 {
            let paths = [format!("/{n}"), format!("/{}", n + 1)];
            let paths = [paths[0].as_str(), paths[1].as_str()];
            bench
                .buffer
                .push(if n % 3 == 0 { "images" } else { "main" }, &paths);
            expected.extend(paths.map(str::to_owned));
            pass(Duration::from_millis(rand::random_range(0..100))).await;
        }
        bench.emptied().await;
        expected.sort();
        expected.dedup();
        let mut paths = bench.edge.paths();
        paths.dedup();
        assert_eq!(paths, expected);
    }
}
