//! What a change deletes, and what it leaves.

use super::shop::{Shop, USERS, stop};
use crate::support::MysqlOptions;

#[tokio::test]
async fn inserts_updates_and_deletes_delete_their_keys_and_no_others() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    let keys = [
        "user:7:v1",
        "user:7:v2",
        "user:7:profile",
        "user:70:profile",
        "other",
    ];

    let deleted = shop
        .deleted_by(
            &evictd,
            &keys,
            "INSERT INTO users (id, name) VALUES (7, 'Ada')",
        )
        .await;
    assert_eq!(deleted, ["user:7:v1", "user:7:profile"]);

    // The entry of the old version died; nobody can have the new one yet.
    let deleted = shop
        .deleted_by(
            &evictd,
            &keys,
            "UPDATE users SET name = 'Grace', version = 2 WHERE id = 7",
        )
        .await;
    assert_eq!(deleted, ["user:7:v1", "user:7:profile"]);

    let deleted = shop
        .deleted_by(&evictd, &keys, "DELETE FROM users WHERE id = 7")
        .await;
    assert_eq!(deleted, ["user:7:v2", "user:7:profile"]);
    stop(evictd).await;
}

#[tokio::test]
async fn an_update_that_forgets_the_version_deletes_the_current_one_and_is_logged() {
    let shop = Shop::open().await;
    let mut evictd = shop.config().start().await;
    shop.sql("INSERT INTO users (id, version) VALUES (7, 3)")
        .await;
    let keys = ["user:7:v2", "user:7:v3", "user:7:v4"];
    let deleted = shop
        .deleted_by(
            &evictd,
            &keys,
            "UPDATE users SET name = 'Grace' WHERE id = 7",
        )
        .await;
    assert_eq!(deleted, ["user:7:v3"]);
    evictd
        .wait_for_line("its version did not", super::shop::WITHIN)
        .await;
}

#[tokio::test]
async fn a_transaction_over_several_tables_counts_whole_or_not_at_all() {
    let shop = Shop::open().await;
    let rules = format!(
        "{USERS}\n[[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{{id}}\", \"user:{{user_id}}:orders\"]"
    );
    let evictd = shop.config().rest(&rules).start().await;
    let keys = ["user:1:profile", "order:5", "order:6", "user:1:orders"];
    let change = "BEGIN; INSERT INTO users (id) VALUES (1); INSERT INTO orders (id, user_id) VALUES (5, 1), (6, 1);";

    let deleted = shop
        .deleted_by(&evictd, &keys, &format!("{change} ROLLBACK"))
        .await;
    assert_eq!(deleted, [""; 0], "nothing was committed");
    let partly = "BEGIN; INSERT INTO users (id) VALUES (2); SAVEPOINT s; INSERT INTO orders (id, user_id) VALUES (5, 1);
        ROLLBACK TO s; COMMIT";
    let deleted = shop
        .deleted_by(&evictd, &["order:5", "user:2:profile"], partly)
        .await;
    assert_eq!(
        deleted,
        ["user:2:profile"],
        "what was undone within a transaction does not count"
    );
    let deleted = shop
        .deleted_by(&evictd, &keys, &format!("{change} COMMIT"))
        .await;
    assert_eq!(deleted, keys);
}

