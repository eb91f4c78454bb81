//! How a turn ends that a reload ends, where something else happens meanwhile.

use std::time::{Duration, Instant};

use super::shop::{Shop, USERS, WITHIN, start, stop};
use crate::support::{FakeCloudFront, FakeSettings, Relay, eventually, shared_aws};

const IN_USE: &str = "loaded again and is in use";

#[tokio::test]
async fn a_process_that_is_to_end_during_a_reload_ends_in_order_and_calls_nothing_an_error() {
    let shop = Shop::open().await;
    let config = shop.config().redis("settle_after = \"3s\"");
    let mut evictd = config.start().await;
    shop.fill(&["user:1:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&["user:1:profile"], &evictd).await;
    evictd.signal("HUP");
    evictd.wait_for_line("SIGHUP", WITHIN).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    evictd.terminate();
    let status = evictd.exit(WITHIN).await;
    assert!(status.success(), "{status}\n{}", evictd.tail());
    let errors = evictd.lines();
    let errors: Vec<&String> = errors
        .iter()
        .filter(|line| line.contains("ERROR"))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test]
async fn a_queue_that_hangs_during_a_reload_holds_it_up_for_a_bounded_time_and_loses_nothing() {
    const SETTLE: Duration = Duration::from_secs(2);
    let shop = Shop::open().await;
    let aws = shared_aws().await;
    let relay = Relay::to(aws.port()).await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let queue = aws
        .create_queue_with_dead_letters(&shop.database, 3)
        .await
        .0;
    let config = shop.config().redis("settle_after = \"2s\"").rest(&format!(
        "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n[cloudfront]\nwindow = \"100ms\"\n\
         [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{USERS}\npaths = [\"/users/{{id}}\"]"
    ));
    let options = config
        .options()
        .envs(aws.env())
        .env(
            "AWS_ENDPOINT_URL_SQS",
            &format!("http://127.0.0.1:{}", relay.port()),
        )
        .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url());
    let mut evictd = start(&options).await;
    shop.fill(&["user:1:profile", "user:2:profile"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.gone(&["user:1:profile"], &evictd).await;
    evictd.signal("HUP");
    let signalled = Instant::now();
    // The file is checked by then, and the queue was asked; the path is not sent yet.
    tokio::time::sleep(SETTLE / 2).await;
    relay.hold_after(0);
    evictd.wait_for_line(IN_USE, WITHIN).await;
    let paused = signalled.elapsed();
    assert!(paused > SETTLE, "the queue hung: {paused:?}");
    assert!(paused < SETTLE + Duration::from_secs(6), "{paused:?}");
    evictd.wait_for_line("did not end in time", WITHIN).await;
    // Keys go while the queue still hangs.
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    shop.gone(&["user:2:profile"], &evictd).await;
    relay.release();
    eventually("both paths are sent", WITHIN + WITHIN, async || {
        let paths = [1, 2].map(|id| format!("/users/{id}"));
        fake.unmatched(&paths).is_empty().then_some(())
    })
    .await;
    stop(evictd).await;
}
