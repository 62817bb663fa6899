//! Kinds of investors, as KRX groups them.

use std::fmt;

/// Who bought and sold. In the order of streams (a key ascends by its bytes).
///
/// FOREIGN + INSTITUTION + RETAIL + `OTHER_CORPORATION` is everybody, so their net amounts add up to zero. PENSION is
/// a part of INSTITUTION: the two are never added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Investor {
    /// Registered and other foreigners together (외국인합: KRX 9000 + 9001).
    Foreign,
    /// All institutions, pension funds among them (기관합계).
    Institution,
    /// Companies that are no financial institutions (기타법인).
    OtherCorporation,
    /// Pension funds and the like (연기금 등, 기금공제).
    Pension,
    /// Individuals (개인).
    Retail,
}

impl Investor {
    /// All kinds, in the order of streams.
    pub const ALL: [Self; 5] =
        [Self::Foreign, Self::Institution, Self::OtherCorporation, Self::Pension, Self::Retail];

    /// The name in streams and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "FOREIGN",
            Self::Institution => "INSTITUTION",
            Self::OtherCorporation => "OTHER_CORPORATION",
            Self::Pension => "PENSION",
            Self::Retail => "RETAIL",
        }
    }

    /// Reads the name as written in streams and tables.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == bytes)
    }
}

impl fmt::Display for Investor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_ascend() {
        assert!(Investor::ALL.into_iter().all(|i| Investor::parse(i.as_str().as_bytes()) == Some(i)));
        assert!(Investor::ALL.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()));
        assert_eq!(Investor::parse(b"INSTITUTION_PURE"), None);
    }
}
