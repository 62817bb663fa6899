//! Names, codes and ISINs of simulated companies: they look real and are not.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDate};

use super::dice::{Dice, real};
use super::sector::Industry::{
    self, Chemical, Construction, Electronics, Finance, Food, Leisure, Machinery, Medical, Metal, Paper,
    Pharma, Retail, Securities, Services, Shipping, Software, Telecom, Textile, Vehicle,
};
use crate::market::tick::FACTS_FROM;
use crate::market::{Isin, StockCode, ymd};

/// A syllable or a word in Korean and in English.
type Word = (&'static str, &'static str);

// None of the lists can bring forth 리츠 or 스팩: these words tell the kind of a security.
#[rustfmt::skip]
const FIRST: &[Word] = &[
    ("가", "Ga"), ("경", "Kyung"), ("광", "Kwang"), ("국", "Kuk"), ("금", "Keum"), ("나", "Na"), ("남", "Nam"),
    ("다", "Da"), ("대", "Dae"), ("도", "Do"), ("동", "Dong"), ("두", "Doo"), ("라", "Ra"), ("명", "Myung"),
    ("미", "Mi"), ("백", "Baek"), ("보", "Bo"), ("부", "Boo"), ("서", "Seo"), ("선", "Sun"), ("세", "Se"),
    ("송", "Song"), ("신", "Shin"), ("아", "A"), ("영", "Young"), ("예", "Ye"), ("오", "O"), ("용", "Yong"),
    ("우", "Woo"), ("원", "Won"), ("유", "Yu"), ("은", "Eun"), ("인", "In"), ("일", "Il"), ("재", "Jae"),
    ("정", "Jung"), ("제", "Je"), ("조", "Jo"), ("진", "Jin"), ("창", "Chang"), ("천", "Chun"), ("청", "Cheong"),
    ("태", "Tae"), ("하", "Ha"), ("한", "Han"), ("해", "Hae"), ("호", "Ho"), ("화", "Hwa"), ("흥", "Heung"),
];
#[rustfmt::skip]
const SECOND: &[Word] = &[
    ("강", "gang"), ("건", "gun"), ("경", "kyung"), ("광", "kwang"), ("국", "guk"), ("남", "nam"), ("담", "dam"),
    ("도", "do"), ("람", "ram"), ("린", "rin"), ("명", "myung"), ("무", "moo"), ("미", "mi"), ("산", "san"),
    ("상", "sang"), ("서", "seo"), ("선", "sun"), ("솔", "sol"), ("승", "seung"), ("신", "shin"), ("아", "a"),
    ("안", "an"), ("양", "yang"), ("연", "yeon"), ("영", "young"), ("온", "on"), ("우", "woo"), ("운", "woon"),
    ("원", "won"), ("유", "yu"), ("율", "yul"), ("은", "eun"), ("인", "in"), ("일", "il"), ("주", "ju"),
    ("진", "jin"), ("창", "chang"), ("천", "chun"), ("평", "pyung"), ("해", "hae"), ("현", "hyun"), ("환", "hwan"),
    ("흥", "heung"), ("희", "hee"),
];
#[rustfmt::skip]
const LETTERS: &[Word] = &[
    ("에이", "A"), ("비", "B"), ("씨", "C"), ("디", "D"), ("이", "E"), ("에프", "F"), ("지", "G"), ("아이", "I"),
    ("제이", "J"), ("케이", "K"), ("엠", "M"), ("엔", "N"), ("오", "O"), ("피", "P"), ("에스", "S"), ("티", "T"),
    ("유", "U"),
];
/// What a company does, in its name.
#[rustfmt::skip]
const TRADES: &[(&str, &str, Industry)] = &[
    ("산업", "Industrial", Machinery), ("전자", "Electronics", Electronics), ("화학", "Chemical", Chemical),
    ("제약", "Pharm", Pharma), ("바이오", "Bio", Pharma), ("테크", "Tech", Electronics),
    ("건설", "Construction", Construction), ("홀딩스", "Holdings", Finance), ("에너지", "Energy", Chemical),
    ("소프트", "Soft", Software), ("시스템", "System", Software), ("물산", "Trading", Retail),
    ("금속", "Metal", Metal), ("정밀", "Precision", Medical), ("메디칼", "Medical", Medical),
    ("엔터", "Entertainment", Leisure), ("푸드", "Foods", Food), ("모빌리티", "Mobility", Vehicle),
    ("머티리얼즈", "Materials", Chemical), ("반도체", "Semiconductor", Electronics),
    ("로보틱스", "Robotics", Machinery), ("증권", "Securities", Securities), ("식품", "Food", Food),
    ("제지", "Paper", Paper), ("철강", "Steel", Metal), ("통신", "Telecom", Telecom),
    ("솔루션", "Solution", Software), ("네트웍스", "Networks", Software), ("디스플레이", "Display", Electronics),
    ("게임즈", "Games", Leisure), ("케미칼", "Chem", Chemical), ("중공업", "Heavy Industries", Vehicle),
    ("해운", "Shipping", Shipping), ("섬유", "Textile", Textile), ("기계", "Machinery", Machinery),
    ("옵틱스", "Optics", Medical), ("셀", "Cell", Pharma), ("랩", "Lab", Services),
    ("생명과학", "Life Science", Pharma), ("파워", "Power", Electronics), ("모터스", "Motors", Vehicle),
    ("이엔지", "ENG", Construction), ("코스메틱", "Cosmetics", Chemical), ("미디어", "Media", Leisure),
    ("데이터", "Data", Software), ("환경", "Environment", Services),
];
#[rustfmt::skip]
const SPONSORS: &[Word] = &[
    ("한빛", "Hanbit"), ("가온", "Gaon"), ("누리", "Nuri"), ("미르", "Mir"), ("다솜", "Dasom"), ("새벽", "Saebyeok"),
    ("온새", "Onsae"), ("해담", "Haedam"), ("참빛", "Chambit"), ("여울", "Yeoul"), ("별하", "Byeolha"),
    ("나래", "Narae"), ("단비", "Danbi"), ("마루", "Maru"), ("새움", "Saeum"), ("이든", "Eden"),
];

