//! Tests against real servers.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it compared"
)]

mod decoder;

/// The server to test against: one whose settings the tests may change.
fn mysql_url() -> String {
    std::env::var("EVICTD_TEST_MYSQL_URL")
        .expect("EVICTD_TEST_MYSQL_URL names a MySQL server that the tests may change")
}

/// One test for all, as they share a global setting of the server.
#[tokio::test(flavor = "multi_thread")]
async fn rows_decode_as_the_server_prints_them() {
    let url = mysql_url();
    decoder::every_type_renders_as_select_prints(&url).await;
    decoder::images_of_every_completeness_render_as_select_prints(&url).await;
    decoder::partial_json_updates_keep_the_other_columns(&url).await;
    decoder::every_character_set_converts_as_the_server_does(&url).await;
}
