//! evictd tails the row binlog of a MySQL server and turns committed row
//! changes into deletions of Redis keys and CloudFront invalidations.
//!
//! Applications write to MySQL, read cache-aside from Redis, and do not
//! invalidate anything themselves. Rules in a TOML file say which keys and
//! paths a row stands behind.
//!
//! # Data flow
//!
//! ```text
//! MySQL ──► binlog ──► rules ──► evict ──► cache (Redis: UNLINK, twice)
//!        rows, commits    keys,     │        │ deleted, settled
//!                         paths     │        ▼
//!                                   │      buffer (SQS, or a file)
//!                                   ▼        │ accepted
//!                              checkpoint ◄──┤
//!                                            ▼
//!                                          drain ──► edge (CloudFront)
//! ```
//!
//! One direction: a change carries its position along, and nothing is looked
//! up again downstream. While a batch is on its way the next one gathers; an
//! idle daemon acts at once, a busy one sends larger batches.
//!
//! # Modules
//!
//! | module | holds | knows |
//! |---|---|---|
//! | [`model`] | values, changes, positions, paths, actions; no I/O | nothing |
//! | [`telemetry`] | logs, metric names, error chains, the HTTP listener, the protocol of systemd | nothing |
//! | [`durable`] | files that survive a crash, files that processes share | nothing |
//! | [`credentials`] | what opens connections: passwords, and tokens for AWS IAM | `telemetry` |
//! | [`redis`] | connections to one server, a cluster, or what sentinels know | `model`, `telemetry`, `credentials` |
//! | [`rules`] | templates, conditions, path classes, the planner; pure | `model` |
//! | [`binlog`] | connections to MySQL, the event stream, the row decoder | `model`, `telemetry`, `credentials` |
//! | [`cache`] | the contract of a cache, kept with Redis | `model`, `telemetry`, `redis` |
//! | [`checkpoint`] | the contract of a checkpoint, kept with a file or a key in Redis | `model`, `telemetry`, `durable`, `redis` |
//! | [`buffer`] | the contract of a queue, its message, SQS, the local file | `model`, `telemetry` |
//! | [`edge`] | the contract of an edge, coalescing, quota, budget, CloudFront | `model`, `telemetry`, `durable` |
//! | [`ledger`] | gaps and dead letters on record | `model`, `telemetry`, `durable` |
//! | [`config`] | TOML to a validated configuration, references to secrets | `model`, `rules` |
//! | [`progress`] | what tasks say about themselves, outages, backoff | those from `model` to `ledger` that it reports on |
//! | [`evict`] | binlog to cache to buffer to checkpoint | `progress`, and the contracts above |
//! | [`drain`] | buffer to edge | `progress`, `buffer`, `edge` |
//! | [`plans`] | plans as text and JSON, their differences and totals | `evict` |
//! | [`cli`] | the command line as types | `model`, `plans`, `telemetry` |
//! | [`command`] | one file for each subcommand; wires parts together | everything |
//!
//! Of the modules from `binlog` to `ledger` none knows another, and a
//! vendor's crate is named in one of them only (`redis` in the two that send
//! commands over [`redis`]). `evict` and `drain` work with the
//! contracts of cache, buffer, edge and checkpoint, and never import each other;
//! of the source `evict` uses [`binlog::stream::Source`] itself.
//! `tests/architecture` reads the sources and fails on an import against this table.
//!
//! # Guarantees
//!
//! Tests, metrics and comments call them by these names.
//!
//! - **Nothing lost.** The checkpoint passes a change only after its keys are
//!   deleted (and settled) and its paths accepted by the buffer; a message
//!   leaves the buffer only after the edge accepted all its paths. Everything
//!   is done at least once. *Holds.*
//! - **Visible before evicted.** A change is in the binlog shortly before other
//!   sessions see it, so that a reader could refill the old row after the
//!   deletion. Keys are deleted once the server has executed the GTIDs.
//!   *Holds* with GTIDs; where the server cannot say for ten seconds whether
//!   rows are visible, deletions go ahead.
//! - **Settled.** A reader that fetched the old row before the change was
//!   visible can store it after the deletion. Keys without a version are deleted
//!   a second time, `redis.settle_after` after it was visible (after the commit,
//!   without GTIDs). *Holds* for fills that are faster, and with a
//!   guard, which refuses what is older than the row, for all.
//! - **Cache before edge.** A path enters the buffer after the keys of the same
//!   change are deleted and settled. *Holds.*
//! - **Over, never under.** What cannot be known row by row invalidates the
//!   whole table or everything: statements that change rows (every identifier
//!   in them counts as a table, and what they reach through views, triggers
//!   and functions as anything), incidents, unknown and undecodable events, a
//!   compressed transaction that was not unpacked, a column missing from the
//!   row image, a binlog that is gone, another server, and a foreign key whose
//!   cascade changes mapped rows that MySQL before 9.6 does not log. *Holds*
//!   for what the binlog says, and for the foreign keys found at the start.
//! - **One planner.** `run`, its dry run, `replay`, `plan` and `explain` share
//!   it, and the same changes and rules give byte-identical plans. *Holds* but
//!   for what only a server can tell `plan`: names that are not in the binlog,
//!   what statements reach, and foreign keys.
//! - **Bounded.** Batches, channels and what the drain holds have bounds in
//!   bytes or numbers, and a slow sink stops the reading. *Holds*: rows are
//!   acted on as they stream in, those of a compressed transaction too; a
//!   single event is held in memory.
//! - **Retried or reported.** A failed deletion, send or checkpoint is repeated
//!   with backoff and jitter until it succeeds, logged and counted. Keys that
//!   Redis refuses for good, rows that cannot be decoded and gaps are put on
//!   record in the ledger, and everything else goes on. A message that cannot be
//!   used, or that the edge refuses for good, becomes a dead letter of the
//!   buffer with its reason, and is put on record too. *Holds.*
//! - **Honest.** `OK`, `ready` and a lag of zero are said only of what was looked
//!   at. *Holds in part*: a binlog that was reset, a position that the server no
//!   longer has and a leader whose server became read-only are found, and a lag
//!   that nobody told is unknown, not zero. Tables that filters leave out of the
//!   binlog and queues that nobody drains are not looked for yet.
//!
//! Of several evictds with one name, the process that holds a lock of the source
//! leads ([`binlog::server::leader`]). A former leader that still runs cannot move
//! the checkpoint, because each turn of a leader stores its epoch with it. A turn
//! is all of the above, from the stored position on; a reload begins another one.
//!
//! `docs/architecture.md` walks through the code and names the file that holds each
//! guarantee. `tests/model` explains the protocol behind visibility, settling,
//! order and position, and checks every interleaving of it. `docs/limits.md` says
//! what is not there yet.

pub mod binlog;
pub mod buffer;
pub mod cache;
pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod config;
pub mod credentials;
pub mod drain;
pub mod durable;
pub mod edge;
pub mod evict;
pub mod ledger;
pub mod model;
pub mod plans;
pub mod progress;
pub mod redis;
pub mod rules;
pub mod telemetry;
