//! Metric names. Every name starts with `evictd_`, durations are in seconds.
//!
//! The comment on a name is also its help text: the last word is the metric's
//! kind, and "by `label`" names a label. Labels have few values, all listed by
//! the configuration or by this program: rules, tables as rules write them,
//! distributions, parts, names of reasons. They never hold a value of a row or
//! the words of a server (Bounded).

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only rises.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Durations, by size.
    Histogram,
}

/// A metric and its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name that Prometheus shows.
    pub name: &'static str,
    /// The comment on the name.
    text: &'static str,
}

impl Metric {
    /// The kind, which the comment ends with.
    pub fn kind(&self) -> MetricKind {
        match self.text.rsplit(' ').next() {
            Some("Counter.") => MetricKind::Counter,
            Some("Histogram.") => MetricKind::Histogram,
            _ => MetricKind::Gauge,
        }
    }

    /// The comment without the kind.
    pub fn help(&self) -> &'static str {
        let text = self.text.trim();
        text.rsplit_once(' ').map_or(text, |(help, _)| help)
    }

    /// The labels besides `name`.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let after = |word| self.text.split(word).skip(1);
        after(" by `")
            .chain(after("` and `"))
            .filter_map(|rest| rest.split('`').next())
    }
}

/// Makes a constant of each name, and a list of all names with their comments.
/// Its content is not indented, since rustfmt does not touch it.
macro_rules! metrics {
    ($($(#[doc = $line:literal])+ pub const $id:ident: &str = $name:literal;)+) => {
        $($(#[doc = $line])+ pub const $id: &str = $name;)+

        /// Every metric.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $id, text: concat!($($line),+) }),+
        ];
    };
}

metrics! {
/// Messages received from the buffer, redeliveries included. Counter.
pub const BUFFER_MESSAGES_RECEIVED: &str = "evictd_buffer_messages_received_total";
/// Messages deleted from the buffer after the edge accepted all their paths.
/// Counter.
pub const BUFFER_MESSAGES_DELETED: &str = "evictd_buffer_messages_deleted_total";
/// Messages received again while the drain still held them: their visibility
/// timeout ran out, so other drains may be working on them too. Counter.
pub const BUFFER_MESSAGES_REDELIVERED: &str = "evictd_buffer_messages_redelivered_total";
/// Messages left to the buffer's redrive policy, by `reason`. A message counts
/// once for each delivery. Counter.
pub const BUFFER_MESSAGES_LEFT: &str = "evictd_buffer_messages_left_total";
/// Calls to the buffer that failed, by `operation`. Counter.
pub const BUFFER_ERRORS: &str = "evictd_buffer_errors_total";
/// Messages that the drain holds: received and not yet deleted. Gauge.
pub const DRAIN_HELD_MESSAGES: &str = "evictd_drain_held_messages";
/// Paths that the drain holds, before deduplication. Gauge.
pub const DRAIN_HELD_PATHS: &str = "evictd_drain_held_paths";
/// Paths that the edge accepted, by `distribution`. Counter.
pub const EDGE_PATHS: &str = "evictd_edge_paths_total";
/// Invalidations that the edge accepted, by `distribution`. Counter.
pub const EDGE_INVALIDATIONS: &str = "evictd_edge_invalidations_total";
/// Invalidations that were tried again, whole or split, by `error`. Counter.
pub const EDGE_RETRIES: &str = "evictd_edge_retries_total";
/// Paths that the edge refused for good, by `error`. Counter.
pub const EDGE_PATHS_REFUSED: &str = "evictd_edge_paths_refused_total";
/// Time from the oldest commit in a message until the edge accepted all its
/// paths, by `distribution`. Histogram.
pub const COMMIT_TO_EDGE_ACCEPTED: &str = "evictd_commit_to_edge_accepted_seconds";
/// Connections to the source that were lost or could not be made, by `error`.
/// Counter.
pub const SOURCE_RECONNECTS: &str = "evictd_source_reconnects_total";
/// Times that another replica with the same `server_id` took the connection
/// over again within a minute. Counter.
pub const SERVER_ID_CLASHES: &str = "evictd_server_id_clashes_total";
/// Gaps: changes were lost, and everything was invalidated. Counter.
pub const GAPS: &str = "evictd_gaps_total";
/// Invalidations that cover more than the change, by `reason`. Counter.
pub const WIDENINGS: &str = "evictd_widenings_total";
/// Mapped rows that changed without their version, by `rule`. Counter.
pub const MISSED_VERSION_BUMPS: &str = "evictd_missed_version_bumps_total";
/// Mapped rows whose version went backwards. Counter.
pub const BACKWARD_VERSIONS: &str = "evictd_backward_versions_total";
/// Guards that were raised, or that had the version or a later one already.
/// Counter.
pub const GUARDS: &str = "evictd_guards_total";
/// Rows without a guard, because their version is NULL or negative. Counter.
pub const GUARDS_SKIPPED: &str = "evictd_guards_skipped_total";
/// Keys that tag sets named and that existed. Counter.
pub const TAG_SET_KEYS: &str = "evictd_tag_set_keys_total";
/// Messages that were published about deletions. Counter.
pub const PUBLISHED: &str = "evictd_published_messages_total";
/// Paths that were not sent, because their class needs no invalidation, by
/// `class`. Counter.
pub const PATHS_SKIPPED: &str = "evictd_paths_skipped_total";
/// Keys whose deletion the cache answered, with success or with a lasting
/// refusal. Counter.
pub const CACHE_KEYS: &str = "evictd_cache_keys_total";
/// Deleted keys that existed. Counter.
pub const CACHE_KEYS_EXISTED: &str = "evictd_cache_keys_existed_total";
/// Keys that the cache lastingly refuses to change, by `error`. A key that is
/// to be deleted twice counts twice. Counter.
pub const CACHE_KEYS_REFUSED: &str = "evictd_cache_keys_refused_total";
/// Deletions that went ahead although it was not known whether the rows were
/// visible. Counter.
pub const BARRIER_FALLBACKS: &str = "evictd_visibility_fallbacks_total";
/// Current time from visibility to the second deletion, where it follows the
/// readers' lag. Gauge.
pub const SETTLE_AFTER: &str = "evictd_settle_after_seconds";
/// Deletions that were tried again, by `error`. Counter.
pub const CACHE_RETRIES: &str = "evictd_cache_retries_total";
/// Times that another cluster's node was found at the address of one of the
/// cache's, and was left alone. Counter.
pub const CACHE_NODES_REFUSED: &str = "evictd_cache_nodes_refused_total";
/// Paths that the buffer accepted, once for each distribution. Counter.
pub const BUFFER_PATHS: &str = "evictd_buffer_paths_total";
/// Sends to the buffer that were tried again, by `error`. Counter.
pub const BUFFER_RETRIES: &str = "evictd_buffer_retries_total";
/// Writes of the checkpoint that were tried again, by `error`. Counter.
pub const CHECKPOINT_RETRIES: &str = "evictd_checkpoint_retries_total";
/// Times that the stored position was missing, or older than the last one
/// stored, and was stored again. Counter.
pub const CHECKPOINTS_LOST: &str = "evictd_checkpoints_lost_total";
/// 1 while this process leads, 0 while it stands by. Gauge.
pub const LEADER: &str = "evictd_leader";
/// Paths that were gathered for the edge and not sent, because an earlier
/// invalidation covers them, by `distribution`. Counter.
pub const EDGE_PATHS_COVERED: &str = "evictd_edge_paths_covered_total";
/// Paths that were gathered for the edge and sent as part of a wildcard, by
/// `distribution`. Counter.
pub const EDGE_PATHS_COALESCED: &str = "evictd_edge_paths_coalesced_total";
/// Paths in progress at the edge, by `distribution` and `kind`: `single` or
/// `wildcard`. Gauge.
pub const EDGE_IN_PROGRESS: &str = "evictd_edge_in_progress_paths";
/// Times that paths waited for others in progress to complete, by
/// `distribution`. Counter.
pub const EDGE_QUOTA_WAITS: &str = "evictd_edge_quota_waits_total";
/// Invalidations that did not complete within `cloudfront.overdue_after`, by
/// `distribution`. Counter.
pub const EDGE_OVERDUE: &str = "evictd_edge_overdue_total";
/// Failed calls that ask how far invalidations in progress are, by `error`.
/// Counter.
pub const EDGE_LOOKS_FAILED: &str = "evictd_edge_looks_failed_total";
/// Failed attempts to write or read the file of recent invalidations, by
/// `operation`: `write` or `read`. Counter.
pub const EDGE_HISTORY_ERRORS: &str = "evictd_edge_history_errors_total";
/// Time from the oldest commit in an invalidation to its completion everywhere,
/// by `distribution`. The edge is asked every 5 s, so it is no more precise
/// than that. Histogram.
pub const COMMIT_TO_EDGE_COMPLETED: &str = "evictd_commit_to_edge_completed_seconds";
/// Paths spent this month, by `distribution`. Gauge.
pub const BUDGET_SPENT: &str = "evictd_budget_spent_paths";
/// Paths left of the month's budget, by `distribution`. Gauge.
pub const BUDGET_LEFT: &str = "evictd_budget_left_paths";
/// Forecast of the paths spent at the end of the month, by `distribution`.
/// Gauge.
pub const BUDGET_FORECAST: &str = "evictd_budget_forecast_paths";
/// Failed attempts to write the budget file. Counter.
pub const BUDGET_ERRORS: &str = "evictd_budget_errors_total";
/// Messages moved to the buffer's dead letters, by `reason`. Counter.
pub const BUFFER_DEAD_LETTERS: &str = "evictd_buffer_dead_letters_total";
/// Times that a rule's wildcards were sent in place of its many paths, by
/// `rule`. Counter.
pub const BULK_CHANGES: &str = "evictd_bulk_changes_total";
/// Age of the oldest committed change whose keys are not deleted yet, as far as
/// it is known; 0 when the keys of everything read are deleted. Gauge.
pub const LAG_SECONDS: &str = "evictd_lag_seconds";
/// Bytes of the binlog that are not read yet; NaN where the server does not
/// say. Gauge.
pub const LAG_BYTES: &str = "evictd_lag_bytes";
/// Time from a batch's oldest commit to the first deletion of all its keys.
/// Histogram.
pub const COMMIT_TO_DELETED: &str = "evictd_commit_to_deleted_seconds";
/// Time from a batch's oldest commit until all its keys are settled. Histogram.
pub const COMMIT_TO_SETTLED: &str = "evictd_commit_to_settled_seconds";
/// Dead letters: what cannot be done however often it is tried, by `reason`.
/// Counter.
pub const DEAD_LETTERS: &str = "evictd_dead_letters_total";
/// Failed attempts to write to a ledger, by `ledger`. Counter.
pub const LEDGER_FAILURES: &str = "evictd_ledger_failures_total";
/// Records that are only in the log, because too many waited for the disk, by
/// `ledger`. Counter.
pub const LEDGER_LOST: &str = "evictd_ledger_records_lost_total";
/// Rows that changed, by `table` and `op`: the table as a rule writes it, or
/// `other` if it matters only because of foreign keys. Counter.
pub const CHANGES: &str = "evictd_changes_total";
/// Time from a batch's oldest commit until other sessions see its rows.
/// Histogram.
pub const COMMIT_TO_VISIBLE: &str = "evictd_commit_to_visible_seconds";
/// Bytes that wait in memory, by `queue`: `gathering` for the next batch,
/// `settling` for the second deletion, `draining` for the edge. Gauge.
pub const QUEUE_BYTES: &str = "evictd_queue_bytes";
/// Whether the binlog is being read: 1 or 0. Gauge.
pub const CONNECTED: &str = "evictd_connected";
/// Time for which a part of the work has been failing, by `part`; 0 while it
/// works.
/// Gauge.
pub const PART_TROUBLE_SECONDS: &str = "evictd_part_trouble_seconds";
/// How long the current attempt of a part of the work has lasted, by `part`; 0
/// while the part is idle. Gauge.
pub const PART_BUSY_SECONDS: &str = "evictd_part_busy_seconds";
/// Gaps whose invalidation is not finished. Gauge.
pub const GAPS_OPEN: &str = "evictd_gaps_open";
/// Dead letters on record in the ledger. Gauge.
pub const DEAD_LETTERS_ON_RECORD: &str = "evictd_dead_letters_on_record";
/// When the last gap was met, in seconds since the epoch; absent if there was
/// none. A counter that is 1 at the first scrape of a process would show no
/// increase. Gauge.
pub const LAST_GAP: &str = "evictd_last_gap_timestamp_seconds";
/// When the last dead letter was put into the ledger, in seconds since the
/// epoch; absent if there was none. Gauge.
pub const LAST_DEAD_LETTER: &str = "evictd_last_dead_letter_timestamp_seconds";
/// The month's budget, by `distribution`. Gauge.
pub const BUDGET_LIMIT: &str = "evictd_budget_limit_paths";
/// Reloads of the configuration, by `outcome`. Counter.
pub const CONFIG_RELOADS: &str = "evictd_config_reloads_total";
/// Whether the configuration in use is the one that was last asked for: 1 or 0.
/// Gauge.
pub const CONFIG_CURRENT: &str = "evictd_config_current";
/// Rules, each with one table or glob, that do not fit the tables as they were at
/// the start of the turn. What they are about widens. Gauge.
pub const RULES_UNFIT: &str = "evictd_rules_unfit";
/// When the configuration in use was loaded, in seconds since the epoch. Gauge.
pub const CONFIG_LOADED: &str = "evictd_config_loaded_timestamp_seconds";
/// Always 1, by `version`. Gauge.
pub const BUILD_INFO: &str = "evictd_build_info";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comment_ends_with_a_kind_that_fits_the_name() {
        for metric in ALL {
            let last = metric.text.rsplit(' ').next();
            let known = ["Counter.", "Gauge.", "Histogram."];
            assert!(last.is_some_and(|word| known.contains(&word)), "{metric:?}");
            let counts = metric.name.ends_with("_total");
            assert_eq!(counts, metric.kind() == MetricKind::Counter, "{metric:?}");
            assert!(metric.name.starts_with("evictd_"), "{metric:?}");
            assert!(!metric.help().is_empty(), "{metric:?}");
            // Else a label would not be found.
            let labelled = metric.labels().next().is_some();
            assert_eq!(labelled, metric.text.contains(" by `"), "{metric:?}");
        }
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands twice");
    }

    #[test]
    fn labels_are_read_from_the_comment() {
        let labels = |name: &str| -> Vec<&str> {
            let metric = ALL.iter().find(|metric| metric.name == name).unwrap();
            metric.labels().collect()
        };
        assert_eq!(labels(CHANGES), ["table", "op"]);
        assert_eq!(labels(EDGE_IN_PROGRESS), ["distribution", "kind"]);
        assert_eq!(labels(GAPS), [""; 0]);
    }
}
