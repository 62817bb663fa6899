//! The minutes of a session, so that they add up to its bar: the first opens at its open, the last closes at its
//! close, the highest and the lowest touch its high and its low, and volumes and values sum up to what was traded on
//! the book. Blocks off the book are in the bar and in no minute.
//!
//! Prices walk at random from one of these to the next. Then their way is bent so that its mean is the mean price of
//! the session, and each minute takes its part of what is still missing: the value comes out exactly.

use chrono::{NaiveDate, TimeDelta};

use super::bar::Lots;
use super::dice::{Dice, exp, low_bits, real, whole};
use super::roster::Name;
use super::walk::{Day, Trade, snap};
use crate::dataset::ohlcv::Bar;
use crate::dataset::ohlcv_minute::MinuteBar;
use crate::error::Result;
use crate::market::Hours;
use crate::market::tick::{self, TickTable};

/// What is drawn for minutes is not what is drawn for a bar.
const SALT: u64 = 0x313E;
/// Minutes before the close without continuous trading; the bar of the close is the auction.
const CLOSING_AUCTION: i64 = 10;
/// Mean value of a trade, KRW: how many trades there are decides how many minutes have one.
const TRADE_VALUE: f64 = 900_000.0;
/// Part of the trades that are made in the closing auction, and of the shares: at least, and at most.
const AUCTION_TRADES: f64 = 0.03;
const AUCTION_SHARES: (f64, f64) = (0.015, 0.09);
/// Sessions of liquidation trading have an auction every so many minutes.
const LIQUIDATION_STEP: usize = 30;
/// A walk of so many steps is as wide as a step times the root of their number times this.
const WIDTH: f64 = 1.4;
/// Chance of a minute that goes a tick above where it opens and closes; of one that goes below.
const WICK: f64 = 0.25;
/// Where the way of a price begins and ends, so small a part of the session is bent less.
const TAPER: i64 = 25;
/// A way is bent no more than this: from 1 on parts of it run along an extreme.
const MOST_BEND: f64 = 2.5;

/// A minute with trades: how much it trades against others, its free shares, and the price that is planned for its end.
#[derive(Clone, Copy)]
struct Slot {
    minute: u16,
    weight: f64,
    shares: i64,
    place: f64,
}

/// The minutes of a session, and room for those of one name.
pub(super) struct Minutes {
    date: NaiveDate,
    hours: Hours,
    /// What part of the shares is usually traded in each minute of continuous trading; they add up to 1.
    profile: Vec<f64>,
    slots: Vec<Slot>,
}

impl Minutes {
    /// The minutes of a session.
    pub(super) fn of(date: NaiveDate, hours: Hours) -> Self {
        let profile = shape((hours.close - hours.open).num_minutes() - CLOSING_AUCTION);
        Self { date, hours, profile, slots: Vec::new() }
    }

    /// Gives the bars of a name's session, in order.
    pub(super) fn bars(
        &mut self,
        name: &Name,
        day: &Day,
        trade: Trade,
        (bar, lots): (&Bar, Lots),
        mut give: impl FnMut(&MinuteBar) -> Result<()>,
    ) -> Result<()> {
        let (Some(open), Some(high), Some(low)) = (bar.open, bar.high, bar.low) else { return Ok(()) };
        let prices = [open, high, low, bar.close];
        let mut dice = Dice::of(name.key ^ SALT, day.index as u64);
        let volume: i64 = lots.iter().sum();
        let trades = (real(volume) * real(bar.close) / TRADE_VALUE).min(real(volume)).max(1.0);
        let step = if trade == Trade::Liquidation { LIQUIDATION_STEP } else { 1 };
        // One share at each of the bar's four prices, and two others in each minute at least.
        let most = if high == low { volume - 1 } else { volume / 2 - 2 };
        self.draw(trades, step, most.max(1), &mut dice);

        let minutes = i64::try_from(self.slots.len()).unwrap_or(0);
        let mut path = Path::new(day.board(bar.market, bar.kind).table, prices, lots, minutes);
        let closing = if volume > 1 && dice.chance(busy(trades * AUCTION_TRADES)) {
            path.auction(whole(real(volume) * dice.between(AUCTION_SHARES.0, AUCTION_SHARES.1)))
        } else {
            0
        };
        path.plan(&mut self.slots, &mut dice);
        let mut bar = MinuteBar {
            code: name.code,
            time: self.date.and_time(self.hours.open),
            open,
            high,
            low,
            close: open,
            volume: 0,
            value: None,
        };
        let opens = bar.time;
        for slot in &self.slots {
            bar.time = opens + TimeDelta::minutes(i64::from(slot.minute));
            path.minute(*slot, &mut dice, &mut bar);
            give(&bar)?;
        }
        if closing > 0 {
            let [.., price] = prices;
            (bar.open, bar.high, bar.low, bar.close) = (price, price, price, price);
            (bar.time, bar.volume, bar.value) =
                (self.date.and_time(self.hours.close), closing, Some(closing * price));
            give(&bar)?;
        }
        Ok(())
    }

