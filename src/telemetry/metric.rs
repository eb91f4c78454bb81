//! Metric names. Every name starts with `evictd_`, durations are in seconds.
//!
//! A name's comment is its help text too: its last word is the metric's kind,
//! and "by `label`" names a label. Labels are rules, tables as rules write them,
//! distributions, parts and names of reasons: what the configuration or this
//! program lists, never a value of a row or a server's words (Bounded).

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How long something took.
    Histogram,
}

/// A metric and what is written about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its comment.
    text: &'static str,
}

impl Metric {
    /// What it is.
    pub fn kind(&self) -> MetricKind {
        match self.text.rsplit(' ').next() {
            Some("Counter.") => MetricKind::Counter,
            Some("Histogram.") => MetricKind::Histogram,
            _ => MetricKind::Gauge,
        }
    }

    /// What it says, without its kind.
    pub fn help(&self) -> &'static str {
        let text = self.text.trim();
        text.rsplit_once(' ').map_or(text, |(help, _)| help)
    }

    /// Its labels besides `name`.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        let after = |word| self.text.split(word).skip(1);
        let named = after(" by `").chain(after("` and `"));
        named.filter_map(|rest| rest.split('`').next())
    }
}

/// Makes a constant of each name, and a list of all with their comments. What is
/// in it is not indented, as rustfmt leaves it.
macro_rules! metrics {
    ($($(#[doc = $line:literal])+ pub const $id:ident: &str = $name:literal;)+) => {
        $($(#[doc = $line])+ pub const $id: &str = $name;)+

        /// Every metric there is.
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
/// Messages received again while they were still held: their visibility
/// timeout ran out, so other copies may be working on them too. Counter.
pub const BUFFER_MESSAGES_REDELIVERED: &str = "evictd_buffer_messages_redelivered_total";
/// Messages left to the buffer's redrive policy, by `reason`. A message counts
/// once for each delivery. Counter.
pub const BUFFER_MESSAGES_LEFT: &str = "evictd_buffer_messages_left_total";
/// Calls to the buffer that failed, by `operation`. Counter.
pub const BUFFER_ERRORS: &str = "evictd_buffer_errors_total";
/// Messages the drain holds: received and not yet deleted. Gauge.
pub const DRAIN_HELD_MESSAGES: &str = "evictd_drain_held_messages";
/// Paths the drain holds, before deduplication. Gauge.
pub const DRAIN_HELD_PATHS: &str = "evictd_drain_held_paths";
/// Paths the edge accepted, by `distribution`. Counter.
pub const EDGE_PATHS: &str = "evictd_edge_paths_total";
/// Invalidations the edge accepted, by `distribution`. Counter.
pub const EDGE_INVALIDATIONS: &str = "evictd_edge_invalidations_total";
/// Invalidations tried again, whole or split, by `error`. Counter.
pub const EDGE_RETRIES: &str = "evictd_edge_retries_total";
/// Paths the edge refused for good, by `error`. Counter.
pub const EDGE_PATHS_REFUSED: &str = "evictd_edge_paths_refused_total";
/// From the oldest commit in a message to the edge's acceptance of all its
/// paths, by `distribution`. Histogram.
pub const COMMIT_TO_EDGE_ACCEPTED: &str = "evictd_commit_to_edge_accepted_seconds";
/// Connections to the source lost or not made, by `error`. Counter.
pub const SOURCE_RECONNECTS: &str = "evictd_source_reconnects_total";
/// Times that another replica with the same `server_id` took the connection
/// over again within a minute. Counter.
pub const SERVER_ID_CLASHES: &str = "evictd_server_id_clashes_total";
/// Times that changes were lost and everything was invalidated. Counter.
pub const GAPS: &str = "evictd_gaps_total";
/// Invalidations that cover more than the change, by `reason`. Counter.
pub const WIDENINGS: &str = "evictd_widenings_total";
/// Mapped rows that changed while their version did not, by `rule`. Counter.
pub const MISSED_VERSION_BUMPS: &str = "evictd_missed_version_bumps_total";
/// Mapped rows whose version went backwards. Counter.
pub const BACKWARD_VERSIONS: &str = "evictd_backward_versions_total";
/// Guards raised, or found at the version or above. Counter.
pub const GUARDS: &str = "evictd_guards_total";
/// Rows whose version is NULL or negative, so that no guard was raised. Counter.
pub const GUARDS_SKIPPED: &str = "evictd_guards_skipped_total";
/// Keys that were named by tag sets, and existed. Counter.
pub const TAG_SET_KEYS: &str = "evictd_tag_set_keys_total";
/// Messages published about what was deleted. Counter.
pub const PUBLISHED: &str = "evictd_published_messages_total";
/// Paths not sent because their class needs no invalidation, by `class`.
/// Counter.
pub const PATHS_SKIPPED: &str = "evictd_paths_skipped_total";
/// Keys whose deletion the cache answered, with success or for good. Counter.
pub const CACHE_KEYS: &str = "evictd_cache_keys_total";
/// Keys among them that existed. Counter.
pub const CACHE_KEYS_EXISTED: &str = "evictd_cache_keys_existed_total";
/// Keys that the cache refused to change for good, by `error`. One that is to be
/// deleted twice counts twice. Counter.
pub const CACHE_KEYS_REFUSED: &str = "evictd_cache_keys_refused_total";
/// Deletions that went ahead though it was not known whether the rows were
/// visible. Counter.
pub const BARRIER_FALLBACKS: &str = "evictd_visibility_fallbacks_total";
/// How long keys settle at present, where that follows the readers' lag. Gauge.
pub const SETTLE_AFTER: &str = "evictd_settle_after_seconds";
/// Deletions tried again, by `error`. Counter.
pub const CACHE_RETRIES: &str = "evictd_cache_retries_total";
/// Paths that the buffer accepted, once for each distribution. Counter.
pub const BUFFER_PATHS: &str = "evictd_buffer_paths_total";
/// Sends to the buffer tried again, by `error`. Counter.
pub const BUFFER_RETRIES: &str = "evictd_buffer_retries_total";
/// Checkpoints tried again, by `error`. Counter.
pub const CHECKPOINT_RETRIES: &str = "evictd_checkpoint_retries_total";
/// Times that the stored position was gone, or older than what was stored, and
/// was stored anew. Counter.
pub const CHECKPOINTS_LOST: &str = "evictd_checkpoints_lost_total";
/// 1 while this process leads, 0 while it stands by. Gauge.
pub const LEADER: &str = "evictd_leader";
/// Paths gathered for the edge and not sent, because an invalidation that was
/// made already covers them, by `distribution`. Counter.
pub const EDGE_PATHS_COVERED: &str = "evictd_edge_paths_covered_total";
/// Paths gathered for the edge that went under a wildcard, by `distribution`.
/// Counter.
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
/// Looks at what is in progress that failed, by `error`. Counter.
pub const EDGE_LOOKS_FAILED: &str = "evictd_edge_looks_failed_total";
/// Times that what was invalidated lately could not be put on record on disk,
/// or read, by `operation`: `write` or `read`. Counter.
pub const EDGE_HISTORY_ERRORS: &str = "evictd_edge_history_errors_total";
/// From the oldest commit in an invalidation to its completion everywhere, by
/// `distribution`. As precise as the edge is asked: every 5 s. Histogram.
pub const COMMIT_TO_EDGE_COMPLETED: &str = "evictd_commit_to_edge_completed_seconds";
/// Paths counted this month, by `distribution`. Gauge.
pub const BUDGET_SPENT: &str = "evictd_budget_spent_paths";
/// Paths left of the month's budget, by `distribution`. Gauge.
pub const BUDGET_LEFT: &str = "evictd_budget_left_paths";
/// Paths that the month will have cost, by `distribution`. Gauge.
pub const BUDGET_FORECAST: &str = "evictd_budget_forecast_paths";
/// Counts that could not be written to the budget file. Counter.
pub const BUDGET_ERRORS: &str = "evictd_budget_errors_total";
/// Messages put among the buffer's dead letters, by `reason`. Counter.
pub const BUFFER_DEAD_LETTERS: &str = "evictd_buffer_dead_letters_total";
/// Times that a rule's paths went as its wildcards, by `rule`. Counter.
pub const BULK_CHANGES: &str = "evictd_bulk_changes_total";
/// How old the oldest committed change is that is not deleted yet, as far as
/// is known; 0 when everything read is. Gauge.
pub const LAG_SECONDS: &str = "evictd_lag_seconds";
/// How much of the binlog is not read yet, in bytes; NaN where the server does
/// not tell. Gauge.
pub const LAG_BYTES: &str = "evictd_lag_bytes";
/// From a batch's oldest commit to the first deletion of all its keys.
/// Histogram.
pub const COMMIT_TO_DELETED: &str = "evictd_commit_to_deleted_seconds";
/// From a batch's oldest commit until all its keys are settled. Histogram.
pub const COMMIT_TO_SETTLED: &str = "evictd_commit_to_settled_seconds";
/// What cannot be done however often it is tried, by `reason`. Counter.
pub const DEAD_LETTERS: &str = "evictd_dead_letters_total";
/// Attempts to write a ledger that failed, by `ledger`. Counter.
pub const LEDGER_FAILURES: &str = "evictd_ledger_failures_total";
/// Records that are in the log only, because too many waited for the disk, by
/// `ledger`. Counter.
pub const LEDGER_LOST: &str = "evictd_ledger_records_lost_total";
/// Rows that changed, by `table` and `op`: the table as a rule writes it, and
/// `other` for those that only foreign keys make matter. Counter.
pub const CHANGES: &str = "evictd_changes_total";
/// From a batch's oldest commit until other sessions see its rows. Histogram.
pub const COMMIT_TO_VISIBLE: &str = "evictd_commit_to_visible_seconds";
/// What waits in memory, in bytes, by `queue`: `gathering` what is planned,
/// `settling` what is deleted again, `draining` what goes to the edge. Gauge.
pub const QUEUE_BYTES: &str = "evictd_queue_bytes";
/// Whether the binlog is being read: 1 or 0. Gauge.
pub const CONNECTED: &str = "evictd_connected";
/// How long a part of the work has been in trouble, by `part`; 0 while it is
/// not. Gauge.
pub const PART_TROUBLE_SECONDS: &str = "evictd_part_trouble_seconds";
/// How long the attempt has lasted that a part of the work is at, by `part`; 0
/// while it rests. Gauge.
pub const PART_BUSY_SECONDS: &str = "evictd_part_busy_seconds";
/// Gaps whose invalidation is not done. Gauge.
pub const GAPS_OPEN: &str = "evictd_gaps_open";
/// Dead letters on record in the ledger. Gauge.
pub const DEAD_LETTERS_ON_RECORD: &str = "evictd_dead_letters_on_record";
/// When the last gap was met, in seconds since the epoch; not there without one.
/// A counter that is 1 at the first scrape of a process would show no increase.
/// Gauge.
pub const LAST_GAP: &str = "evictd_last_gap_timestamp_seconds";
/// When something last became a dead letter of the ledger, in seconds since the
/// epoch; not there without one. Gauge.
pub const LAST_DEAD_LETTER: &str = "evictd_last_dead_letter_timestamp_seconds";
/// The month's budget, by `distribution`. Gauge.
pub const BUDGET_LIMIT: &str = "evictd_budget_limit_paths";
/// Attempts to load the configuration again, by `outcome`. Counter.
pub const CONFIG_RELOADS: &str = "evictd_config_reloads_total";
/// Whether the configuration that is in use is the one that was asked for last:
/// 1 or 0. Gauge.
pub const CONFIG_CURRENT: &str = "evictd_config_current";
/// When the configuration in use was loaded, in seconds since the epoch. Gauge.
pub const CONFIG_LOADED: &str = "evictd_config_loaded_timestamp_seconds";
/// 1, by `version`. Gauge.
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
