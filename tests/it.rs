//! Integration tests: the real binary, in fresh folders with a cleared environment, against a real PostgreSQL
//! that kdata itself creates. `support` says on stderr which storage and which data a run covered.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]
#![allow(unreachable_pub, reason = "support is one crate with the tests")]

mod support;
mod vendors;

mod alert; // who is told of failures; a dead man's switch
mod backfill; // history in windows; the stages in one process
mod backup; // backup, verify, restore
mod browser; // HTML reports in a real browser
mod calendar; // shown, changed, compared with the data
mod cli; // help, errors, exit codes, secrets
mod cron; // which lines of the crontab have not run
mod csv; // a user's own files
mod datasets; // the six that no sheet makes: minutes, snapshots, investors
mod db; // the private cluster, roles, migrations
mod docs; // both languages name the same, and it is there
mod doctor; // is everything in order for an unattended run
mod examples; // of the help texts; -q of all subcommands
mod extract; // sessions, scopes, what a source lacks
mod faults; // damaged source files: what of it is found
mod http; // faults of every vendor, limits across processes, secrets
mod infomax; // name by name, from a terminal's service
mod killed; // kill -9 of client and server at random moments
mod kis; // name by name, and master files of fixed width
mod kiwoom; // name by name, from a broker
mod krx; // the exchange's portal: its login, its blocks, its holidays, its recorded answers
mod krx_openapi; // whole markets by date, from the exchange's official service
mod krx_recorded; // what the portal answered once
mod load; // broken streams, killed stages, refusals
mod marcap; // yearly files over HTTP
mod neighbours; // what batches are compared with
mod pipe; // the whole, on fixtures and on real data, on both storage backends
mod promote; // merges, gates, revisions, ranks
mod readers; // adjusted prices, the past, the names of a date; what the reader may not
mod rejects; // rows that broke a rule: shown, replayed, discarded
mod report; // quality, due, runs
mod reports; // each report in each form; coverage, freshness, reconcile, storage
mod rollback; // back to the letter
mod session_status; // in any order, what production holds
mod sim; // the simulated market, all nine datasets
mod status; // is all well, on one screen
mod storage; // minutes compressed as they come, parts of tables, bars of bars
mod systemd; // its units are the lines of crontab.example
mod terminal; // completions, manual, logs for programs, quiet runs, examples
mod tls; // a database elsewhere: encrypted, and the right one
mod validate; // rules, limits, broken streams
mod year; // a year by the lines of crontab.example, with all that goes wrong in it