/// ENUM labels, integers beyond i64, dates, NULL, filters and a key prefix: with and without names in the binlog.
#[tokio::test]
async fn keys_are_rendered_from_values_alike_with_minimal_and_full_row_metadata() {
    const RULES: &str = r#"
[[rule]]
name   = "users"
tables = ["$db.users"]
keys   = [
    "status:{status}", "id:{id}", "tenant:{tenant_id}", "tenant-or-none:{tenant_id|default(\"none\")}",
    "name:{name|upper}", "md5:{slug|md5}", "slug:{slug|urlencode|lower}", "month:{joined|date(\"%Y-%m\")}",
    "became:{after.status}", "was:{before.status}", "bytes:\\x01{{{id}}}",
]
"#;
    for row_metadata in ["FULL", "MINIMAL"] {
        let mut shop = Shop::own(MysqlOptions {
            row_metadata,
            ..MysqlOptions::default()
        })
        .await;
        shop.key_prefix = "app:";
        let evictd = shop.config().rest(RULES).start().await;
        let of_insert = [
            "app:status:draft",
            "app:id:18446744073709551615",
            "app:tenant-or-none:none",
            "app:name:ZOË",
            "app:md5:acbd18db4cc2f85cedef654fccc4a4d8",
            "app:month:2026-03",
            "app:became:draft",
            "app:bytes:\u{1}{18446744073709551615}",
        ];
        let others = [
            "app:tenant:",
            "app:tenant:0",
            "app:tenant:NULL",
            "app:id:-1",
            "app:status:1",
            "app:name:Zoë",
            "status:draft",
            "id:18446744073709551615",
            "app:was:draft",
        ];
        let keys: Vec<&str> = of_insert.iter().chain(&others).copied().collect();
        let insert = "INSERT INTO users (id, name, slug, status, joined)
            VALUES (18446744073709551615, 'Zoë', 'foo', 'draft', '2026-03-09')";
        assert_eq!(
            shop.deleted_by(&evictd, &keys, insert).await,
            of_insert,
            "{row_metadata}"
        );

        let of_update = [
            "app:status:draft",
            "app:status:active",
            "app:tenant:-5",
            "app:was:draft",
            "app:became:active",
            "app:slug:foo",
            "app:slug:b%20%2f",
        ];
        let others = ["app:was:active", "app:became:draft", "app:tenant:5"];
        let keys: Vec<&str> = of_update.iter().chain(&others).copied().collect();
        let update = "UPDATE users SET status = 'active', tenant_id = -5, slug = 'B /'";
        assert_eq!(
            shop.deleted_by(&evictd, &keys, update).await,
            of_update,
            "{row_metadata}"
        );
    }
}

#[tokio::test]
async fn changed_and_when_decide_which_changes_count() {
    const RULES: &str = r#"
[[rule]]
name    = "slugs"
tables  = ["$db.users"]
on      = ["update"]
changed = ["slug", "status"]
keys    = ["slug-of:{id}"]

[[rule]]
name   = "published"
tables = ["$db.users"]
when   = "after.status != 'draft' && op != 'delete'"
keys   = ["published:{id}"]
"#;
    let shop = Shop::open().await;
    let evictd = shop.config().rest(RULES).start().await;
    let keys = ["slug-of:1", "published:1"];
    for (sql, expected) in [
        (
            "INSERT INTO users (id, status) VALUES (1, 'draft')",
            &[][..],
        ),
        ("UPDATE users SET name = 'Ada'", &[]),
        ("UPDATE users SET slug = 'ada'", &["slug-of:1"]),
        (
            "UPDATE users SET slug = 'ada', status = 'active'",
            &["slug-of:1", "published:1"],
        ),
        ("UPDATE users SET name = 'Grace'", &["published:1"]),
        ("DELETE FROM users", &[]),
    ] {
        assert_eq!(
            shop.deleted_by(&evictd, &keys, sql).await,
            expected,
            "{sql}"
        );
    }
}

