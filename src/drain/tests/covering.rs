//! Good paths that wait until it is known which paths are bad.

use super::fake_buffer::message;
use super::fake_edge::{denied, invalid, no_tenant, unknown};
use super::*;
use crate::edge::{EdgeError, InvalidationBatch};
use crate::model::CommitTime;
use crate::model::edge_item::matches;
use crate::model::invalidation::PathClass;
use crate::progress::board::Component;
use crate::rules::budget_exempt::AlwaysPaths;
use crate::rules::path_class::PathPattern;

/// Without any likeness.
fn word() -> String {
    let letters = (0..8).map(|_| char::from(rand::random_range(b'a'..=b'w')));
    letters.collect()
}

/// It refuses what begins like this, and answers within half a second.
fn refusing(prefix: &'static str) -> FakeEdge {
    let edge = FakeEdge::judged(move |batch: &InvalidationBatch| {
        let bad = batch.paths.iter().any(|path| path.starts_with(prefix));
        bad.then(|| invalid(batch))
    });
    edge.state.lock().unwrap().slow = Duration::from_millis(500);
    edge
}

fn at_rate(calls_per_second: f64, edge: FakeEdge) -> Bench {
    let parts = (Arc::default(), Arc::new(edge));
    Bench::of(parts, Reports::default(), History::off(), |options| {
        options.calls_per_second = calls_per_second;
    })
}

impl Bench {
    /// How long each path waited that was put there then; `None` if it still does.
    fn waits(&self, pushed: &[(String, Instant)]) -> Vec<Option<Duration>> {
        let state = self.edge.state.lock().unwrap();
        let wait = |(path, since): &(String, Instant)| {
            let made = state.made.iter().filter(|(at, _)| at >= since);
            let mut made =
                made.filter(|(_, batch)| batch.paths.iter().any(|sent| matches(sent, path)));
            made.next().map(|(at, _)| *at - *since)
        };
        pushed.iter().map(wait).collect()
    }
}

/// More than can be found out with so few calls.
#[tokio::test(start_paused = true)]
async fn good_paths_among_bad_ones_wait_for_seconds_however_few_calls_there_are() {
    for (rate, every) in [(1.0, 500), (5.0, 200)] {
        let bench = at_rate(rate, refusing("/p/x"));
        let mut good = Vec::new();
        for n in 0..300 {
            let path = format!("/p/{}", word());
            if n % 5 == 0 {
                bench.buffer.push("main", &[&format!("/p/x{}", word())]);
            } else {
                bench.buffer.push("main", &[&path]);
                good.push((path, Instant::now()));
            }
            pass(Duration::from_millis(every)).await;
        }
        pass(seconds(25)).await;
        let waits = bench.waits(&good);
        let longest = waits.iter().max().unwrap();
        assert!(waits.iter().all(Option::is_some), "{rate}: one still waits");
        assert!(longest < &Some(seconds(25)), "{rate}: {longest:?}");
        let wildcards = bench.edge.paths();
        let wildcards = wildcards.iter().filter(|path| path.ends_with('*')).count();
        assert!(wildcards < 60, "{rate}: {wildcards}");
    }
}

