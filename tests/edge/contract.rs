//! What every buffer promises, whatever it is made of.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use evictd::buffer::{Buffer, Message, Received, Recipient};
use evictd::model::CommitTime;

pub fn recipient(tenant: Option<&str>) -> Recipient {
    Recipient {
        source: "shop".into(),
        distribution: "main".into(),
        distribution_id: Some("E1".into()),
        tenant: tenant.map(Into::into),
    }
}

pub fn message(distribution: &str, path: &str) -> Message {
    Message {
        source: "shop".into(),
        distribution: distribution.into(),
        distribution_id: None,
        tenant: None,
        paths: vec![path.to_owned()],
        committed_at: CommitTime::from_micros(1_763_892_000_000_000),
        sent: None,
        redriven_at: None,
    }
}

/// Takes an empty buffer with a visibility timeout of 2 s, and leaves it empty.
pub async fn check<B: Buffer>(buffer: &B) {
    assert_eq!(buffer.visibility(), Duration::from_secs(2));
    an_empty_buffer_waits(buffer).await;
    everything_sent_is_received_once_and_deleted(buffer).await;
    equal_messages_are_two(buffer).await;
    what_is_not_deleted_comes_back_under_its_id(buffer).await;
    what_is_extended_stays_away(buffer).await;
    what_is_given_back_comes_at_once(buffer).await;
    nothing_to_do_is_fine(buffer).await;
}

async fn gather<B: Buffer>(buffer: &B, count: usize) -> Vec<Received<B::Receipt>> {
    let mut received = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while received.len() < count && Instant::now() < deadline {
        received.extend(buffer.receive(Duration::from_secs(1)).await.unwrap());
    }
    assert_eq!(received.len(), count);
    received
}

fn receipts<R: Clone>(received: &[Received<R>]) -> Vec<R> {
    received.iter().map(|one| one.receipt.clone()).collect()
}

async fn an_empty_buffer_waits<B: Buffer>(buffer: &B) {
    let start = Instant::now();
    assert!(
        buffer
            .receive(Duration::from_secs(1))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(start.elapsed() >= Duration::from_millis(900));
}

async fn everything_sent_is_received_once_and_deleted<B: Buffer>(buffer: &B) {
    let sent: Vec<_> = (0..25)
        .map(|n| message("main", &format!("/{n:02}")))
        .collect();
    buffer.send(sent.clone()).await.unwrap();
    let received = gather(buffer, 25).await;
    let ids: HashSet<_> = received.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 25);
    buffer.delete(&receipts(&received)).await.unwrap();
    buffer.delete(&receipts(&received)).await.unwrap();
    let mut messages: Vec<_> = received
        .into_iter()
        .map(|one| one.content.unwrap())
        .collect();
    messages.sort_by(|a, b| a.paths.cmp(&b.paths));
    assert_eq!(messages, sent);
    assert!(
        buffer
            .receive(Duration::from_secs(3))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn equal_messages_are_two<B: Buffer>(buffer: &B) {
    buffer.send(vec![message("main", "/same")]).await.unwrap();
    buffer.send(vec![message("main", "/same")]).await.unwrap();
    let received = gather(buffer, 2).await;
    assert_ne!(received[0].id, received[1].id);
    buffer.delete(&receipts(&received)).await.unwrap();
}

async fn what_is_not_deleted_comes_back_under_its_id<B: Buffer>(buffer: &B) {
    buffer.send(vec![message("main", "/back")]).await.unwrap();
    let first = gather(buffer, 1).await;
    assert!(
        buffer.receive(Duration::ZERO).await.unwrap().is_empty(),
        "invisible"
    );
    let again = gather(buffer, 1).await;
    assert_eq!(first[0].id, again[0].id);
    assert_eq!(first[0].content, again[0].content);
    buffer.delete(&receipts(&again)).await.unwrap();
}

async fn what_is_extended_stays_away<B: Buffer>(buffer: &B) {
    buffer.send(vec![message("main", "/away")]).await.unwrap();
    let held = gather(buffer, 1).await;
    for _ in 0..4 {
        assert!(
            buffer
                .receive(Duration::from_secs(1))
                .await
                .unwrap()
                .is_empty()
        );
        buffer.extend(&receipts(&held)).await.unwrap();
    }
    buffer.delete(&receipts(&held)).await.unwrap();
    let error = buffer.extend(&receipts(&held)).await.unwrap_err();
    assert_eq!(error.failed.len(), 1, "gone, and said so: {error}");
}

async fn what_is_given_back_comes_at_once<B: Buffer>(buffer: &B) {
    buffer.send(vec![message("main", "/given")]).await.unwrap();
    let first = gather(buffer, 1).await;
    buffer.extend(&receipts(&first)).await.unwrap();
    buffer.give_back(&receipts(&first)).await.unwrap();
    let again = buffer.receive(Duration::ZERO).await.unwrap();
    assert_eq!(again.len(), 1, "without a wait");
    assert_eq!(first[0].id, again[0].id);
    // The first holder gives back what is another's by now.
    buffer.give_back(&receipts(&first)).await.unwrap();
    assert!(buffer.receive(Duration::ZERO).await.unwrap().is_empty());
    buffer.delete(&receipts(&again)).await.unwrap();
    buffer.give_back(&receipts(&again)).await.unwrap();
}

async fn nothing_to_do_is_fine<B: Buffer>(buffer: &B) {
    buffer.send(Vec::new()).await.unwrap();
    buffer.delete(&[]).await.unwrap();
    buffer.extend(&[]).await.unwrap();
    buffer.give_back(&[]).await.unwrap();
}