/// Everything that is no row event: the whole table goes, and only that table.
#[tokio::test]
async fn what_cannot_be_known_row_by_row_widens_to_the_table() {
    let rules = format!(
        "{USERS}\n[[rule]]\nname = \"orders\"\ntables = [\"$db.orders\"]\nkeys = [\"order:{{id}}\"]\n\
         table_wide = {{ keys = [\"order*\"] }}"
    );
    let shop = Shop::open().await;
    let evictd = shop.config().rest(&rules).start().await;
    let users = ["user:1:v1", "user:9:profile"];
    let orders = ["order:1", "orders-page:3"];
    let keys = [
        &users[..],
        &orders,
        &["user:1:other", "tenant:1", "elsewhere"],
    ]
    .concat();
    for (sql, expected) in [
        ("TRUNCATE TABLE users", &users[..]),
        ("ALTER TABLE orders ADD COLUMN note TEXT", &[]),
        (
            "RENAME TABLE orders TO orders_old, unrelated TO orders",
            &orders,
        ),
        (
            "SET binlog_format = STATEMENT; UPDATE users SET name = 'all of them'",
            &users,
        ),
        ("DROP TABLE users", &users),
        (
            &format!(
                "DROP DATABASE IF EXISTS {0}_2; CREATE DATABASE {0}_2; DROP DATABASE {0}_2",
                shop.database
            ),
            &[],
        ),
    ] {
        assert_eq!(
            shop.deleted_by(&evictd, &keys, sql).await,
            expected,
            "{sql}"
        );
    }
}

/// A table that changes while evictd runs is read with its new columns; a column that a rule needs and that is
/// gone makes its rows unknowable.
#[tokio::test]
async fn a_table_that_changes_its_columns_is_read_with_the_new_ones() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    let keys = ["user:1:v1", "user:1:profile", "user:2:v8"];
    let deleted = shop
        .deleted_by(
            &evictd,
            &keys,
            "ALTER TABLE users ADD COLUMN first INT NULL FIRST; INSERT INTO users (first, id) VALUES (2, 1)",
        )
        .await;
    assert_eq!(deleted, ["user:1:v1", "user:1:profile"]);
    let deleted = shop
        .deleted_by(
            &evictd,
            &keys,
            "ALTER TABLE users DROP COLUMN version; INSERT INTO users (id) VALUES (3)",
        )
        .await;
    assert_eq!(deleted, keys, "every key that the rule could have made");
}

