//! Vendors on loopback: each answers as the real one does, with its quirks, and refuses what it would refuse.

pub mod infomax;
pub mod kis;
pub mod kiwoom;
pub mod krx;
pub mod krx_openapi;

use crate::support::{Reply, Request, Work};

/// What the tests over all vendors need to know of one.
pub struct Vendor {
    /// Its name as a source.
    pub source: &'static str,
    /// Arguments of an extract that asks for data more than once.
    pub ask: &'static str,
    /// Sets it up.
    pub env: fn(&mut Work, &str),
    /// Answers as the vendor does.
    pub reply: fn(&Request) -> Reply,
    /// Is the request for the data of `ask`, not for a token, a login or a master?
    pub is_data: fn(&Request) -> bool,
    /// A good answer without rows.
    pub empty: &'static str,
    /// The exit code when all answers are without rows.
    pub empty_code: i32,
    /// A good answer, as one of another session, or the same page again.
    pub stale: fn(&Request) -> Reply,
    /// What the vendor says when a token or login is no longer good; `None` where there is only a key.
    pub expired: Option<fn() -> Reply>,
}

/// All of them.
pub const ALL: &[&Vendor] =
    &[&krx_openapi::VENDOR, &infomax::VENDOR, &krx::VENDOR, &kiwoom::VENDOR, &kis::VENDOR];

/// The secrets that `env` sets begin so.
pub const CANARY: &str = "canary-";
