use std::collections::HashSet;

use super::fakes::*;
use super::*;
use crate::buffer::MessageError;
use crate::ledger::{Ledger, LedgerFiles};
use crate::progress::board::Component;

const WINDOW: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(10);
const NOTHING_LEFT: Stopped = Stopped {
    given_back: 0,
    left: 0,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A drain under way, in paused time.
struct Bench {
    buffer: Arc<FakeBuffer>,
    edge: Arc<FakeEdge>,
    shutdown: CancellationToken,
    drain: tokio::task::JoinHandle<Stopped>,
}

impl Bench {
    fn start(edge: FakeEdge) -> Self {
        Self::resume(Arc::default(), Arc::new(edge))
    }

    fn recording(edge: FakeEdge, ledger: Ledger) -> Self {
        let reports = Reports {
            ledger,
            ..Reports::default()
        };
        Self::reporting(Arc::default(), Arc::new(edge), reports)
    }

    fn resume(buffer: Arc<FakeBuffer>, edge: Arc<FakeEdge>) -> Self {
        Self::reporting(buffer, edge, Reports::default())
    }

    fn reporting(buffer: Arc<FakeBuffer>, edge: Arc<FakeEdge>, reports: Reports) -> Self {
        Self::with(buffer, edge, reports, History::off())
    }

    fn with(
        buffer: Arc<FakeBuffer>,
        edge: Arc<FakeEdge>,
        reports: Reports,
        history: History,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let options = DrainOptions {
            window: WINDOW,
            grace: GRACE,
            distributions: [("main", "E1"), ("images", "E2")]
                .map(|(name, id)| (name.into(), id.into()))
                .into(),
            calls_per_second: 100.0,
            max_receives: 5,
            overdue_after: Duration::from_secs(900),
            always: Current::default(),
        };
        let book = Arc::new(Budget::in_memory(BTreeMap::new()));
        let drain = Drain::new(Arc::clone(&buffer), Arc::clone(&edge), book, options)
            .recording(history)
            .reporting(reports);
        let drain = tokio::spawn(drain.run(shutdown.clone()));
        Self {
            buffer,
            edge,
            shutdown,
            drain,
        }
    }

    async fn stop(self) -> Stopped {
        self.shutdown.cancel();
        self.drain.await.unwrap()
    }

    /// Waits until the buffer is empty, for an hour at most.
    async fn emptied(&self) {
        let deadline = Instant::now() + seconds(3_600);
        while self.buffer.remaining() > 0 {
            assert!(
                Instant::now() < deadline,
                "{} remain",
                self.buffer.remaining()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

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

#[tokio::test(start_paused = true)]
async fn a_refusal_goes_back_to_the_buffer_and_passes_once_it_is_mended() {
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        let refuse = !flag.load(std::sync::atomic::Ordering::Relaxed);
        refuse.then(|| denied(batch))
    }));
    bench.buffer.push("main", &["/a"]);
    pass(seconds(600)).await;
    assert_eq!(bench.buffer.remaining(), 1);
    let calls = bench.edge.calls();
    assert!(
        (15..=20).contains(&calls),
        "once in each visibility timeout: {calls}"
    );
    mended.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.emptied().await;
    assert_eq!(bench.edge.paths(), ["/a"]);
}

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
    assert_eq!(bench.edge.calls(), 1);
}

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
    pass(seconds(600)).await;
    let dead = bench.buffer.with(|state| state.dead.clone());
    let [(body, reason)] = Vec::from_iter(dead).try_into().unwrap();
    assert_eq!(body, "body of m0");
    assert!(reason.contains("correct its template"), "{reason}");
    assert_eq!(bench.buffer.remaining(), 0);
    assert!(bench.edge.paths().contains(&"/a".to_owned()));
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
    let said = |reason: &str| letters.iter().find(|it| it.reason == reason).unwrap();
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
    bench.emptied().await;
    pass(seconds(1)).await;
    let accepted: BTreeSet<String> = bench.edge.paths().into_iter().collect();
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
    while state().is_none_or(|it| it.trouble_since.is_none()) {
        pass(Duration::from_millis(10)).await;
    }
    bench.emptied().await;
    let state = state().unwrap();
    assert_eq!(state.trouble_since, None);
    assert!(state.last_error.unwrap().1.contains("on purpose"));
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_cannot_be_read_is_tried_with_growing_delays() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_receives = 1_000);
    pass(seconds(600)).await;
    let calls = bench.buffer.with(|state| state.receive_calls);
    assert!(calls < 100, "{calls}");
    bench.buffer.with(|state| state.failing_receives = 0);
    bench.buffer.push("main", &["/a"]);
    bench.emptied().await;
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

#[tokio::test(start_paused = true)]
async fn a_successor_after_a_crash_learns_from_the_edge_what_is_done() {
    let bench = Bench::start(FakeEdge::slow(seconds(1)));
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    bench.buffer.push("main", &["/a", "/b"]);
    pass(seconds(4)).await;
    assert_eq!(bench.edge.made().len(), 1);
    bench.drain.abort();

    bench.buffer.with(|state| state.failing_deletes = 0);
    let bench = Bench::resume(bench.buffer, bench.edge);
    bench.emptied().await;
    assert_eq!(bench.edge.calls(), 1);
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

#[tokio::test(start_paused = true)]
async fn an_edge_that_never_says_what_was_made_holds_up_no_change_for_long() {
    let bench = Bench::start(FakeEdge::default());
    bench.buffer.with(|state| state.failing_deletes = u32::MAX);
    bench.buffer.push("main", &["/a"]);
    pass(seconds(4)).await;
    bench.drain.abort();

    bench.buffer.with(|state| state.failing_deletes = 0);
    bench.edge.state.lock().unwrap().failing_lists = u32::MAX;
    let begun = Instant::now();
    let bench = Bench::resume(bench.buffer, bench.edge);
    bench.emptied().await;
    assert!(begun.elapsed() < VISIBILITY + seconds(120));
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

#[test]
fn an_extension_that_finds_a_message_deleted_is_no_failure() {
    let held = InFlight::default();
    held.admit(&"m0".into(), (0, 1), &message("main", &["/a"]));
    held.admit(&"m1".into(), (1, 2), &message("main", &["/b"]));
    let in_danger = |receipt| {
        let error = ReceiptError {
            failed: vec![receipt],
            cause: trouble(),
        };
        report_extension(Err(error), &held)
    };
    held.leaving(&["m0".into()]);
    assert_eq!(in_danger((0, 1)), 0);
    held.release(&["m0".into()]);
    assert_eq!(in_danger((0, 1)), 0);
    assert_eq!(in_danger((1, 2)), 1);
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

#[tokio::test(start_paused = true)]
async fn an_edge_that_is_down_bounds_what_is_held() {
    let bench = Bench::start(FakeEdge::judged(|batch| Some(throttled(batch))));
    for n in 0..3_000 {
        bench.buffer.push("main", &[&format!("/{n}")]);
    }
    pass(seconds(600)).await;
    let deliveries = bench.buffer.with(|state| state.deliveries);
    assert_eq!(deliveries, 1_000, "nothing more is received, nothing twice");
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