    /// Draws the minutes in which there are trades. Their weights add up to 1.
    fn draw(&mut self, trades: f64, step: usize, most: i64, dice: &mut Dice) {
        self.slots.clear();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut total = 0.0;
        for (minute, part) in (0u16..).zip(&self.profile).step_by(step) {
            let word = dice.next();
            let chance = busy(trades * part);
            if low_bits(word) < chance && self.slots.len() < most {
                let mood = low_bits(word >> 16);
                let weight = part / chance * (0.2 + mood / (1.1 - mood));
                total += weight;
                self.slots.push(Slot { minute, weight, shares: 0, place: 0.0 });
            }
        }
        if self.slots.is_empty() {
            let minute = dice.below(self.profile.len()) / step * step;
            let minute = u16::try_from(minute).unwrap_or(0);
            self.slots.push(Slot { minute, weight: 1.0, shares: 0, place: 0.0 });
            total = 1.0;
        }
        for slot in &mut self.slots {
            slot.weight /= total;
        }
    }
}

/// The chance of a trade where so many are expected.
fn busy(trades: f64) -> f64 {
    1.0 - 1.0 / (1.0 + trades + 0.5 * trades * trades)
}

/// Trading is busy after the open, which comes with an auction of its own, and again before the close.
fn shape(minutes: i64) -> Vec<f64> {
    let weight = |minute: i64| {
        let opening = if minute == 0 { 8.0 } else { 0.0 };
        1.0 + opening + 3.5 * exp(-real(minute) / 18.0) + 1.2 * exp(-real(minutes - minute) / 25.0)
    };
    let total: f64 = (0..minutes).map(weight).sum();
    (0..minutes).map(|minute| weight(minute) / total).collect()
}

/// The way of a price through the minutes that have trades. Prices are counted from the low.
///
/// A bar's open, high, low and close are each paid by one share that has its minute; all other shares are free, and
/// what they are worth together is known. As long as what is left of it lies between all at the low and all at the
/// high, the rest of the way can be gone.
struct Path {
    table: TickTable,
    low: i64,
    range: i64,
    close: i64,
    /// The free shares that are left, what they are worth above the low, and what they would be by the plan.
    shares: i64,
    worth: i64,
    planned: f64,
    /// Free shares that were paid the close.
    at_close: i64,
    /// Minutes past, and all of them.
    minute: i64,
    minutes: i64,
    /// The last price.
    last: i64,
    /// When it is to be at the high and at the low.
    extremes: [(i64, i64); 2],
    /// Is the close paid in the last minute, and not in the auction?
    closes: bool,
}

impl Path {
    fn new(table: TickTable, [open, high, low, close]: [i64; 4], lots: Lots, minutes: i64) -> Self {
        let range = high - low;
        let free = lots.map(|lot| if range > 0 { lot - 1 } else { lot });
        Self {
            table,
            low,
            range,
            close: close - low,
            shares: free.iter().sum(),
            worth: free[0] * (open - low) + free[1] * range + free[3] * (close - low),
            planned: 0.0,
            at_close: free[3],
            minute: 0,
            minutes,
            last: open - low,
            extremes: [(0, range), (0, 0)],
            closes: true,
        }
    }

