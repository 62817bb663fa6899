//! What companies do, and the sectors that KRX would put them in.

use crate::market::Market;

/// A line of business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Industry {
    Food,
    Textile,
    Paper,
    Chemical,
    Pharma,
    Metal,
    Machinery,
    Electronics,
    Medical,
    Vehicle,
    Retail,
    Construction,
    Shipping,
    Telecom,
    Finance,
    Securities,
    Services,
    RealEstate,
    Software,
    Leisure,
}

/// A sector: its code and its name.
pub(super) type Sector = (&'static str, &'static str);

/// By industry, the sector on KOSPI and the one on KOSDAQ, as KRX numbered and named them in January 2026: the leaves
/// only, so that a name has one.
#[rustfmt::skip]
const SECTORS: [(Sector, Sector); 20] = [
    (("1005", "음식료·담배"), ("2056", "음식료·담배")),
    (("1006", "섬유·의류"), ("2058", "섬유·의류")),
    (("1007", "종이·목재"), ("2062", "종이·목재")),
    (("1008", "화학"), ("2065", "화학")),
    (("1009", "제약"), ("2066", "제약")),
    (("1011", "금속"), ("2068", "금속")),
    (("1012", "기계·장비"), ("2070", "기계·장비")),
    (("1013", "전기전자"), ("2072", "전기전자")),
    (("1014", "의료·정밀기기"), ("2074", "의료·정밀기기")),
    (("1015", "운송장비·부품"), ("2075", "운송장비·부품")),
    (("1016", "유통"), ("2027", "유통")),
    (("1018", "건설"), ("2026", "건설")),
    (("1019", "운송·창고"), ("2029", "운송·창고")),
    (("1020", "통신"), ("2114", "통신")),
    (("1021", "금융"), ("2031", "금융")),
    (("1024", "증권"), ("2031", "금융")),
    (("1026", "일반서비스"), ("2012", "일반서비스")),
    (("1045", "부동산"), ("2012", "일반서비스")),
    (("1046", "IT 서비스"), ("2118", "IT 서비스")),
    (("1047", "오락·문화"), ("2037", "오락·문화")),
];

impl Industry {
    /// The sector on KOSPI or on KOSDAQ.
    pub(super) fn sector(self, market: Market) -> Sector {
        let (kospi, kosdaq) = SECTORS[self as usize];
        if market == Market::Kospi { kospi } else { kosdaq }
    }
}
