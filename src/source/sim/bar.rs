//! Draws a bar around what a step decided. Nothing here goes back into the walk.

use super::dice::{Dice, exp, real, whole};
use super::roster::Name;
use super::walk::{Day, Trade, Walker, snap};
use crate::dataset::ohlcv::Bar;
use crate::market::{Market, limit, tick};

/// Chance of a high or a low between two ticks.
const HALF_TICK: f64 = 0.006;
/// Chance of a block trade off the book: it enters volume and value, but not open, high and low.
const BLOCK: f64 = 0.002;
/// How far off the book's prices a block trades.
const BLOCK_GAP: f64 = 0.04;
/// Chance that only a few single shares are traded on KONEX.
const SINGLE_LOT: f64 = 0.1;
/// Fewer shares than this change hands at one price.
const SINGLE_PRICE: i64 = 4;
/// How many times more than usual is traded on a first session and in liquidation.
const DEBUT_CROWD: f64 = 60.0;
const LIQUIDATION_CROWD: f64 = 5.0;
/// No session trades more than this part of the listed shares.
const MOST_TURNOVER: f64 = 2.0;
/// Sessions over which a name comes into fashion or goes out of it.
const SEASON: u8 = 64;
const WEEK: u8 = 5;
/// What is drawn for a bar is not what is drawn for a step.
const SALT: u64 = 0x5A17;

/// Shares traded on the book at the open, the high, the low and the close: each price was paid at least once.
pub(super) type Lots = [i64; 4];

/// The bar of a session that the walker has just gone through, and what of it was traded on the book: all but blocks.
pub(super) fn bar(walker: &Walker, name: &Name, day: &Day, trade: Trade) -> (Bar, Lots) {
    let mut bar = Bar {
        code: name.code,
        time: day.date,
        open: None,
        high: None,
        low: None,
        close: walker.close,
        volume: 0,
        value: Some(0),
        base: Some(walker.base),
        market: name.stay(day.index).market,
        kind: name.kind,
    };
    if trade == Trade::None {
        return (bar, [0; 4]);
    }
    let mut dice = Dice::of(name.key ^ SALT, day.index as u64);
    bar.volume = volume(walker, name, day, trade, &mut dice);
    let [open, high, low] = if bar.volume < SINGLE_PRICE {
        [walker.close; 3]
    } else {
        prices(walker, name, day, trade, &mut dice)
    };
    let lots = lots(bar.volume, &mut dice);
    let mut value: i64 =
        lots.iter().zip([open, high, low, walker.close]).map(|(lot, price)| lot * price).sum();
    if dice.chance(BLOCK) {
        let block = bar.volume * (1 + whole(2.0 * dice.unit()));
        let below = dice.chance(0.4);
        let price = if below { real(low) * (1.0 - BLOCK_GAP) } else { real(high) * (1.0 + BLOCK_GAP) };
        bar.volume += block;
        value += block * whole(price);
    }
    (bar.open, bar.high, bar.low, bar.value) = (Some(open), Some(high), Some(low), Some(value));
    (bar, lots)
}

/// Shares traded.
fn volume(walker: &Walker, name: &Name, day: &Day, trade: Trade, dice: &mut Dice) -> i64 {
    let stay = name.stay(day.index);
    let crowd = match trade {
        Trade::Debut => DEBUT_CROWD,
        Trade::Liquidation => LIQUIDATION_CROWD,
        _ if stay.market == Market::Konex && dice.chance(SINGLE_LOT) => return 1 + whole(2.0 * dice.unit()),
        _ => 1.0,
    };
    let fashion = tide(name.key, day.index, SEASON) + tide(name.key, day.index, WEEK);
    let lively = (0.4 + 0.6 * walker.heat * walker.heat) * (0.6 + 0.4 * walker.shock);
    let turnover = stay.turnover * lively * crowd * exp(stay.noise * (0.8 * fashion + 0.6 * dice.bell()));
    whole(real(walker.shares) * turnover.min(MOST_TURNOVER)).max(1)
}

/// What comes and goes slowly, nearly normal.
fn tide(key: u64, session: usize, length: u8) -> f64 {
    let (begun, past) = (session / usize::from(length), session % usize::from(length));
    let level = |step: usize| Dice::of(key ^ u64::from(length), (begun + step) as u64).bell();
    let phase = f64::from(u8::try_from(past).unwrap_or(0)) / f64::from(length);
    level(0) * (1.0 - phase) + level(1) * phase
}

/// Open, high and low around base and close.
fn prices(walker: &Walker, name: &Name, day: &Day, trade: Trade, dice: &mut Dice) -> [i64; 3] {
    let stay = name.stay(day.index);
    let board = day.board(stay.market, name.kind);
    let table = board.table;
    let band = walker.band(name, day, trade);
    let width = stay.sd * walker.heat;
    let (base, close) = (real(walker.base), real(walker.close));
    let drawn = |price: f64| snap(table, price).clamp(band.lower, band.upper);
    let opens_at_base = limit::first_session_band(day.date, stay.market, walker.base).is_none();
    let open = drawn(match trade {
        Trade::Liquidation => close * exp(0.15 * dice.bell()),
        Trade::Debut if opens_at_base => base,
        _ => base + 0.3 * (close - base) + 0.4 * width * dice.bell() * base,
    });
    let (top, bottom) = (real(open).max(close), real(open).min(close));
    let mut reach = || width * (0.15 + 0.5 * dice.bell().abs());
    let mut high = drawn(top * (1.0 + reach())).max(open).max(walker.close);
    let mut low = drawn(bottom * (1.0 - reach()).max(0.1)).min(open).min(walker.close);
    if board.half_ticks && dice.chance(HALF_TICK) {
        if high > walker.close && high < band.upper && dice.chance(0.5) {
            high += tick::size(table, high) / 2;
        } else if low < walker.close && low > band.lower {
            let below = tick::size(table, low - 1);
            low = low - below + below / 2;
        }
    }
    [open, high, low]
}

/// How many shares are traded at which price.
fn lots(volume: i64, dice: &mut Dice) -> Lots {
    if volume < SINGLE_PRICE {
        return [0, 0, 0, volume];
    }
    let rest = volume - SINGLE_PRICE;
    let [a, b, c] = [0.25, 0.33, 0.42].map(|most| whole(real(rest) * most * dice.unit() - 0.5));
    [a + 1, b + 1, c + 1, rest - a - b - c + 1]
}
