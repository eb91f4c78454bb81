//! The servers that all other tests build on start, answer and come back.

use redis::AsyncCommands;

use crate::support::{
    Aws, Mysql, MysqlOptions, Redis, RedisCluster, RedisOptions, certificates, shared_aws,
    shared_mysql,
};

#[tokio::test]
async fn mysql_says_it_is_mysql_and_has_a_row_binlog() {
    let mysql = shared_mysql().await;
    let settings: Vec<(String, String, String, String)> = mysql
        .rows("SELECT @@version, @@binlog_format, @@binlog_row_metadata, @@gtid_mode")
        .await;
    let [(version, format, metadata, gtid)] = settings.as_slice() else {
        panic!("one row, not {settings:?}");
    };
    assert!(!version.contains("MariaDB"), "{version}");
    assert_eq!(
        [format.as_str(), metadata, gtid],
        ["ROW", "FULL", "ON"],
        "{version}"
    );
}

#[tokio::test]
async fn mysql_keeps_its_data_and_identity_over_a_restart_and_a_kill() {
    let mut mysql = Mysql::start(MysqlOptions::default()).await;
    let identity = async |mysql: &Mysql| mysql.rows::<String>("SELECT @@server_uuid").await;
    let before = identity(&mysql).await;
    mysql
        .exec("CREATE DATABASE shop; CREATE TABLE shop.users (id INT PRIMARY KEY); INSERT INTO shop.users VALUES (1)")
        .await;

    mysql.restart().await;
    mysql.exec("INSERT INTO shop.users VALUES (2)").await;
    mysql.kill();
    mysql.start_again().await;

    let ids: Vec<u32> = mysql.rows("SELECT id FROM shop.users ORDER BY id").await;
    assert_eq!(ids, [1, 2]);
    assert_eq!(identity(&mysql).await, before);
    assert_ne!(
        identity(shared_mysql().await).await,
        before,
        "two servers never share a UUID"
    );
}

#[tokio::test]
async fn mysql_starts_with_an_empty_gtid_set_or_without_gtids() {
    let executed = "SELECT @@gtid_executed";
    let with = Mysql::start(MysqlOptions::default()).await;
    assert_eq!(with.rows::<String>(executed).await, [""]);

    let options = MysqlOptions {
        gtid: false,
        row_metadata: "MINIMAL",
        ..MysqlOptions::default()
    };
    let without = Mysql::start(options).await;
    let settings: Vec<(String, String)> = without
        .rows("SELECT @@gtid_mode, @@binlog_row_metadata")
        .await;
    assert_eq!(settings, [("OFF".to_owned(), "MINIMAL".to_owned())]);
}

#[tokio::test]
async fn the_mysql_user_evictd_reads_the_binlog_and_may_not_write() {
    use mysql_async::prelude::Queryable;

    let mysql = shared_mysql().await;
    let opts = mysql_async::Opts::from_url(&mysql.url()).unwrap();
    let opts = mysql_async::OptsBuilder::from_opts(opts)
        .pass(Some(crate::support::EVICTD_PASSWORD))
        .prefer_socket(false);
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    conn.query_drop("SHOW BINARY LOGS").await.unwrap();
    let refused = conn.query_drop("CREATE DATABASE mine").await.unwrap_err();
    assert!(refused.to_string().contains("denied"), "{refused}");
    conn.disconnect().await.unwrap();
}

#[tokio::test]
async fn mysql_presents_the_certificate_it_is_given() {
    use mysql_async::prelude::Queryable;

    let certificates = certificates();
    let mysql = Mysql::start(MysqlOptions {
        tls: Some(certificates.server.clone()),
        ..MysqlOptions::default()
    })
    .await;
    let connect = async |ca: &std::path::Path| {
        let tls = mysql_async::SslOpts::default().with_root_certs(vec![ca.to_owned().into()]);
        let opts = mysql_async::Opts::from_url(&mysql.url()).unwrap();
        let opts = mysql_async::OptsBuilder::from_opts(opts)
            .pass(Some(crate::support::EVICTD_PASSWORD))
            .prefer_socket(false)
            .ssl_opts(tls);
        mysql_async::Conn::new(opts).await
    };

    let mut conn = connect(&certificates.ca).await.unwrap();
    let cipher: (String, String) = conn
        .query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        .await
        .unwrap()
        .unwrap();
    assert!(!cipher.1.is_empty());
    conn.disconnect().await.unwrap();
    assert!(
        connect(&certificates.other_ca).await.is_err(),
        "an authority that did not sign it must not do"
    );
}

