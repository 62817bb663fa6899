//! kdata brings Korean stock market data from its sources into one PostgreSQL database, checked against the
//! market's own rules. One binary, a subcommand a stage, connected by pipes:
//!
//! ```text
//! kdata extract ohlcv --date today | kdata validate | kdata load     → a staged batch
//! kdata promote                                                      staging → market, atomically
//! kdata report quality
//! ```
//!
//! # Floors
//!
//! Types at the edges, bytes in the middle, SQL at the end. Imports point down only; neighbours on a floor do
//! not import each other, but for `stage::run` and `stage::backfill`, which string the stages together, and
//! `stage::status`, which looks at what they left.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | 5 | [`cli`] | one file a subcommand: its arguments, and how it runs; `printer` is the only place that prints |
//! | 4 | [`stage`] | extract, validate, load, promote, rollback, backfill, report, doctor, status, cron: functions that know nothing of the command line |
//! | 3 | [`source`] | one file or folder a source: vendor models → parse → records; `http` is what they share on the network |
//! | 3 | [`db`] | the private cluster, migrations, the ledger, merging rows into production |
//! | 3 | [`alert`] | who is told that an unattended run failed: a webhook, a command, a dead man's switch |
//! | 3 | [`jobs`] | which commands ran, when, and how they ended |
//! | 2 | [`state`], [`web`] | small files that processes share; how HTTP clients are made |
//! | 2 | [`stream`] | what flows through a pipe: preamble, CSV, marks, trailer |
//! | 1 | [`dataset`] | what a dataset is: columns, key, rules, queries; a static list of values |
//! | 0 | [`market`] | codes, ticks, limits, the calendar: plain values, dated facts |
//! |   | [`error`], [`settings`] | one error type with its exit codes; the only reader of the environment |
//!
//! SQL stands in `sql/`: `backend/` (two storages behind the same function names), `migrations/`, `promote/`
//! (what a promote sees and makes), `checks/` (rules that need neighbours), `report/`.
//!
//! # What keeps data safe
//!
//! - A pipe carries no exit status, so a [`stream`] proves its own end: `#end` with counts and a checksum, or
//!   `#abort` with the reason and the exit code of the stage that failed. Anything else is a broken stream.
//! - `load` writes one staging table in one transaction with its ledger row. `promote` brings a batch into
//!   production in one transaction, with its receipt and its sessions' status, and proves that every staged row
//!   stands there before it commits. The second promote of the same data writes nothing.
//! - What a batch changes goes to `ops.revisions`, so that `rollback` can undo it.
//!
//! # Recipes
//!
//! - A dataset: `dataset/<name>.rs` and `sql/migrations/NNNN_<name>.sql`; a `mod` line and an entry in `ALL` in
//!   `dataset/mod.rs`, a line in `db/migrate.rs`; and a function in each source that serves it.
//! - A source: `source/<name>.rs`; its variant, its place in `PREFERENCE` and its arms in `source/mod.rs`; over HTTP, a
//!   [`source::http::Vendor`] that signs and judges, and a fake of it in `tests/vendors/` for the fault matrix.
//! - A rule of a row: an entry in its record's `RULES` and a row in the test table below it; of the rows of one name
//!   and session, in its `GROUP_RULES`.
//! - A rule that needs neighbours: an entry in the dataset's batch rules and a file in `sql/checks/`.
//! - A report: a file in `sql/report/` and a line in the list of `stage/report/mod.rs`.
//! - A subcommand: `cli/<name>.rs`, `stage/<name>.rs`, and three lines in the two `mod.rs`.

pub mod alert;
pub mod cli;
pub mod dataset;
pub mod db;
pub mod error;
pub mod jobs;
pub mod market;
pub mod settings;
pub mod source;
pub mod stage;
pub mod state;
pub mod stream;
pub mod web;
