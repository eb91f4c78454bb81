//! What evictd refuses before it touches anything, and how it says so.

use super::shop::{Config, Shop, USERS, WITHIN};
use crate::support::{EVICTD_PASSWORD, Evictd, EvictdOptions, MysqlOptions, free_port, shared_aws};

const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;

/// Ends with `code`, prints one line that has all of `words`, and leaves Redis and the checkpoint alone.
async fn refused(shop: &Shop, config: &Config, code: i32, words: &[&str]) {
    refused_with(shop, &config.options(), code, words).await;
}

async fn refused_with(shop: &Shop, options: &EvictdOptions, code: i32, words: &[&str]) {
    let ended = Evictd::finish(options, WITHIN).await;
    assert_eq!(ended.code, Some(code), "{words:?}: {}", ended.stderr);
    assert_eq!(ended.stdout, "");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [line] = lines.as_slice() else {
        panic!("{words:?}: one line, not {}", ended.stderr);
    };
    assert!(line.starts_with("evictd: error: "), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
    for secret in [EVICTD_PASSWORD, "wr0ng", "s3cret"] {
        assert!(!line.contains(secret), "a secret is printed: {line}");
    }
    assert_eq!(shop.redis.keys().await, ["user:1:profile"], "{line}");
    assert_eq!(shop.checkpoint(), None, "{line}");
}

async fn shop() -> Shop {
    let shop = Shop::open().await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    shop.fill(&["user:1:profile"]).await;
    shop
}

fn rule(name: &str, body: &str) -> String {
    format!("{USERS}\n[[rule]]\nname = \"{name}\"\n{body}")
}

/// The number of the line that holds `text`, as the refusal must name it.
fn line_of(config: &Config, text: &str) -> String {
    let whole = config.text();
    let line = whole.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("evictd.toml:{line}: ")
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_refused_with_its_line_and_a_suggestion() {
    let shop = shop().await;
    let orders = "tables = [\"$db.orders\"]\n";
    for (rest, at, words) in [
        (
            rule("x", &format!("{orders}kyes = [\"a\"]")),
            "kyes",
            &["unknown field `kyes`", "did you mean `keys`"][..],
        ),
        (
            rule("x", &format!("{orders}keys = [\"order:{{totl}}\"]")),
            "totl",
            &["order:{totl}", "no column `totl`", "did you mean `total`"],
        ),
        (
            rule(
                "x",
                &format!("{orders}keys = [\"a\"]\nwhen = \"after.totl > 1\""),
            ),
            "totl",
            &["when", "did you mean `total`"],
        ),
        (
            rule(
                "x",
                &format!("{orders}keys = [\"a\"]\nchanged = [\"totl\"]"),
            ),
            "totl",
            &["changed", "did you mean `total`"],
        ),
        (
            rule(
                "x",
                &format!("{orders}keys = [\"a\"]\nversion = \"vresion\""),
            ),
            "vresion",
            &["version", "did you mean `version`"],
        ),
        (
            rule("x", &format!("{orders}keys = [\"order:{{id\"]")),
            "order:{id",
            &["rule \"x\"", "not closed"],
        ),
        (
            rule("x", &format!("{orders}keys = [\"{{id|uper}}\"]")),
            "uper",
            &["did you mean `upper`"],
        ),
        (
            rule(
                "x",
                &format!("{orders}keys = [\"a\"]\nwhen = \"after.total >\""),
            ),
            "total >",
            &["not a CEL expression"],
        ),
        (
            rule("x", "tables = [\"$db.orderz\"]\nkeys = [\"a\"]"),
            "orderz",
            &["matches no table", "orderz"],
        ),
        (
            rule("users", &format!("{orders}keys = [\"a\"]")),
            "",
            &["two rules are called \"users\""],
        ),
        (
            rule(
                "x",
                &format!(
                    "{orders}paths = [\"/checkout/{{id}}\"]\n[[path]]\npattern = \"/checkout/*\"\nclass = \"strong\""
                ),
            ),
            "/checkout/{id}",
            &["/checkout/{id}", "strong", "never"],
        ),
        (
            format!(
                "[cloudfront]\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{USERS}"
            ),
            "[cloudfront]",
            &["[cloudfront] needs a [buffer]"],
        ),
    ] {
        let config = shop.config().rest(&rest);
        let place = if at.is_empty() {
            "evictd.toml:".to_owned()
        } else {
            line_of(&config, at)
        };
        refused(
            &shop,
            &config,
            USAGE,
            &[&[place.as_str()][..], words].concat(),
        )
        .await;
    }
    let mut config = shop.config();
    config.source_url = config.source_url.replace("evictd@", "evictd:s3cret@");
    refused(
        &shop,
        &config,
        USAGE,
        &[
            &line_of(&config, "s3cret"),
            "holds a password",
            "source.password",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let shop = shop().await;
    for (password, words) in [
        (
            "{ env = \"NOT_SET\" }",
            ["source.password", "environment variable NOT_SET is not set"],
        ),
        (
            "{ file = \"/nonexistent/secret\" }",
            ["source.password", "/nonexistent/secret"],
        ),
        (
            "{ credential = \"mysql\" }",
            ["source.password", "LoadCredential=mysql"],
        ),
    ] {
        let mut config = shop.config();
        config.password = password.to_owned();
        refused(&shop, &config, USAGE, &words).await;
    }
    let config = shop.config().redis("password = { env = \"NOT_SET\" }");
    refused(&shop, &config, USAGE, &["redis.password", "NOT_SET"]).await;
}

#[tokio::test]
async fn an_account_that_may_not_do_what_evictd_needs_is_told_the_grant() {
    let shop = shop().await;
    let db = &shop.database;
    for (user, grants, words) in [
        (
            "noslave",
            "REPLICATION CLIENT, SELECT",
            ["GRANT REPLICATION SLAVE", "may not read the binlog"],
        ),
        (
            "noclient",
            "REPLICATION SLAVE, SELECT",
            [
                "GRANT REPLICATION CLIENT",
                "may not see the binlog's position",
            ],
        ),
        (
            "noselect",
            "REPLICATION SLAVE, REPLICATION CLIENT",
            ["SELECT", "matches no table"],
        ),
    ] {
        let user = format!("{db}_{user}");
        shop.sql(&format!(
            "CREATE USER '{user}'@'%' IDENTIFIED BY '{EVICTD_PASSWORD}'; GRANT {grants} ON *.* TO '{user}'@'%'"
        ))
        .await;
        let mut config = shop.config();
        config.source_url = config.source_url.replace("evictd@", &format!("{user}@"));
        refused(
            &shop,
            &config,
            USAGE,
            &[&words[..], &[&user, "127.0.0.1:"]].concat(),
        )
        .await;
    }
    let options = shop
        .config()
        .options()
        .env("EVICTD_SOURCE_PASSWORD", "wr0ng");
    refused_with(
        &shop,
        &options,
        USAGE,
        &["login as \"evictd\" was refused", "source.password"],
    )
    .await;
}

#[tokio::test]
async fn a_server_whose_binlog_is_no_row_binlog_is_refused() {
    for (extra, words) in [
        ("--skip-log-bin", ["log_bin is OFF", "--log-bin"]),
        (
            "--binlog-format=MIXED",
            ["binlog_format is MIXED", "binlog_format = ROW"],
        ),
    ] {
        let shop = Shop::own(MysqlOptions {
            gtid: false,
            extra: vec![extra.to_owned(), "--tls-version=".to_owned()],
            ..MysqlOptions::default()
        })
        .await;
        shop.fill(&["user:1:profile"]).await;
        refused(&shop, &shop.config(), USAGE, &words).await;
        let secured = shop.config().source("tls = { mode = \"required\" }");
        refused(
            &shop,
            &secured,
            USAGE,
            &["offers no TLS", "source.tls.mode"],
        )
        .await;
    }
}

#[tokio::test]
async fn a_dependency_that_cannot_be_reached_or_refuses_is_named_with_its_address() {
    let shop = shop().await;
    let nobody = format!("127.0.0.1:{}", free_port());

    let mut config = shop.config();
    config.source_url = format!("mysql://evictd@{nobody}");
    refused(
        &shop,
        &config,
        UNREACHABLE,
        &["MySQL at ", &nobody, "source.url"],
    )
    .await;

    let mut config = shop.config();
    config.redis_url = format!("redis://{nobody}/0");
    refused(
        &shop,
        &config,
        UNREACHABLE,
        &["Redis at ", &nobody, "refused"],
    )
    .await;

    let mut open = shop.redis.conn().await;
    let require = async |open: &mut redis::aio::MultiplexedConnection, password: &str| {
        let mut command = redis::cmd("CONFIG");
        let command = command.arg("SET").arg("requirepass").arg(password);
        command.query_async::<()>(open).await.unwrap();
    };
    for (line, words) in [
        ("", ["Redis at 127.0.0.1:", "set redis.password"]),
        (
            "password = { env = \"REDIS_PASSWORD\" }",
            ["Redis at 127.0.0.1:", "redis.password"],
        ),
    ] {
        require(&mut open, "s3cret").await;
        let options = shop
            .config()
            .redis(line)
            .options()
            .env("REDIS_PASSWORD", "wr0ng");
        let ended = Evictd::finish(&options, WITHIN).await;
        require(&mut open, "").await;
        assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
        refused_text(&ended.stderr, &words);
    }
    // Nothing at the end of a way that works otherwise.
    require(&mut open, "s3cret").await;
    let config = shop
        .config()
        .redis("password = { env = \"REDIS_PASSWORD\" }");
    let evictd = super::shop::start(&config.options().env("REDIS_PASSWORD", "s3cret")).await;
    super::shop::stop(evictd).await;
}

fn refused_text(stderr: &str, words: &[&str]) {
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("evictd: error: "), "{stderr}");
    assert!(
        words.iter().all(|word| stderr.contains(word)),
        "{words:?}: {stderr}"
    );
    assert!(
        !stderr.contains("s3cret") && !stderr.contains("wr0ng"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_queue_or_distribution_that_is_not_there_is_named() {
    let shop = shop().await;
    let aws = shared_aws().await;
    let queue = aws
        .create_queue_with_dead_letters(&shop.database, 50)
        .await
        .0;
    let missing = format!("{queue}-not-there");
    for (queue, words) in [
        (&missing, [missing.as_str(), "queue_url"]),
        (&queue, ["ENOTTHERE", "distribution"]),
    ] {
        let rest = format!(
            "[buffer]\nkind = \"sqs\"\nqueue_url = \"{queue}\"\n[cloudfront]\n\
             [[cloudfront.distribution]]\nname = \"main\"\nid = \"ENOTTHERE\"\n{USERS}"
        );
        let options = shop.config().rest(&rest).options().envs(aws.env());
        refused_with(&shop, &options, USAGE, &words).await;
    }
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_kept_is_refused() {
    let shop = shop().await;
    std::fs::write(shop.checkpoint_file(), "{\"version\": 99}").unwrap();
    let ended = shop.config().finish().await;
    assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
    refused_text(
        &ended.stderr,
        &[
            "shop.checkpoint.json",
            "of a later version",
            "start that version",
        ],
    );
    std::fs::remove_file(shop.checkpoint_file()).unwrap();

    let mut options = shop.config().options();
    options.config = options
        .config
        .replace("shop.checkpoint.json", "nowhere/shop.checkpoint.json");
    refused_with(
        &shop,
        &options,
        USAGE,
        &["nowhere/shop.checkpoint.json", "directory exists"],
    )
    .await;
}

#[tokio::test]
async fn help_prints_no_secret_and_names_the_exit_codes() {
    let shop = shop().await;
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let ended = Evictd::finish(&shop.config().options().args(args), WITHIN).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(!ended.stdout.is_empty() && ended.stderr.is_empty());
        assert!(!ended.stdout.contains(EVICTD_PASSWORD), "{}", ended.stdout);
        if args == ["--help"] {
            let words: Vec<&str> = ended.stdout.split_whitespace().collect();
            assert!(
                words.join(" ").contains("4 halted on a gap"),
                "{}",
                ended.stdout
            );
        }
    }
    let options = shop.config().options().args(&["run", "--dryrun"]);
    let ended = Evictd::finish(&options, WITHIN).await;
    assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
    assert!(ended.stderr.contains("--dry-run"), "{}", ended.stderr);
}
