//! The decoder and the edge against real servers.

use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::support::{Mysql, MysqlOptions, shared_aws};
use crate::{decoder, edge};

/// Its tests change global settings, so that they take turns on a server of their own.
async fn decoded() -> MutexGuard<'static, Mysql> {
    static SERVER: OnceCell<Mutex<Mysql>> = OnceCell::const_new();
    let server =
        SERVER.get_or_init(async || Mutex::new(Mysql::start(MysqlOptions::default()).await));
    server.await.lock().await
}

fn root(mysql: &Mysql) -> String {
    format!(
        "mysql://root@127.0.0.1:{}?prefer_socket=false",
        mysql.port()
    )
}

#[tokio::test]
async fn every_type_renders_as_select_prints() {
    decoder::every_type_renders_as_select_prints(&root(&*decoded().await)).await;
}

#[tokio::test]
async fn images_of_every_completeness_render_as_select_prints() {
    decoder::images_of_every_completeness_render_as_select_prints(&root(&*decoded().await)).await;
}

#[tokio::test]
async fn partial_json_updates_keep_the_other_columns() {
    decoder::partial_json_updates_keep_the_other_columns(&root(&*decoded().await)).await;
}

#[tokio::test]
async fn every_character_set_converts_as_the_server_does() {
    decoder::every_character_set_converts_as_the_server_does(&root(&*decoded().await)).await;
}

#[tokio::test]
async fn a_standard_queue_keeps_the_buffers_contract() {
    edge::sqs_contract(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn a_fifo_queue_keeps_the_buffers_contract() {
    edge::fifo_contract(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn messages_stay_within_what_sqs_accepts() {
    edge::sqs_limits(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn a_queue_that_does_not_fit_is_found_before_it_is_used() {
    edge::sqs_check(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn cloudfront_answers_a_repeated_request_with_the_first_invalidation() {
    edge::cloudfront_contract(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn a_tenants_invalidations_are_its_own_and_one_that_there_is_not_is_named() {
    edge::items::tenant_contract(&shared_aws().await.endpoint()).await;
}

#[tokio::test]
async fn buffered_paths_drain_from_sqs_to_cloudfront() {
    edge::drain_from_sqs_to_cloudfront(&shared_aws().await.endpoint()).await;
}
