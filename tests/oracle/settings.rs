//! Settings of the server and of sessions.

use super::draw::Draw;

#[derive(Clone, Debug)]
pub struct Settings {
    pub gtid: bool,
    pub row_image: &'static str,
    pub row_metadata: &'static str,
    pub checksum: &'static str,
    pub compression: bool,
    pub partial_json: bool,
    /// Of the sessions that write.
    pub autocommit: bool,
    pub charset: &'static str,
    pub time_zone: &'static str,
    pub sql_mode: &'static str,
    /// Tables without a key get an invisible one.
    pub invisible_key: bool,
    /// Of every session that begins, evictd's too.
    pub global: &'static str,
}

const SQL_MODES: [&str; 4] = [
    "STRICT_TRANS_TABLES",
    "",
    "STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "PAD_CHAR_TO_FULL_LENGTH",
];

const GLOBALS: [&str; 7] = [
    "autocommit = 0",
    "init_connect = 'SET NAMES latin1'",
    "sql_select_limit = 1",
    "time_zone = '-08:00'",
    "sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'",
    "transaction_isolation = 'SERIALIZABLE'",
    "group_concat_max_len = 4",
];

/// What [`GLOBALS`] and [`Settings::begin`] change.
pub const DEFAULTS: [&str; 9] = [
    "autocommit = 1",
    "init_connect = ''",
    "sql_select_limit = DEFAULT",
    "time_zone = 'SYSTEM'",
    "sql_mode = DEFAULT",
    "transaction_isolation = 'REPEATABLE-READ'",
    "group_concat_max_len = DEFAULT",
    "binlog_row_metadata = FULL",
    "local_infile = ON",
];

impl Settings {
    pub fn draw(draw: &mut Draw) -> Self {
        let global = if draw.percent(40) {
            *draw.pick(&GLOBALS)
        } else {
            ""
        };
        Self {
            gtid: draw.percent(70),
            row_image: draw.weighted(&[(4, "FULL"), (2, "MINIMAL"), (1, "NOBLOB")]),
            row_metadata: draw.weighted(&[(1, "FULL"), (1, "MINIMAL")]),
            checksum: draw.weighted(&[(3, "CRC32"), (1, "NONE")]),
            compression: draw.percent(25),
            partial_json: draw.percent(15),
            autocommit: draw.percent(75),
            charset: draw.weighted(&[(3, "utf8mb4"), (1, "latin1")]),
            time_zone: draw.weighted(&[(2, "+00:00"), (1, "+05:30"), (1, "-08:00")]),
            sql_mode: draw.weighted(&[
                (3, SQL_MODES[0]),
                (1, SQL_MODES[1]),
                (1, SQL_MODES[2]),
                (1, SQL_MODES[3]),
            ]),
            invisible_key: draw.percent(20),
            global,
        }
    }

    /// What most servers have, one setting after the other: fewer of them may be needed for a failure.
    pub fn plainer(&self) -> Vec<Self> {
        let with = |change: fn(&mut Self)| {
            let mut plainer = self.clone();
            change(&mut plainer);
            plainer
        };
        [
            with(|settings| settings.global = ""),
            with(|settings| settings.sql_mode = SQL_MODES[0]),
            with(|settings| settings.time_zone = "+00:00"),
            with(|settings| settings.charset = "utf8mb4"),
            with(|settings| settings.autocommit = true),
            with(|settings| settings.partial_json = false),
            with(|settings| settings.compression = false),
            with(|settings| settings.checksum = "CRC32"),
            with(|settings| settings.invisible_key = false),
            with(|settings| settings.row_image = "FULL"),
            with(|settings| settings.row_metadata = "FULL"),
        ]
        .into_iter()
        .filter(|plainer| plainer.kinds() != self.kinds())
        .collect()
    }

    /// Of the server.
    pub fn begin(&self) -> Vec<String> {
        let mut sql = vec![
            format!("SET GLOBAL binlog_row_metadata = {}", self.row_metadata),
            format!("SET GLOBAL binlog_checksum = {}", self.checksum),
        ];
        if !self.global.is_empty() {
            sql.push(format!("SET GLOBAL {}", self.global));
        }
        sql
    }

    /// Of a session that writes.
    pub fn session(&self) -> Vec<String> {
        let on = |is: bool| if is { 1 } else { 0 };
        vec![
            format!("SET NAMES {}", self.charset),
            format!("SET time_zone = '{}'", self.time_zone),
            format!("SET sql_mode = '{}'", self.sql_mode),
            format!("SET binlog_row_image = {}", self.row_image),
            format!("SET binlog_transaction_compression = {}", on(self.compression)),
            format!("SET binlog_row_value_options = '{}'", if self.partial_json { "PARTIAL_JSON" } else { "" }),
            format!("SET autocommit = {}", on(self.autocommit)),
            "SET sql_select_limit = 18446744073709551615, innodb_lock_wait_timeout = 2, lock_wait_timeout = 2".to_owned(),
            "SET transaction_isolation = 'REPEATABLE-READ'".to_owned(),
        ]
    }

    pub fn kinds(&self) -> Vec<String> {
        let on = |name: &str, is: bool| format!("{name} {}", if is { "on" } else { "off" });
        vec![
            on("GTIDs", self.gtid),
            format!("row image {}", self.row_image),
            format!("row metadata {}", self.row_metadata),
            format!("checksum {}", self.checksum),
            on("compression", self.compression),
            on("partial JSON", self.partial_json),
            on("autocommit", self.autocommit),
            format!("character set {}", self.charset),
            format!("time zone {}", self.time_zone),
            format!("SQL mode '{}'", self.sql_mode),
            on("invisible keys", self.invisible_key),
            format!(
                "global: {}",
                if self.global.is_empty() {
                    "defaults"
                } else {
                    self.global
                }
            ),
        ]
    }

    /// A statement in the session's character set.
    pub fn encoded(&self, sql: &str) -> Vec<u8> {
        match self.charset {
            "latin1" => encoding_rs::WINDOWS_1252.encode(sql).0.into_owned(),
            _ => sql.as_bytes().to_vec(),
        }
    }
}
