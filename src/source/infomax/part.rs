//! Lists of names that are longer than an answer, split by parts of their codes.

/// A part of the codes: the service's filter finds its text anywhere in them.
#[derive(Debug)]
pub(super) enum Part {
    /// Without letters, and beginning so.
    Prefix(String),
    /// With this text, which has a letter.
    Lettered(String),
}

impl Part {
    /// Prefixes of two digits, and every letter: together all codes.
    pub(super) fn first() -> Vec<Self> {
        let prefixes = (0..100).map(|n| Self::Prefix(format!("{n:02}")));
        prefixes.chain(('A'..='Z').map(|letter| Self::Lettered(letter.into()))).collect()
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Prefix(text) | Self::Lettered(text) => text,
        }
    }

    pub(super) fn holds(&self, code: &str) -> bool {
        match self {
            Self::Prefix(text) => code.starts_with(text) && !code.bytes().any(|b| b.is_ascii_uppercase()),
            Self::Lettered(text) => code.contains(text),
        }
    }

    /// Parts that hold the same codes together; `None` when it is a whole code already.
    pub(super) fn finer(&self) -> Option<Vec<Self>> {
        if self.text().len() >= 6 {
            return None;
        }
        Some(match self {
            Self::Prefix(text) => ('0'..='9').map(|digit| Self::Prefix(format!("{text}{digit}"))).collect(),
            Self::Lettered(text) => ('0'..='9')
                .chain('A'..='Z')
                .flat_map(|c| [Self::Lettered(format!("{c}{text}")), Self::Lettered(format!("{text}{c}"))])
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_code_at_every_depth() {
        for code in ["005930", "900140", "0126Z0", "00680K", "5A00B7", "A00000", "999999"] {
            let mut parts = Part::first();
            for _ in 0..3 {
                let holding: Vec<Part> = parts.into_iter().filter(|part| part.holds(code)).collect();
                assert!(!holding.is_empty(), "{code}");
                parts = holding.iter().filter_map(Part::finer).flatten().collect();
            }
        }
        assert!(!Part::Prefix("00".into()).holds("100590") && !Part::Prefix("00".into()).holds("00680K"));
        assert!(Part::Prefix("005930".into()).finer().is_none());
    }
}
