//! How many of the listed shares float: those that no large holder keeps.

use chrono::{Datelike, NaiveDate};

use super::dice::{Dice, real, whole};
use super::roster::Name;
use super::walk::Walker;

/// What is drawn here is not what is drawn for a step.
const SALT: u64 = 0xF10A;
/// Floating shares of all shares in per cent: the mean, how far names differ, and how far one goes astray.
const MEAN: f64 = 58.0;
const SPREAD: f64 = 16.0;
const STRAY: f64 = 1.5;
const LEAST: f64 = 8.0;
const MOST: f64 = 99.5;

/// The floating part of a name's shares in hundredths of a per cent: reviewed twice a year.
pub(super) fn part(name: &Name, date: NaiveDate) -> i64 {
    let half_year = u64::from(date.year().unsigned_abs() * 2 + date.month0() / 6);
    let own = MEAN + SPREAD * Dice::of(name.key ^ SALT, 0).bell();
    let now = own + STRAY * Dice::of(name.key ^ SALT, half_year).bell();
    whole(100.0 * now.clamp(LEAST, MOST))
}

/// The floating shares of a name.
pub(super) fn shares(name: &Name, walker: &Walker, date: NaiveDate) -> i64 {
    whole(real(walker.shares) * real(part(name, date)) / 10_000.0)
}
