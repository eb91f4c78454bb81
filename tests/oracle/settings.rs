//! Settings of the server and of sessions.

use super::draw::Draw;

#[derive(Clone, Debug)]
pub struct Settings {
    pub gtid: bool,
    /// Cascades are InnoDB's own, and in no event.
    pub native_foreign_keys: bool,
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
    pub globals: Vec<&'static str>,
}

const SQL_MODES: [&str; 4] = [
    "STRICT_TRANS_TABLES",
    "",
    "STRICT_TRANS_TABLES,ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "PAD_CHAR_TO_FULL_LENGTH",
];

/// How often each is set.
const GLOBALS: [(usize, &str); 10] = [
    (30, "autocommit = 0"),
    (20, "init_connect = 'SET NAMES latin1'"),
    (20, "init_connect = 'SET autocommit = 0, NAMES latin1'"),
    (10, "sql_select_limit = 1"),
    (15, "time_zone = '-08:00'"),
    (
        15,
        "sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'",
    ),
    (15, "transaction_isolation = 'SERIALIZABLE'"),
    (15, "group_concat_max_len = 4"),
    (15, "binlog_rows_query_log_events = ON"),
    (40, "show_gipk_in_create_table_and_information_schema = OFF"),
];

/// What [`GLOBALS`] and [`Settings::begin`] change.
pub const DEFAULTS: [&str; 11] = [
    "autocommit = 1",
    "init_connect = ''",
    "sql_select_limit = DEFAULT",
    "time_zone = 'SYSTEM'",
    "sql_mode = DEFAULT",
    "transaction_isolation = 'REPEATABLE-READ'",
    "group_concat_max_len = DEFAULT",
    "binlog_rows_query_log_events = OFF",
    "show_gipk_in_create_table_and_information_schema = ON",
    "binlog_row_metadata = FULL",
    "local_infile = ON",
];

impl Settings {
    pub fn draw(draw: &mut Draw) -> Self {
        let set = GLOBALS
            .into_iter()
            .filter(|(often, _)| draw.percent(*often));
        let globals = set.map(|(_, global)| global).collect();
        Self {
            gtid: draw.percent(70),
            native_foreign_keys: draw.percent(50),
            row_image: draw.weighted(&[(5, "FULL"), (2, "MINIMAL"), (1, "NOBLOB")]),
            row_metadata: draw.weighted(&[(2, "FULL"), (3, "MINIMAL")]),
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
            invisible_key: draw.percent(50),
            globals,
        }
    }

    /// What most servers have, one setting after the other: fewer of them may be needed for a failure.
    pub fn plainer(&self) -> Vec<Self> {
        let with = |change: fn(&mut Self)| {
            let mut plainer = self.clone();
            change(&mut plainer);
            plainer
        };
        let without = |name: &&'static str| {
            let mut plainer = self.clone();
            plainer.globals.retain(|global| global != name);
            plainer
        };
        let globals: Vec<Self> = self.globals.iter().map(without).collect();
        let others = [
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
        ];
        let all = globals.into_iter().chain(others);
        all.filter(|plainer| plainer.kinds() != self.kinds())
            .collect()
    }

    /// Of the server.
    pub fn begin(&self) -> Vec<String> {
        let mut sql = vec![
            format!("SET GLOBAL binlog_row_metadata = {}", self.row_metadata),
            format!("SET GLOBAL binlog_checksum = {}", self.checksum),
        ];
        let globals = self.globals.iter();
        sql.extend(globals.map(|global| format!("SET GLOBAL {global}")));
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
            "SET sql_select_limit = 18446744073709551615, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1".to_owned(),
            "SET transaction_isolation = 'REPEATABLE-READ'".to_owned(),
        ]
    }

    pub fn kinds(&self) -> Vec<String> {
        let on = |name: &str, is: bool| format!("{name} {}", if is { "on" } else { "off" });
        let mut kinds = vec![
            on("GTIDs", self.gtid),
            on("native foreign keys", self.native_foreign_keys),
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
        ];
        let globals = self.globals.iter();
        kinds.extend(globals.map(|global| format!("global: {global}")));
        kinds
    }

    /// A statement in the session's character set.
    pub fn encoded(&self, sql: &str) -> Vec<u8> {
        match self.charset {
            "latin1" => encoding_rs::WINDOWS_1252.encode(sql).0.into_owned(),
            _ => sql.as_bytes().to_vec(),
        }
    }
}
