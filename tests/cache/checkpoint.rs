//! The checkpoint in Redis, as one leader after another uses it.

use evictd::checkpoint::{Checkpoint, CheckpointError, RedisCheckpoint, Stored};
use evictd::model::Position;
use redis::AsyncCommands;

use super::target;
use crate::support::{Redis, RedisOptions};

const KEY: &str = "the checkpoint";

async fn server() -> Redis {
    Redis::start(RedisOptions::default()).await
}

fn checkpoint(redis: &Redis) -> RedisCheckpoint {
    RedisCheckpoint::new(&target(redis.url()), KEY).unwrap()
}

fn stored(offset: u64) -> Stored {
    let position = Position {
        file: "mysql-bin.000002".into(),
        offset,
        gtids: None,
    };
    Stored::new(&position, "uuid", None)
}

async fn offset(checkpoint: &mut RedisCheckpoint) -> Option<u64> {
    let stored = checkpoint.load().await.unwrap();
    stored.map(|stored| stored.offset)
}

#[tokio::test]
async fn an_old_leader_cannot_move_the_position_and_its_successor_goes_on_from_there() {
    let redis = server().await;
    let mut old = checkpoint(&redis);
    assert_eq!(old.load().await.unwrap(), None);
    assert_eq!(old.lead(100).await.unwrap(), None);
    old.store(&stored(10)).await.unwrap();
    let mut new = checkpoint(&redis);
    assert_eq!(new.lead(90).await.unwrap().unwrap().offset, 10);
    assert_eq!((old.epoch(), new.epoch()), (100, 101));
    let error = old.store(&stored(20)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Superseded {
                epoch: 100,
                by: 101,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(offset(&mut new).await, Some(10));
    new.store(&stored(30)).await.unwrap();
    assert_eq!(offset(&mut old).await, Some(30));
}

#[tokio::test]
async fn what_was_flushed_or_went_back_is_stored_anew_by_who_leads() {
    let redis = server().await;
    let mut leader = checkpoint(&redis);
    leader.lead(100).await.unwrap();
    let mut conn = redis.conn().await;
    let _: () = conn.flushdb().await.unwrap();
    leader.store(&stored(40)).await.unwrap();
    assert_eq!(offset(&mut leader).await, Some(40));
    // A replica took over that knows an earlier epoch only.
    let _: () = conn.flushdb().await.unwrap();
    let _: () = conn.hset(KEY, "epoch", 0).await.unwrap();
    assert_eq!(offset(&mut leader).await, None);
    leader.store(&stored(50)).await.unwrap();
    assert_eq!(offset(&mut leader).await, Some(50));
}

#[tokio::test]
async fn what_is_cleared_is_gone_and_its_epoch_is_not() {
    let redis = server().await;
    let mut old = checkpoint(&redis);
    old.lead(100).await.unwrap();
    let mut hand = checkpoint(&redis);
    hand.lead_anew(1).await.unwrap();
    assert!(!hand.clear().await.unwrap(), "nothing was stored yet");
    hand.store(&stored(10)).await.unwrap();
    assert!(hand.clear().await.unwrap());
    assert_eq!(offset(&mut hand).await, None);
    assert!(old.store(&stored(20)).await.is_err());
}

#[tokio::test]
async fn what_is_not_a_checkpoint_is_refused_and_can_be_replaced() {
    let redis = server().await;
    let mut leader = checkpoint(&redis);
    let mut conn = redis.conn().await;
    for value in ["{}", "not json", "{\"version\":2}"] {
        let fields = [("epoch", "5"), ("value", value)];
        let _: () = conn.hset_multiple(KEY, &fields).await.unwrap();
        let error = leader.lead(1).await.unwrap_err().to_string();
        assert!(error.contains("evictd checkpoint set"), "{error}");
        leader.lead_anew(1).await.unwrap();
        leader.store(&stored(50)).await.unwrap();
        assert_eq!(offset(&mut leader).await, Some(50));
    }
}

#[tokio::test]
async fn a_failure_names_the_key_and_its_reason() {
    let mut redis = server().await;
    let mut leader = checkpoint(&redis);
    let _: () = redis.conn().await.set(KEY, "a string").await.unwrap();
    let wrong_type = leader.load().await.unwrap_err();
    redis.kill();
    let gone = leader.load().await.unwrap_err();
    for (error, reason, passes) in [
        (wrong_type, "the key holds a string", false),
        (gone, "does not answer", true),
    ] {
        let unavailable = matches!(error, CheckpointError::Unavailable { .. });
        assert_eq!(unavailable, passes, "{error}");
        let error = error.to_string();
        assert!(error.contains(KEY) && error.contains(reason), "{error}");
    }
}