    /// Takes shares for the closing auction out of those that were paid the close; returns how many it trades.
    fn auction(&mut self, wish: i64) -> i64 {
        let spare = self.shares - self.minutes;
        let (paid, most) = if self.range > 0 { (1, self.at_close.min(spare - 1)) } else { (0, spare) };
        let free = wish.clamp(1 - paid, most.max(1 - paid));
        self.shares -= free;
        self.worth -= free * self.close;
        self.closes = false;
        free + paid
    }

    /// Deals the shares out to the minutes, and plans where the price is at the end of each.
    fn plan(&mut self, slots: &mut [Slot], dice: &mut Dice) {
        self.deal(slots);
        if self.range > 0 {
            self.walk(slots, dice);
            self.bend(slots);
        }
    }

    /// Each minute has a share; the last one two, so that it can take what is left.
    fn deal(&self, slots: &mut [Slot]) {
        let pool = (self.shares - self.minutes - 1).max(0);
        let (mut past, mut dealt, mut left) = (0.0, 0, self.shares);
        let Some((last, others)) = slots.split_last_mut() else { return };
        for slot in others {
            past += slot.weight;
            let upto = whole(real(pool) * past);
            slot.shares = 1 + upto - dealt;
            left -= slot.shares;
            dealt = upto;
        }
        last.shares = left;
    }

    /// From the open to the extremes and to the close, at random between them. Extremes are more often early than
    /// late, and often where the session begins or ends.
    fn walk(&mut self, slots: &mut [Slot], dice: &mut Dice) {
        let end = self.minutes - 1;
        let mut when = |price: i64| match price {
            price if price == self.last => (0, price),
            price if price == self.close => (end, price),
            _ => (whole(dice.unit() * dice.unit() * real(end)), price),
        };
        self.extremes = [when(self.range), when(0)];
        self.extremes.sort_unstable();
        let noise = real(self.range) / (WIDTH * real(self.minutes).sqrt());
        let mut place = real(self.last);
        for (minute, slot) in (0..).zip(slots) {
            let ahead = self.extremes.iter().find(|(when, _)| *when >= minute);
            let (when, price) = *ahead.unwrap_or(&(end, self.close));
            let left = real(when - minute);
            place += (real(price) - place) / (left + 1.0);
            if left > 0.0 {
                place = (place + noise * dice.bell()).clamp(0.0, real(self.range));
            }
            slot.place = place;
        }
    }

    /// Bends the way, less so where it begins and ends, until its mean price is that of the shares: what lies between
    /// the extremes is drawn towards one of them.
    fn bend(&mut self, slots: &mut [Slot]) {
        let range = real(self.range);
        let taper = 1.0 + real(self.minutes / TAPER);
        let bow = |minute: i64, slot: &Slot| {
            let inside = (real(minute + 1).min(real(self.minutes - minute)) / taper).min(1.0);
            inside * slot.place * (range - slot.place) / range
        };
        let (mut planned, mut room) = (0.0, 0.0);
        for (minute, slot) in (0..).zip(&*slots) {
            planned += real(slot.shares) * slot.place;
            room += real(slot.shares) * bow(minute, slot);
        }
        let bend =
            if room > 0.0 { ((real(self.worth) - planned) / room).clamp(-MOST_BEND, MOST_BEND) } else { 0.0 };
        for (minute, slot) in (0..).zip(slots) {
            slot.place = (slot.place + bend * bow(minute, slot)).clamp(0.0, range);
            self.planned += real(slot.shares) * slot.place;
        }
    }

