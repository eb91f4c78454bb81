//! What the edge refuses is halved, renamed, or given up.

use std::collections::HashSet;

use super::fake_edge::{invalid, taken, throttled, too_large};
use super::*;
use crate::progress::board::Component;

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_the_edge_accepted_it() {
    let mut calls = 0;
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        calls += 1;
        (calls <= 20).then(|| throttled(batch))
    }));
    bench.buffer.push("main", &["/a"]);
    while bench.edge.made().is_empty() {
        assert_eq!(bench.buffer.remaining(), 1);
        pass(Duration::from_millis(1)).await;
    }
    bench.emptied().await;
    assert_eq!(bench.edge.calls(), 21);
    let state = bench.edge.state.lock().unwrap();
    let names: HashSet<_> = state.calls.iter().map(|b| &b.caller_reference).collect();
    assert_eq!(names.len(), 1, "a retry keeps its name");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        (batch.paths.len() > 2).then(|| too_large(batch))
    }));
    bench
        .buffer
        .push("main", &["/a", "/b", "/c", "/d", "/e", "/f", "/g"]);
    bench.buffer.push("main", &["/g"]);
    bench.emptied().await;
    assert_eq!(
        bench.edge.paths(),
        ["/a", "/b", "/c", "/d", "/e", "/f", "/g"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_path_that_was_refused_in_passing_is_asked_for_again_before_its_message_is_buried() {
    let begun = Instant::now();
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        (begun.elapsed() < seconds(10)).then(|| invalid(batch))
    }));
    bench.buffer.push("main", &["/a", "/b"]);
    pass(seconds(20)).await;
    bench.buffer.push("main", &["/a"]);
    pass(seconds(80)).await;
    let mut paths = bench.edge.paths();
    paths.sort();
    paths.dedup();
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(bench.buffer.remaining(), 0);
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 0);
}

/// It says nothing about a path that a single one is too much for.
#[tokio::test(start_paused = true)]
async fn an_edge_that_takes_no_batch_of_any_size_for_a_while_condemns_no_path() {
    let begun = Instant::now();
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        (begun.elapsed() < seconds(10)).then(|| too_large(batch))
    }));
    bench.buffer.push("main", &["/a", "/b"]);
    bench.buffer.push("main", &["/c"]);
    pass(seconds(20)).await;
    let mut paths = bench.edge.paths();
    paths.sort();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    assert_eq!(bench.buffer.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_bad_path_keeps_back_only_the_messages_that_hold_it() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        batch
            .paths
            .contains(&"/bad".to_owned())
            .then(|| invalid(batch))
    }));
    bench.buffer.push("main", &["/a", "/b", "/bad"]);
    for path in ["/c", "/d", "/e", "/f"] {
        bench.buffer.push("main", &[path]);
    }
    pass(seconds(10)).await;
    assert_eq!(bench.edge.paths(), ["/a", "/b", "/c", "/d", "/e", "/f"]);
    assert_eq!(bench.buffer.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_renders_only_bad_paths_burns_few_calls() {
    let bench = Bench::start(FakeEdge::judged(|batch| Some(invalid(batch))));
    let paths: Vec<String> = (0..3_000).map(|n| format!("/{n}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    bench.buffer.push("main", &paths);
    pass(seconds(10)).await;
    assert!(bench.edge.calls() < 50, "{}", bench.edge.calls());
    assert_eq!(bench.buffer.remaining(), 1);
}

/// Without any likeness among the bad ones.
#[tokio::test(start_paused = true)]
async fn bad_paths_that_keep_coming_hold_no_good_one_up() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let bad = batch.paths.iter().any(|path| path.ends_with('x'));
        bad.then(|| invalid(batch))
    }));
    let mut good = Vec::new();
    for _ in 0..60 {
        for _ in 0..10 {
            let word = || -> String {
                (0..8)
                    .map(|_| char::from(rand::random_range(b'a'..=b'w')))
                    .collect()
            };
            let path = format!("/{}", word());
            bench.buffer.push("main", &[&format!("/{}x", word())]);
            bench.buffer.push("main", &[&path]);
            good.push(path);
        }
        pass(seconds(2)).await;
    }
    pass(seconds(5)).await;
    let sent: HashSet<String> = bench.edge.paths().into_iter().collect();
    let missing = good.iter().filter(|path| !sent.contains(*path)).count();
    assert_eq!(missing, 0, "of {}", good.len());
    bench.among_others(seconds(60)).await;
    bench.emptied().await;
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 600);
    assert_eq!(bench.paths().len(), 600, "each once");
    let calls = bench.edge.calls();
    assert!(calls < 3 * 1_200, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_path_that_comes_again_and_again_takes_few_calls() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let bad = batch.paths.contains(&"/bad".to_owned());
        bad.then(|| invalid(batch))
    }));
    for n in 0..100 {
        bench.buffer.push("main", &[&format!("/{n}"), "/bad"]);
        pass(seconds(3)).await;
    }
    let refused = {
        let state = bench.edge.state.lock().unwrap();
        let calls = state.calls.iter();
        calls
            .filter(|batch| batch.paths.contains(&"/bad".to_owned()))
            .count()
    };
    assert!(
        (8..16).contains(&refused),
        "one in half a minute: {refused}"
    );
    assert_eq!(bench.edge.paths().len(), 100, "each good one once");
    bench.emptied().await;
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 100);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_a_path_was_refused_for_good_is_asked_for() {
    let bench = Bench::start(FakeEdge::judged(|batch| {
        let bad = batch.paths.contains(&"/a".to_owned());
        bad.then(|| invalid(batch))
    }));
    let dead = || bench.buffer.with(|state| state.dead.len());
    let refused = || bench.edge.calls() - bench.edge.made().len();
    bench.among_others(seconds(5)).await;
    bench.buffer.push("main", &["/a"]);
    bench.among_others(seconds(40)).await;
    assert_eq!(dead(), 1);
    let before = refused();
    // It is refused again, and then it is not.
    for _ in 0..2 {
        bench.buffer.push("main", &["/a"]);
        pass(seconds(3)).await;
        bench.buffer.push("main", &["/a"]);
        bench.among_others(seconds(40)).await;
    }
    assert_eq!((dead(), refused()), (5, before + 2));
    bench.buffer.push("main", &["/a"]);
    bench.edge.mend();
    bench.among_others(seconds(40)).await;
    assert_eq!(bench.paths(), ["/a"]);
    assert_eq!(dead(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_refuses_every_path_is_trouble_until_it_accepts_one() {
    let reports = Reports::default();
    let edge = FakeEdge::judged(|batch| Some(invalid(batch)));
    let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
    let part = Component::Edge("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned().unwrap();
    bench.buffer.push("main", &["/first"]);
    pass(seconds(4)).await;
    let since = state().trouble_since.unwrap();
    for n in 0..90 {
        bench.buffer.push("main", &[&format!("/{n}")]);
        pass(seconds(1)).await;
        assert_eq!(state().trouble_since, Some(since), "its age grows");
    }
    let (_, said) = state().last_error.unwrap();
    assert!(said.contains("on purpose"), "{said}");
    bench.edge.mend();
    bench.emptied().await;
    assert_eq!(state().trouble_since, None);
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_replaced() {
    let mut names = HashSet::new();
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        (names.len() < 2 && names.insert(batch.caller_reference.clone())).then(|| taken(batch))
    }));
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
    assert_eq!(bench.edge.calls(), 3);
    assert_eq!(bench.edge.paths(), ["/a"]);
}
