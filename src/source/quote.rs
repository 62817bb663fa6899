//! What KRX's daily table of all shares says, by the names and codes it uses: the same in the portal's answers and in
//! the files that are made of them.

use crate::market::{Market, SecurityType, StockCode};

/// A market by name or id, and whether it is the segment KOSDAQ GLOBAL.
pub(super) fn market_of(bytes: &[u8]) -> Option<(Market, bool)> {
    Some(match bytes {
        b"KOSPI" | b"STK" => (Market::Kospi, false),
        b"KOSDAQ" | b"KSQ" => (Market::Kosdaq, false),
        b"KOSDAQ GLOBAL" => (Market::Kosdaq, true),
        b"KONEX" | b"KNX" => (Market::Konex, false),
        _ => return None,
    })
}

/// The kind of a share by its code, its name and its department (소속부), which tells SPACs.
pub(super) fn kind_of(code: StockCode, name: &str, market: Market, department: &str) -> SecurityType {
    if department.starts_with("SPAC") {
        SecurityType::Spac
    } else {
        SecurityType::of_share(code, name, market)
    }
}

/// Do change, change code (1 up, 2 down, 3 unchanged, 4 limit-up, 5 limit-down, 0 no trade) and ratio in per cent tell
/// the same?
#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
pub(super) fn change_agrees(close: i64, change: i64, code: u8, ratio: Option<f64>) -> bool {
    let sign = match code {
        1 | 4 => 1,
        2 | 5 => -1,
        _ => 0,
    };
    let base = close.saturating_sub(change);
    let ratio_fits = ratio.is_none_or(|ratio| {
        base <= 0 || (ratio - change as f64 * 100.0 / base as f64).abs() <= 0.0051 + ratio.abs() * 1e-9
    });
    change.signum() == sign && ratio_fits
}

/// Is the capitalisation close x listed shares, exactly?
pub(super) fn cap_agrees(close: i64, shares: i64, cap: i64) -> bool {
    i128::from(close) * i128::from(shares) == i128::from(cap)
}