#[tokio::test]
async fn redis_forgets_its_keys_over_a_restart_unless_told_to_keep_them() {
    for (append_only, left) in [(false, Vec::new()), (true, vec!["user:1".to_owned()])] {
        let mut redis = Redis::start(RedisOptions {
            append_only,
            ..RedisOptions::default()
        })
        .await;
        let _: () = redis.conn().await.set("user:1", "Ada").await.unwrap();
        assert_eq!(redis.keys().await, ["user:1"]);
        redis.stop().await;
        redis.start_again().await;
        assert_eq!(redis.keys().await, left, "append_only: {append_only}");
    }
}

#[tokio::test]
async fn redis_answers_over_tls_to_who_trusts_its_authority() {
    let certificates = certificates();
    let redis = Redis::start(RedisOptions {
        tls: Some(certificates.server.clone()),
        ..RedisOptions::default()
    })
    .await;
    let ping = async |ca: &std::path::Path| {
        let tls = redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(std::fs::read(ca).unwrap()),
        };
        let client = redis::Client::build_with_tls(redis.tls_url(), tls).unwrap();
        let mut conn = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<String>(&mut conn).await
    };
    assert_eq!(ping(&certificates.ca).await.unwrap(), "PONG");
    assert!(ping(&certificates.other_ca).await.is_err());
}

#[tokio::test]
async fn a_redis_cluster_spreads_keys_over_its_nodes() {
    let cluster = RedisCluster::start().await;
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let mut conn = client.get_async_connection().await.unwrap();
    for id in 0..50 {
        let _: () = conn.set(format!("user:{id}"), id).await.unwrap();
    }
    let mut holding = 0;
    for node in &cluster.nodes {
        let size: u32 = redis::cmd("DBSIZE")
            .query_async(&mut node.conn().await)
            .await
            .unwrap();
        holding += u32::from(size > 0);
    }
    assert!(holding >= 3, "only {holding} nodes hold keys");
}

#[tokio::test]
async fn the_aws_emulator_has_queues_with_dead_letters() {
    let aws = shared_aws().await;
    let (queue, dead) = aws.create_queue_with_dead_letters("self-test", 1).await;
    let sqs = aws.sqs();
    sqs.send_message()
        .queue_url(&queue)
        .message_body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(aws.queue_depth(&queue).await, (1, 0));

    // Received once and given back, the message exceeds its receive count at the next attempt.
    for expected in [1, 0] {
        let received = sqs
            .receive_message()
            .queue_url(&queue)
            .visibility_timeout(0)
            .send()
            .await
            .unwrap();
        assert_eq!(received.messages().len(), expected);
    }
    assert_eq!(aws.queue_depth(&queue).await, (0, 0));
    assert_eq!(aws.queue_depth(&dead).await, (1, 0));
}

#[tokio::test]
async fn the_aws_emulator_lists_invalidations_and_keeps_them_over_a_restart() {
    use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};

    let mut aws = Aws::start().await;
    let distribution = aws.create_distribution("shop").await;
    let queue = aws.create_queue("shop").await;
    assert_eq!(aws.invalidations(&distribution).await, []);

    let paths = Paths::builder()
        .quantity(2)
        .items("/users/ada")
        .items("/api/users/1*")
        .build()
        .unwrap();
    let batch = InvalidationBatch::builder()
        .caller_reference("one")
        .paths(paths)
        .build()
        .unwrap();
    aws.cloudfront()
        .create_invalidation()
        .distribution_id(&distribution)
        .invalidation_batch(batch)
        .send()
        .await
        .unwrap();

    aws.stop().await;
    aws.start_again().await;
    let listed = aws.invalidations(&distribution).await;
    let [invalidation] = listed.as_slice() else {
        panic!("one invalidation, not {listed:?}");
    };
    assert_eq!(invalidation.caller_reference, "one");
    assert_eq!(invalidation.paths, ["/users/ada", "/api/users/1*"]);
    assert_eq!(
        aws.invalidated_paths(&distribution).await,
        ["/api/users/1*", "/users/ada"]
    );
    assert_eq!(aws.queue_depth(&queue).await, (0, 0));
}