    /// Goes through the next minute, and writes what it was like.
    fn minute(&mut self, slot: Slot, dice: &mut Dice, bar: &mut MinuteBar) {
        let before = self.last;
        let (mut open, mut close, worth) = self.trade(slot);
        let (mut high, mut low) = (open.max(close), open.min(close));
        // What was paid in the mean lies between the lowest and the highest.
        if worth < low * slot.shares {
            low = self.down(worth / slot.shares);
        } else if worth > high * slot.shares {
            high = self.up((worth + slot.shares - 1) / slot.shares);
        } else if slot.shares > 3 {
            let word = dice.next();
            high = if low_bits(word) < WICK { self.up(high + 1) } else { high };
            low = if low_bits(word >> 16) < WICK { self.down(low - 1) } else { low };
        }
        let (mut volume, mut value) = (slot.shares, worth);
        if self.range > 0 {
            let mut pay = |price: i64| {
                (volume, value) = (volume + 1, value + price);
                (high, low) = (high.max(price), low.min(price));
            };
            for (when, price) in self.extremes {
                if when == self.minute {
                    pay(price);
                }
            }
            if self.minute == 0 {
                pay(before);
                open = before;
            }
            if self.closes && self.minute + 1 == self.minutes {
                pay(self.close);
                close = self.close;
            }
        }
        self.minute += 1;
        self.last = close;
        (bar.open, bar.high, bar.low, bar.close) =
            (self.low + open, self.low + high, self.low + low, self.low + close);
        (bar.volume, bar.value) = (volume, Some(value + volume * self.low));
    }

    /// Trades free shares: the first and the last price, and what all are worth. All that the plan is off so far is
    /// spread over what is left.
    fn trade(&mut self, slot: Slot) -> (i64, i64, i64) {
        let shares = slot.shares;
        let off = (real(self.worth) - self.planned) / real(self.shares.max(1));
        let least = (self.worth - self.range * (self.shares - shares)).max(0);
        let most = self.worth.min(self.range * shares);
        let mut open = self.last;
        let mut close = (snap(self.table, real(self.low) + slot.place + off) - self.low).clamp(0, self.range);
        let worth = if shares == 1 && shares < self.shares {
            // A single share has a price of the grid.
            if close > most {
                close = self.down(most);
            } else if close < least {
                close = self.up(least);
            }
            open = close;
            close
        } else {
            let wanted = shares * (open + close) / 2;
            let worth = wanted.clamp(least, most);
            if worth != wanted {
                // What is left allows no other price.
                close = self.down(worth / shares);
            }
            worth
        };
        self.shares -= shares;
        self.worth -= worth;
        self.planned -= real(shares) * slot.place;
        (open, close, worth)
    }

    /// The next price of the grid at or below.
    fn down(&self, price: i64) -> i64 {
        let price = self.low + price;
        (price - price % tick::size(self.table, price) - self.low).max(0)
    }

