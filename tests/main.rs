//! Tests against real parts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod edge;

/// The AWS endpoint to test against.
fn endpoint() -> String {
    std::env::var("EVICTD_TEST_AWS").expect("EVICTD_TEST_AWS names an AWS endpoint")
}

#[tokio::test]
async fn the_queue_on_sqs_keeps_the_buffers_contract() {
    edge::sqs_contract(&endpoint()).await;
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_buffers_contract() {
    edge::fifo_contract(&endpoint()).await;
}

#[tokio::test]
async fn sqs_takes_full_requests_and_every_character() {
    edge::sqs_limits(&endpoint()).await;
}

#[tokio::test]
async fn a_queue_that_cannot_work_is_refused_at_start_up() {
    edge::sqs_check(&endpoint()).await;
}

#[tokio::test]
async fn cloudfront_keeps_the_edges_contract() {
    edge::cloudfront_contract(&endpoint()).await;
}

#[tokio::test]
async fn messages_on_sqs_become_invalidations_on_cloudfront() {
    edge::drain_from_sqs_to_cloudfront(&endpoint()).await;
}