/// New codes bear a letter in their fifth place since then.
const LETTER_CODES_FROM: NaiveDate = ymd(2024, 1, 1);
const CODE_LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTVWXYZ";
/// Issuer numbers (the first five digits) given out before the simulation begins, and in each year after.
const FIRST_ISSUERS: usize = 13_000;
const ISSUERS_A_YEAR: f64 = 2_500.0;
/// Numbers are given out in roughly rising order: within a window of this many.
const ISSUER_WINDOW: usize = 60;

/// Numbers of funds: above those of all shares until 2023, and of those with letters.
const FUND_ISSUERS: usize = 46_400;
const FUND_LETTERS: usize = 500;
const FUND_STEP: usize = 20;

/// A Korean and an English name.
pub(super) type Pair = (String, String);

/// Gives out each name and each code once.
#[derive(Default)]
pub(super) struct Namer {
    names: HashSet<String>,
    codes: HashSet<StockCode>,
}

impl Namer {
    /// A company's name, and what it does.
    pub(super) fn company(&mut self, dice: &mut Dice) -> (Pair, Industry) {
        let mut industry = Services;
        let name = self.fresh(|| {
            let stem = stem(dice);
            let trade = dice.pick(TRADES);
            industry = trade.2;
            (format!("{}{}", stem.0, trade.0), format!("{} {}", stem.1, trade.1))
        });
        (name, industry)
    }

    /// A REIT's name.
    pub(super) fn reit(&mut self, dice: &mut Dice) -> Pair {
        self.fresh(|| {
            let stem = stem(dice);
            (format!("{}리츠", stem.0), format!("{} REIT", stem.1))
        })
    }

    /// A SPAC's name: each sponsor numbers its own.
    pub(super) fn spac(&mut self, dice: &mut Dice) -> Pair {
        let sponsor = dice.pick(SPONSORS);
        let mut number = 0;
        self.fresh(|| {
            number += 1;
            (format!("{}스팩{number}호", sponsor.0), format!("{} SPAC {number}", sponsor.1))
        })
    }

    fn fresh(&mut self, mut draw: impl FnMut() -> Pair) -> Pair {
        loop {
            let pair = draw();
            if self.names.insert(pair.0.clone()) {
                return pair;
            }
        }
    }

    /// A common share's code; names that were listed before the simulation begins have no date.
    pub(super) fn code(&mut self, listed: Option<NaiveDate>, dice: &mut Dice) -> StockCode {
        loop {
            let text = match listed {
                None => format!("{:05}0", dice.below(FIRST_ISSUERS) + 1),
                Some(date) if date >= LETTER_CODES_FROM => {
                    let years = years(LETTER_CODES_FROM, date);
                    let letter = char::from(*dice.pick(CODE_LETTERS));
                    format!("{:04}{letter}0", dice.near(years * 60.0, ISSUER_WINDOW) + 1)
                }
                Some(date) => {
                    let number = dice.near(years(FACTS_FROM, date) * ISSUERS_A_YEAR, ISSUER_WINDOW);
                    format!("{:05}0", FIRST_ISSUERS + 1 + number)
                }
            };
            let code = StockCode::parse(text.as_bytes()).expect("digits and letters");
            if self.codes.insert(code) {
                return code;
            }
        }
    }
}

fn stem(dice: &mut Dice) -> Pair {
    let (first, second) = if dice.chance(0.7) {
        (dice.pick(FIRST), dice.pick(SECOND))
    } else {
        (dice.pick(LETTERS), dice.pick(LETTERS))
    };
    (format!("{}{}", first.0, second.0), format!("{}{}", first.1, second.1))
}

fn years(from: NaiveDate, to: NaiveDate) -> f64 {
    real(i64::from(to.num_days_from_ce() - from.num_days_from_ce())) / 365.25
}

/// A fund's code, out of numbers that no share is given; new ones bear a letter. Funds that were listed before the simulation begins have no date.
pub(super) fn fund_code(number: usize, listed: Option<NaiveDate>, dice: &mut Dice) -> StockCode {
    let text = if listed.is_some_and(|date| date >= LETTER_CODES_FROM) {
        let letter = char::from(*dice.pick(CODE_LETTERS));
        format!("{:04}{letter}0", FUND_LETTERS + number * FUND_STEP + dice.below(FUND_STEP))
    } else {
        format!("{:05}0", FUND_ISSUERS + number * FUND_STEP + dice.below(FUND_STEP))
    };
    StockCode::parse(text.as_bytes()).expect("digits and letters")
}

/// The code of an issuer's preferred share: old ones end in 5, newer ones in K.
pub(super) fn preferred_code(common: StockCode, newer: bool) -> StockCode {
    let mut code = *common.as_bytes();
    code[5] = if newer { b'K' } else { b'5' };
    StockCode::parse(&code).expect("made from a code")
}

/// The ISIN of a share. A preferred share's bears a running number instead of the end of its code.
pub(super) fn isin(code: StockCode) -> Isin {
    let text = code.as_str();
    let body = match code.as_bytes()[5] {
        b'5' => format!("KR7{}100", &text[..5]),
        b'K' => format!("KR7{text}01"),
        _ => format!("KR7{text}00"),
    };
    (b'0'..=b'9')
        .find_map(|digit| Isin::parse(&[body.as_bytes(), &[digit]].concat()))
        .expect("one of the ten digits is right")
}