    /// The next price of the grid at or above.
    fn up(&self, price: i64) -> i64 {
        (tick::round_up(self.table, self.low + price) - self.low).min(self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::tick::{Grid, grid};
    use crate::market::{self, Calendar, ymd};
    use crate::source::sim::bar::bar;
    use crate::source::sim::testing::{Range, extract, judge, months, some_codes, walk_through};

    /// All months; two closes; a first session of a year; an exam.
    fn ranges() -> Vec<Range> {
        let odd = [(2016, 7, 29), (2016, 8, 1), (2024, 1, 2), (2026, 11, 19)].map(|(y, m, d)| ymd(y, m, d));
        months().into_iter().chain(odd.map(|day| (day, day))).collect()
    }

    fn hours(calendar: &Calendar, date: NaiveDate) -> Hours {
        let market::Day::Session(Some(hours)) = calendar.day(date) else { panic!("{date}") };
        hours
    }

    /// What a name's minutes must be.
    fn check(day: &Bar, lots: Lots, bars: &[MinuteBar], hours: Hours, table: TickTable) {
        let prices = [day.open, day.high, day.low, Some(day.close)];
        let (first, last) = (bars.first().unwrap(), bars.last().unwrap());
        assert_eq!((Some(first.open), last.close), (day.open, day.close), "{day:?}");
        assert_eq!(bars.iter().map(|b| b.high).max(), day.high, "{day:?}");
        assert_eq!(bars.iter().map(|b| b.low).min(), day.low, "{day:?}");
        assert_eq!(bars.iter().map(|b| b.volume).sum::<i64>(), lots.iter().sum::<i64>(), "{day:?}");
        let value: i64 = lots.iter().zip(prices).map(|(lot, price)| lot * price.unwrap()).sum();
        assert_eq!(bars.iter().filter_map(|b| b.value).sum::<i64>(), value, "{day:?}");
        assert!(bars.is_sorted_by(|a, b| a.time < b.time), "{day:?}");
        let quiet = hours.close - TimeDelta::minutes(CLOSING_AUCTION);
        for bar in bars {
            let time = bar.time.time();
            assert!(bar.time.date() == day.time && time >= hours.open, "{bar:?}");
            assert!(time < quiet || time == hours.close && bar.high == bar.low, "{bar:?}");
            let all = [bar.open, bar.high, bar.low, bar.close];
            assert!(all.iter().all(|price| (bar.low..=bar.high).contains(price)), "{bar:?}");
            let value = bar.value.unwrap();
            assert!(
                bar.volume > 0 && bar.low * bar.volume <= value && value <= bar.high * bar.volume,
                "{bar:?}"
            );
            assert!(bar.volume > 1 || all == [value; 4], "{bar:?}");
            for price in all {
                assert!(grid(table, price) == Grid::On || prices.contains(&Some(price)), "{bar:?} {day:?}");
            }
        }
    }

    #[test]
    fn minutes_add_up_to_the_bar() {
        let calendar = Calendar::shipped();
        let (mut counts, mut off_book) = (Vec::new(), 0);
        for range in ranges() {
            walk_through(range, 1, |name, walker, day, trade| {
                // One name in sixteen, others every session.
                if !(name.key ^ day.index as u64).is_multiple_of(16) {
                    return;
                }
                let hours = hours(&calendar, day.date);
                let (bar, lots) = bar(walker, name, day, trade);
                let mut bars = Vec::new();
                Minutes::of(day.date, hours)
                    .bars(name, day, trade, (&bar, lots), |bar| {
                        bars.push(*bar);
                        Ok(())
                    })
                    .unwrap();
                if bar.volume == 0 {
                    return assert!(bars.is_empty());
                }
                check(&bar, lots, &bars, hours, day.board(bar.market, bar.kind).table);
                counts.push(bars.len());
                off_book += usize::from(lots.iter().sum::<i64>() < bar.volume);
            });
        }
        assert!(off_book > 0 && off_book * 200 < counts.len(), "{off_book} of {} with blocks", counts.len());
        counts.sort_unstable();
        let of = |percent: usize| counts[counts.len() * percent / 100];
        assert!(
            of(5) < 20 && (150..300).contains(&of(50)) && of(92) > 330,
            "{} {} {}",
            of(5),
            of(50),
            of(92)
        );
    }

    #[test]
    fn minutes_keep_every_rule() {
        let codes = some_codes(3, 40);
        for range in ranges() {
            let rows = extract("ohlcv-minute", range, &codes, 3).unwrap();
            assert_eq!(judge("ohlcv-minute", range, &rows), 0, "{range:?}");
            assert!(rows.len() > 5_000, "{range:?}: {}", rows.len());
        }
    }

    #[test]
    fn prices_go_step_by_step() {
        let calendar = Calendar::shipped();
        let (mut wide, mut all) = (0, 0);
        walk_through((ymd(2026, 11, 16), ymd(2026, 11, 17)), 1, |name, walker, day, trade| {
            let (bar, lots) = bar(walker, name, day, trade);
            let range = bar.high.unwrap_or(0) - bar.low.unwrap_or(0);
            let tick = tick::size(day.board(bar.market, bar.kind).table, bar.close);
            let mut bars = Vec::new();
            let mut minutes = Minutes::of(day.date, hours(&calendar, day.date));
            if trade == Trade::Regular && range > 15 * tick {
                minutes
                    .bars(name, day, trade, (&bar, lots), |bar| {
                        bars.push(*bar);
                        Ok(())
                    })
                    .unwrap();
            }
            if bars.len() > 250 {
                all += 1;
                wide += usize::from(bars.iter().filter(|b| 2 * (b.high - b.low) > range).count() > 2);
            }
        });
        assert!(
            all > 1_000 && wide * 25 < all,
            "{wide} of {all} sessions jump over half their width and back"
        );
    }
}