#[tokio::test]
async fn compressed_transactions_and_partial_row_images_count_like_others() {
    let shop = Shop::own(MysqlOptions {
        gtid: false,
        ..MysqlOptions::default()
    })
    .await;
    let evictd = shop.config().start().await;
    let keys = ["user:1:v1", "user:1:profile", "user:2:v1", "user:2:profile"];
    let compressed = "SET binlog_transaction_compression = ON; INSERT INTO users (id, name) VALUES (1, REPEAT('x', 100)), (2, REPEAT('x', 100))";
    assert_eq!(shop.deleted_by(&evictd, &keys, compressed).await, keys);
    let minimal = "SET binlog_row_image = MINIMAL; UPDATE users SET name = 'Ada' WHERE id = 2";
    let deleted = shop.deleted_by(&evictd, &keys, minimal).await;
    assert!(deleted.contains(&"user:2:v1".to_owned()), "{deleted:?}");
    assert!(
        deleted.contains(&"user:2:profile".to_owned()),
        "{deleted:?}"
    );
    shop.sql(
        &format!("{compressed}; COMMIT")
            .replace("(1,", "(3,")
            .replace("(2,", "(4,"),
    )
    .await;
    // Nothing inside a compressed transaction has a place of its own in the file.
    shop.checkpoint_at_end().await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_truncated_table_begins_a_new_generation_instead_of_a_scan() {
    let shop = Shop::open().await;
    let rule = "[[rule]]\nname = \"users\"\ntables = [\"$db.users\"]\nkeys = [\"user:{id}\"]\n\
        table_wide = { generation = \"gen:users\" }";
    let evictd = shop.config().rest(rule).start().await;
    shop.fill(&["user:1"]).await;
    shop.sql("TRUNCATE users").await;
    shop.done(&evictd).await;
    assert_eq!(shop.redis.keys().await, ["gen:users", "user:1"]);
    stop(evictd).await;
}

#[tokio::test]
async fn a_column_that_a_row_image_lacks_widens_what_is_made_of_it_and_nothing_else() {
    let shop = Shop::open().await;
    let evictd = shop.config().start().await;
    let keys = ["user:1:v1", "user:2:v1", "user:1:profile", "user:2:profile"];
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    shop.done(&evictd).await;
    let update = "SET binlog_row_image = MINIMAL; UPDATE users SET name = 'Ada' WHERE id = 2";
    let deleted = shop.deleted_by(&evictd, &keys, update).await;
    // The version is in neither image.
    assert_eq!(deleted, ["user:1:v1", "user:2:v1", "user:2:profile"]);
    stop(evictd).await;
}

/// The value is as unknown as one that is not there.
#[tokio::test]
async fn text_that_cannot_be_converted_widens_what_is_made_of_it_and_nothing_else() {
    let shop = Shop::open().await;
    shop.sql(
        "CREATE TABLE posts (id INT PRIMARY KEY, slug VARCHAR(50) CHARACTER SET dec8, title TEXT);
         INSERT INTO posts VALUES (1, 'thé', 'x'), (2, 'pot', 'x')",
    )
    .await;
    let rules = r#"
[[rule]]
name    = "titles"
tables  = ["$db.posts"]
changed = ["title"]
keys    = ["title:{id}"]

[[rule]]
name    = "posts"
tables  = ["$db.posts"]
changed = ["slug"]
keys    = ["post:{id}", "slug:{slug}"]
"#;
    let evictd = shop.config().rest(rules).start().await;
    let keys = [
        "post:1",
        "post:2",
        "slug:thé",
        "slug:pot",
        "title:1",
        "title:2",
    ];
    for (sql, expected) in [
        // The same bytes: the slug did not change.
        (
            "UPDATE posts SET title = 'y' WHERE id = 1",
            &["title:1"][..],
        ),
        (
            "UPDATE posts SET slug = 'café' WHERE id = 1",
            &["post:1", "slug:thé", "slug:pot"],
        ),
        (
            "UPDATE posts SET slug = 'tea' WHERE id = 2",
            &["post:2", "slug:pot"],
        ),
    ] {
        assert_eq!(
            shop.deleted_by(&evictd, &keys, sql).await,
            expected,
            "{sql}"
        );
    }
    stop(evictd).await;
}

/// Rows in the binlog have columns that `SELECT *` does not show, and the catalog may not show them either.
#[tokio::test]
async fn columns_that_nobody_sees_do_not_hide_those_that_are_seen() {
    for show in ["ON", "OFF"] {
        let shop = Shop::own(MysqlOptions {
            row_metadata: "MINIMAL",
            extra: vec![
                "--sql-generate-invisible-primary-key=ON".to_owned(),
                format!("--show-gipk-in-create-table-and-information-schema={show}"),
            ],
            ..MysqlOptions::default()
        })
        .await;
        shop.sql(
            "CREATE TABLE notes (name VARCHAR(20), number INT);
             CREATE TABLE secrets (id INT PRIMARY KEY, hidden INT INVISIBLE, name VARCHAR(20))",
        )
        .await;
        let rules = "[[rule]]\nname = \"notes\"\ntables = [\"$db.notes\", \"$db.secrets\"]\nkeys = [\"note:{name}\"]\n\
            [[rule]]\nname = \"generated\"\ntables = [\"$db.notes\"]\nkeys = [\"note:{my_row_id}\"]";
        let evictd = shop.config().rest(rules).start().await;
        let keys = ["note:tea", "note:pot", "note:1", "note:2"];
        for (sql, expected) in [
            (
                "INSERT INTO notes VALUES ('tea', 5)",
                &["note:tea", "note:1"][..],
            ),
            (
                "INSERT INTO secrets (id, hidden, name) VALUES (1, 2, 'pot')",
                &["note:pot"],
            ),
        ] {
            let deleted = shop.deleted_by(&evictd, &keys, sql).await;
            assert_eq!(deleted, expected, "{show}: {sql}\n{}", evictd.tail());
        }
        stop(evictd).await;
    }
}