/// Nothing of what is bad is done by a wildcard that is refused too.
#[tokio::test(start_paused = true)]
async fn what_no_wildcard_covers_is_found_as_before() {
    let edge = FakeEdge::judged(|batch| {
        let is_bad = |path: &String| path.starts_with("/x") || path.ends_with('*');
        batch.paths.iter().any(is_bad).then(|| invalid(batch))
    });
    let bench = at_rate(1.0, edge);
    let mut good = Vec::new();
    for n in 0..40 {
        bench.buffer.push("main", &[&format!("/x{}", word())]);
        let path = format!("/{n}/{}", word());
        bench.buffer.push("main", &[&path]);
        good.push((path, Instant::now()));
    }
    bench.among_others(seconds(300)).await;
    let waits = bench.waits(&good);
    assert!(waits.iter().all(Option::is_some));
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 40);
    assert_eq!(bench.buffer.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_parted_goes_together_once_one_of_it_is_accepted() {
    let edge = refusing("/p/bad");
    edge.state.lock().unwrap().slow = Duration::from_millis(10);
    let bench = at_rate(50.0, edge);
    for n in 0..100 {
        bench.buffer.push("main", &[&format!("/p/bad{n}")]);
    }
    bench.among_others(seconds(25)).await;
    assert_eq!(bench.paths(), [""; 0], "each was refused alone");
    bench.edge.mend();
    let (calls, mended) = (bench.edge.calls(), Instant::now());
    bench.emptied().await;
    assert!(mended.elapsed() < seconds(33), "{:?}", mended.elapsed());
    let calls = bench.edge.calls() - calls;
    assert!(calls < 12, "{calls}");
    assert_eq!(bench.paths().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_bad_path_spends_no_more_of_a_budget_than_it_has() {
    let limits = BTreeMap::from([("main".into(), Some(30))]);
    let parts = (Arc::default(), Arc::new(refusing("/p/bad")));
    let bench = Bench::within(limits, parts, Reports::default(), History::off(), |_| ());
    bench.buffer.push("main", &["/others"]);
    bench.emptied().await;
    let mut fine = Vec::new();
    for n in 0..100 {
        let path = format!("/p/fine{n}");
        bench.buffer.push("main", &[&path]);
        fine.push((path, Instant::now()));
    }
    bench.buffer.push("main", &["/p/bad1"]);
    bench.among_others(seconds(60)).await;
    let waits = bench.waits(&fine);
    assert!(waits.iter().all(|wait| *wait < Some(seconds(15))));
    assert!(waits.iter().all(Option::is_some));
    let paid = bench.paths().len();
    assert!(paid <= 4, "{paid}");
}

/// The search asks for wildcards beside the rounds, which may wait for their turn with paths that these cover.
#[tokio::test(start_paused = true)]
async fn what_a_wildcard_covers_is_not_paid_for_because_it_waited_for_its_turn() {
    for _ in 0..5 {
        let bench = at_rate(1.0, refusing("/p/bad"));
        bench.buffer.push("main", &["/others"]);
        let mut pushed = Vec::new();
        for n in 0..90 {
            let (good, bad) = (format!("/p/{n}"), format!("/p/bad{}", word()));
            bench.buffer.push("main", &[&good]);
            if n % 3 == 0 {
                bench.buffer.push("main", &[&bad]);
            }
            pushed.push((good, Instant::now()));
            pass(seconds(1)).await;
        }
        let state = bench.edge.state.lock().unwrap();
        // A call takes half a second.
        let call = Duration::from_millis(600);
        let is_twice = |(path, since): &&(String, Instant)| {
            let singles = state.made.iter();
            let mut singles = singles.filter(|(_, batch)| batch.paths.contains(path));
            singles.any(|(at, _)| {
                state.made.iter().any(|(before, batch)| {
                    let covers = batch.paths.iter();
                    let mut covers = covers.filter(|other| other.ends_with('*'));
                    *since + call < *before
                        && *before + call < *at
                        && covers.any(|other| matches(other, path))
                })
            })
        };
        let twice: Vec<_> = pushed.iter().filter(is_twice).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_under_wildcards_is_trouble_for_as_long_as_it_goes_on() {
    let reports = Reports::default();
    let edge = refusing("/p/bad");
    edge.state.lock().unwrap().slow = seconds(1);
    let bench = Bench::with(
        Arc::default(),
        Arc::new(edge),
        reports.clone(),
        History::off(),
    );
    let part = Component::Paths("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned();
    bench.buffer.push("main", &["/others"]);
    let (mut covered, mut told) = (0, 0);
    for n in 0..90 {
        let [good, bad] = [word(), format!("/p/bad{}", word())];
        bench.buffer.push("main", &[&format!("/p/{good}")]);
        bench.buffer.push("main", &[&bad]);
        pass(seconds(1)).await;
        let wildcards = bench.paths().into_iter();
        let wildcards = wildcards.filter(|path| path.ends_with('*')).count();
        if wildcards > covered {
            covered = wildcards;
            let state = state().unwrap_or_default();
            let (_, said) = state.last_error.unwrap_or_default();
            told += usize::from(state.trouble_since.is_some() && said.contains("/p/"));
        }
        assert!(n < 60 || covered > 0, "something goes under wildcards");
    }
    assert!(told > 0, "{covered} wildcards");
    for n in 0..100 {
        bench.buffer.push("main", &[&format!("/others/{n}")]);
        pass(seconds(1)).await;
    }
    assert_eq!(state().unwrap().trouble_since, None);
}

/// A spent budget grants a path a minute, whatever is sent always.
#[tokio::test(start_paused = true)]
async fn what_is_always_sent_takes_nothing_along_that_a_spent_budget_does_not_grant() {
    let limits = BTreeMap::from([("main".into(), Some(2))]);
    let parts = (Arc::default(), Arc::new(FakeEdge::judged(|_| None)));
    let pattern = PathPattern {
        text: "/always/*".to_owned(),
        class: PathClass::Cached,
        line: 1,
    };
    let bench = Bench::within(
        limits,
        parts,
        Reports::default(),
        History::off(),
        |options| options.budget_exempt = AlwaysPaths::new([(&pattern, true)]),
    );
    bench.buffer.push("main", &["/spent/1", "/spent/2"]);
    bench.emptied().await;
    let (mut always, mut fine) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let (path, other) = (format!("/always/{n}"), format!("/p/{n}"));
        // Alone, and in a message with another one.
        match n % 2 {
            0 => bench.buffer.push("main", &[&path, &other]),
            _ => {
                bench.buffer.push("main", &[&path]);
                bench.buffer.push("main", &[&other]);
            }
        }
        always.push((path, Instant::now()));
        fine.push((other, Instant::now()));
        pass(seconds(6)).await;
    }
    bench.emptied().await;
    let waits = bench.waits(&always);
    assert!(
        waits.iter().all(|wait| *wait < Some(seconds(3))),
        "{waits:?}"
    );
    let waits = bench.waits(&fine);
    assert!(
        waits.iter().all(|wait| *wait < Some(seconds(64))),
        "{waits:?}"
    );
    let others = bench.paths().into_iter();
    let others: Vec<_> = others.filter(|path| path.starts_with("/p")).collect();
    assert!(others.len() <= 3, "one a minute: {others:?}");
}

/// A drain begins with every reload and restart.
#[tokio::test(start_paused = true)]
async fn no_restart_begins_the_minute_of_a_spent_budget_anew_and_none_grants_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.budget.json");
    let parts = (Arc::<FakeBuffer>::default(), Arc::<FakeEdge>::default());
    let start = async || {
        let limits = BTreeMap::from([("main".into(), Some(0))]);
        let budget = Arc::new(Budget::open_file(&path, limits).await.unwrap());
        let parts = parts.clone();
        Bench::counting(budget, parts, Reports::default(), History::off(), |_| ())
    };
    let change = |path: &str, tenant: Option<&str>, age_s: u64| {
        let at = CommitTime::now().micros() - age_s * 1_000_000;
        let mut message = message("main", &[path]);
        message.committed_at = CommitTime::from_micros(at);
        message.tenant = tenant.map(Into::into);
        parts.0.put(Ok(message));
    };
    for (change_is, path, tenant, age_s, sent_after) in [
        ("new", "/a", None, 0, 60),
        (
            "made an hour ago, and a path was just granted",
            "/b",
            None,
            3_600,
            60,
        ),
        ("a tenant's", "/c", Some("dt_1"), 45, 15),
        ("another tenant's", "/d", Some("dt_2"), 3_600, 2),
    ] {
        let bench = start().await;
        change(path, tenant, age_s);
        let begun = Instant::now();
        bench.emptied().await;
        let after = begun.elapsed().as_secs_f64();
        let expected = f64::from(sent_after);
        assert!(
            (expected - 1.0..expected + 3.0).contains(&after),
            "{change_is}: {after}"
        );
        bench.stop().await;
    }
    assert_eq!(parts.1.paths(), ["/a", "/b", "/c", "/d"]);
}

/// Others are accepted all the time.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_an_account_may_not_invalidate_is_trouble_until_it_may() {
    let reports = Reports::default();
    let edge = FakeEdge::judged(|batch| {
        let tenant = batch.scope.tenant.as_deref();
        (tenant == Some("dt_a")).then(|| denied(batch))
    });
    let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
    let part = Component::Edge("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned().unwrap();
    let change = |tenant: &str, n: u32| {
        let mut message = message("main", &[&format!("/{n}")]);
        message.tenant = Some(tenant.into());
        bench.buffer.put(Ok(message));
    };
    change("dt_a", 0);
    pass(seconds(4)).await;
    let since = state().trouble_since.unwrap();
    for n in 0..60 {
        bench.buffer.push("main", &[&format!("/{n}")]);
        change("dt_b", n);
        pass(seconds(1)).await;
        assert_eq!(state().trouble_since, Some(since), "its age grows");
    }
    let (_, said) = state().last_error.unwrap();
    assert!(said.contains("tenant dt_a: "), "{said}");
    bench.edge.mend();
    bench.emptied().await;
    assert_eq!(state().trouble_since, None);
}

/// It has no other message.
#[tokio::test(start_paused = true)]
async fn the_trouble_of_a_tenant_ends_with_its_last_message() {
    let reports = Reports::default();
    let gone = Instant::now() + seconds(10);
    let edge = FakeEdge::judged(move |batch| {
        let is_meant = batch.scope.tenant.as_deref() == Some("dt_a");
        is_meant.then(|| {
            if Instant::now() < gone {
                denied(batch)
            } else {
                no_tenant(batch)
            }
        })
    });
    let bench = Bench::reporting(Arc::default(), Arc::new(edge), reports.clone());
    let part = Component::Edge("main".into());
    let state = || reports.board.snapshot().parts.get(&part).cloned().unwrap();
    let mut of_tenant = message("main", &["/a"]);
    of_tenant.tenant = Some("dt_a".into());
    bench.buffer.put(Ok(of_tenant));
    pass(seconds(8)).await;
    assert!(state().trouble_since.is_some());
    bench.among_others(seconds(60)).await;
    assert_eq!(bench.buffer.with(|state| state.dead.len()), 1);
    assert_eq!(state().trouble_since, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_while_nothing_is_accepted_is_tried_every_few_seconds() {
    let errors: [fn(&InvalidationBatch) -> EdgeError; 2] = [unknown, invalid];
    for (error, refuses) in errors.into_iter().zip([4, 20]) {
        let until = Instant::now() + seconds(refuses);
        let edge = FakeEdge::judged(move |batch| (Instant::now() < until).then(|| error(batch)));
        let bench = Bench::start(edge);
        for n in 0..6 {
            bench.buffer.push("main", &[&format!("/{n}")]);
        }
        bench.emptied().await;
        let took = Instant::now() - until;
        assert!(took < seconds(8), "{took:?}");
    }
}

/// In folders of their own.
#[tokio::test(start_paused = true)]
async fn a_few_paths_are_asked_for_rather_than_everything() {
    let bench = at_rate(1.0, refusing("/8/x"));
    bench.buffer.push("main", &["/others"]);
    bench.emptied().await;
    let mut paths: Vec<String> = (0..8).map(|n| format!("/{n}/{}", word())).collect();
    paths.push("/8/x".to_owned());
    for path in &paths {
        bench.buffer.push("main", &[path]);
    }
    bench.among_others(seconds(60)).await;
    paths.pop();
    assert_eq!(bench.paths(), paths);
}
