//! An edge that has no room for more, for everybody or for one tenant.

use super::fake_buffer::message;
use super::fake_edge::too_many;
use super::*;

fn push(bench: &Bench, tenant: &str, path: &str) {
    let mut message = message("main", &[path]);
    message.tenant = Some(tenant.into());
    bench.buffer.put(Ok(message));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_full_keeps_no_other_waiting_for_long_and_goes_once_it_has_room() {
    let free_at = Instant::now() + seconds(60);
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        let is_full = batch.scope.tenant.as_deref() == Some("dt_3") && Instant::now() < free_at;
        is_full.then(|| too_many(batch))
    }));
    let mut pushed = BTreeMap::new();
    for n in 0..30 {
        for tenant in ["dt_1", "dt_2", "dt_3", "dt_4"] {
            let path = format!("/{tenant}/{n}");
            push(&bench, tenant, &path);
            pushed.insert(path, Instant::now());
        }
        pass(seconds(2)).await;
    }
    bench.emptied().await;
    let made = bench.edge.state.lock().unwrap().made.clone();
    for (at, batch) in made {
        for path in &batch.paths {
            let is_full = path.starts_with("/dt_3/");
            let since = if is_full { free_at } else { pushed[path] };
            let late = at.saturating_duration_since(since);
            assert!(late < WINDOW + seconds(7), "{path}: {late:?}");
        }
    }
    let calls = bench.edge.calls() - bench.edge.made().len();
    assert!(calls < 40, "{calls} were refused");
}

#[tokio::test(start_paused = true)]
async fn tenants_of_a_distribution_that_is_full_are_tried_by_turns_every_few_seconds() {
    let free_at = Instant::now() + seconds(100);
    let bench = Bench::start(FakeEdge::judged(move |batch| {
        (Instant::now() < free_at).then(|| too_many(batch))
    }));
    bench.buffer.push("main", &["/own"]);
    for n in 0..10 {
        push(&bench, &format!("dt_{n}"), "/a");
    }
    pass(seconds(100)).await;
    let calls = bench.edge.state.lock().unwrap().calls.clone();
    assert!(calls.len() < 60, "{}", calls.len());
    let asked: BTreeMap<_, _> = calls.iter().map(|call| (&call.scope.tenant, ())).collect();
    assert_eq!(asked.len(), 11, "each of them");
    bench.emptied().await;
    assert!(free_at.elapsed() < seconds(12), "{:?}", free_at.elapsed());
}
