//! Random numbers that depend on nothing but what they are asked about.
//!
//! Only additions, multiplications and divisions: every machine draws the same market.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const STRIDE: u64 = 0xD1B5_4A32_D192_ED03;

/// splitmix64.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The dice of one question, e.g. (a name's key, a session).
    pub(super) fn of(key: u64, index: u64) -> Self {
        Self(key.wrapping_add(index.wrapping_mul(STRIDE)))
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.next())
    }

    /// Uniform between two numbers.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Nearly normal, within ±3.46 standard deviations.
    pub(super) fn bell(&mut self) -> f64 {
        let word = self.next();
        let sum = [word, word >> 16, word >> 32, word >> 48].map(low_bits).iter().sum::<f64>();
        (sum - 2.0) * 3f64.sqrt()
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let word = usize::try_from(self.next() >> 33).unwrap_or(0);
        word % count.max(1)
    }

    /// Uniform in a window that begins at a number.
    pub(super) fn near(&mut self, start: f64, window: usize) -> usize {
        usize::try_from(whole(start)).unwrap_or(0) + self.below(window)
    }

    /// One of a list.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Mean size of a shock, and what is taken off because jumps up are larger than jumps down.
pub(super) const MEAN_SHOCK: f64 = 0.83;
const DRIFT: f64 = 0.105;

/// A shock with fat tails, the upper one fatter, from a normal and a uniform number.
pub(super) fn shock(bell: f64, tail: f64) -> f64 {
    let stretch = 0.03 / (tail + 0.004);
    bell * (0.72 + if bell > 0.0 { 2.6 * stretch } else { stretch }) - DRIFT
}

/// The upper 32 bits as a number in 0..1.
pub(super) fn unit(word: u64) -> f64 {
    f64::from((word >> 32) as u32) / 4_294_967_296.0
}

/// The lower 16 bits as a number in 0..1.
pub(super) fn low_bits(word: u64) -> f64 {
    f64::from((word & 0xFFFF) as u16) / 65_536.0
}

/// e to the power of x, for |x| below about 10; good to a few per cent, and the same on every machine.
pub(super) fn exp(x: f64) -> f64 {
    let mut power = 1.0 + x / 1024.0;
    for _ in 0..10 {
        power *= power;
    }
    power
}

/// A count or a price as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "prices, shares and values are below 2^53")]
pub(super) fn real(n: i64) -> f64 {
    n as f64
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "a price, a number of shares or a value")]
pub(super) fn whole(x: f64) -> i64 {
    (x + 0.5) as i64
}
