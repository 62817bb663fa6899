//! KIS's master files: a zip each with one text file, a name a line, in fields of fixed width counted in bytes (a Korean
//! letter is two of CP949, so that text must not be cut before it is decoded). They need no key.
//!
//! They describe the opening of the present session: who is listed, as what, in which index and sector.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use chrono::{DateTime, NaiveDate, Utc};

use crate::error::{Error, Result};
use crate::market::{Isin, Market, SecurityType, StockCode};
use crate::settings::Secret;
use crate::source::http::{Answer, Call, Client, Vendor, Verdict, odd_answer};
use crate::source::text::{self, Odd};

const FOLDER: &str = "/common/master";
/// A master file has half a megabyte; what unpacks to more is none.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The master files ask for no proof of who asks.
pub(super) struct Files;

impl Vendor for Files {
    async fn sign(&self, _: &Client<'_>) -> Result<Vec<(&'static str, Secret)>> {
        Ok(Vec::new())
    }

    fn judge(&self, _: &Call, answer: &Answer) -> Verdict {
        match answer.status {
            // A download that was cut does not unpack: the next try may be whole.
            200 => match unpack(&answer.body) {
                Ok(_) => Verdict::Good,
                Err(what) => Verdict::Retry { what, after: None },
            },
            404 => Verdict::Fatal(Error::usage(
                "there is no such file (404)",
                "set KDATA_KIS_MASTER_URL to where KIS's master files are; KDATA_KIS_URL stands for it where it is set",
            )),
            _ => answer.by_status(),
        }
    }

    async fn renew(&self, _: &Client<'_>) -> Result<()> {
        Ok(())
    }
}

/// The base URL of the files: their folder may be part of it.
pub(super) fn base(url: &str) -> String {
    url.strip_suffix(FOLDER).unwrap_or(url).to_owned()
}

fn unpack(body: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let bad = |e: &dyn std::fmt::Display| format!("its answer is no zip file with a text in it: {e}");
    let mut archive = zip::ZipArchive::new(Cursor::new(body)).map_err(|e| bad(&e))?;
    let file = archive.by_index(0).map_err(|e| bad(&e))?;
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(|e| bad(&e))?;
    Ok(text)
}

/// A file's text. One that was changed last before the session before was over cannot know the opening of this one.
pub(super) async fn fetch(
    client: &Client<'_>,
    name: &str,
    session: NaiveDate,
    before_is_over: Option<DateTime<Utc>>,
) -> Result<Vec<u8>> {
    let call = Call::get(format!("{FOLDER}/{name}.mst.zip")).session(session);
    let read = |answer: &Answer| {
        let changed = answer.header("last-modified").and_then(|at| DateTime::parse_from_rfc2822(at).ok());
        if let (Some(changed), Some(over)) = (changed, before_is_over)
            && changed < over
        {
            return Err(Error::NotPublished {
                what: format!("kis: {name}.mst of {session} is not there yet: the file is of {changed}"),
                help: "it is renewed each morning: run again later".into(),
            });
        }
        unpack(&answer.body).map_err(odd_answer)
    };
    client.ask(&Files, &call, read).await
}

/// A name of the masters.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) code: StockCode,
    pub(super) isin: Option<Isin>,
    pub(super) name: String,
    pub(super) market: Market,
    pub(super) kind: SecurityType,
    pub(super) listing_date: Option<NaiveDate>,
    pub(super) par_value: Option<i64>,
    pub(super) listed_shares: Option<i64>,
    /// Of the index sectors: large, middle, small; four digits, absent where there is none.
    pub(super) sectors: [Option<String>; 3],
    /// Member of the market's index: KOSPI 200 or KOSDAQ 150.
    pub(super) is_member: bool,
}

/// A line that does not read.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) problem: String,
    /// What stands where the code should.
    pub(super) code: String,
    pub(super) text: String,
}

/// A field: where it begins behind the name, and its bytes.
type Field = (usize, usize);

/// Where the fields of a market's lines are. Code (9 bytes), ISIN (12) and name (40) come first.
struct Layout {
    /// Bytes behind the name.
    tail: usize,
    listing_date: Field,
    par_value: Field,
    thousand_shares: Field,
    capital: Field,
    preferred: Field,
    sectors: Option<[Field; 3]>,
    /// The flag of the market's index.
    member: Option<Flag>,
}

/// Where a flag is, and what tells a yes.
type Flag = (Field, fn(&str) -> bool);

const GROUP: Field = (0, 2);
const SECTORS: Option<[Field; 3]> = Some([(3, 4), (7, 4), (11, 4)]);

static KOSPI: Layout = Layout {
    tail: 227,
    listing_date: (105, 8),
    par_value: (93, 12),
    thousand_shares: (113, 15),
    capital: (128, 21),
    preferred: (158, 1),
    sectors: SECTORS,
    // The member's sector within KOSPI 200, a digit or a letter.
    member: Some(((18, 1), |flag| !matches!(flag, "0" | " "))),
};

static KOSDAQ: Layout = Layout {
    tail: 221,
    listing_date: (100, 8),
    par_value: (88, 12),
    thousand_shares: (108, 15),
    capital: (123, 21),
    preferred: (153, 1),
    sectors: SECTORS,
    member: Some(((35, 1), |flag| flag == "Y")),
};

static KONEX: Layout = Layout {
    tail: 184,
    listing_date: (66, 8),
    par_value: (54, 12),
    thousand_shares: (74, 15),
    capital: (89, 21),
    preferred: (119, 1),
    sectors: None,
    member: None,
};

/// The name of a market's file.
pub(super) fn file_of(market: Market) -> &'static str {
    match market {
        Market::Kospi => "kospi_code",
        Market::Kosdaq => "kosdaq_code",
        Market::Konex => "konex_code",
    }
}

/// Reads a market's file; what does not read is returned beside the names. A file of which no line reads has another
/// layout than is known here, and is refused.
pub(super) fn parse(market: Market, text: &[u8], session: NaiveDate) -> Result<(Vec<Entry>, Vec<BadLine>)> {
    let layout = match market {
        Market::Kospi => &KOSPI,
        Market::Kosdaq => &KOSDAQ,
        Market::Konex => &KONEX,
    };
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    for (number, line) in lines(text) {
        match entry(market, layout, line) {
            // What is to be listed later is not listed yet.
            Ok(Some(entry)) if entry.listing_date.is_none_or(|listed| listed <= session) => {
                entries.push(entry);
            }
            Ok(_) => {}
            Err(problem) => {
                let code = short_code(line).trim_start_matches('Q').to_owned();
                bad.push(BadLine { line: number, problem, code, text: decode(line) });
            }
        }
    }
    match (entries.is_empty(), bad.first()) {
        (false, _) => Ok((entries, bad)),
        (true, Some(BadLine { line, problem, .. })) => Err(odd_answer(format!(
            "kis: {}.mst has another layout than kdata knows: line {line}: {problem}",
            file_of(market)
        ))),
        (true, None) => Err(odd_answer(format!("kis: {}.mst names nobody", file_of(market)))),
    }
}

/// The lines that hold something, counted from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
}

fn decode(bytes: &[u8]) -> String {
    encoding_rs::EUC_KR.decode(bytes).0.into_owned()
}

fn short_code(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(9)]).trim().to_owned()
}

/// Reads a line; `None` for what is no share, ETF or ETN.
fn entry(market: Market, layout: &Layout, line: &[u8]) -> std::result::Result<Option<Entry>, String> {
    const NAME: usize = 61;
    if line.len() != NAME + layout.tail {
        return Err(format!("it has {} bytes, not {}", line.len(), NAME + layout.tail));
    }
    let tail = &line[NAME..];
    let field = |(from, width): Field| std::str::from_utf8(&tail[from..from + width]).unwrap_or("\u{fffd}");
    let group = field(GROUP);
    let Some(group) = Group::of(group).ok_or_else(|| format!("its group {group:?} is unknown"))? else {
        return Ok(None);
    };
    // ETNs bear a letter before their six characters, which kdata's codes do not have.
    let short = short_code(line);
    let short = if group == Group::Etn { short.strip_prefix('Q').unwrap_or(&short) } else { &short };
    let code =
        StockCode::parse(short.as_bytes()).ok_or_else(|| format!("its code {short:?} is no stock code"))?;
    let isin = match String::from_utf8_lossy(&line[9..21]).trim() {
        "" => None,
        isin => Some(Isin::parse(isin.as_bytes()).ok_or_else(|| format!("{isin:?} is no ISIN"))?),
    };
    let name = decode(&line[21..NAME]).trim().to_owned();
    let says = |odd: Odd| odd.to_string();
    let number = |name, at| text::whole(name, field(at)).map_err(says);
    let par_value = number("par value", layout.par_value)?.filter(|par| *par > 0);
    let thousands = number("listed shares", layout.thousand_shares)?;
    let capital = number("capital", layout.capital)?;
    let sector = |at: Field| Some(field(at).trim()).filter(|code| code.bytes().any(|b| b != b'0'));
    Ok(Some(Entry {
        code,
        isin,
        market,
        kind: group.kind(code, &name, market, field(layout.preferred)),
        name,
        listing_date: text::date("listing date", field(layout.listing_date)).map_err(says)?,
        par_value,
        listed_shares: exact_shares(capital, par_value, thousands),
        sectors: layout
            .sectors
            .map_or([const { None }; 3], |fields| fields.map(|at| sector(at).map(ToOwned::to_owned))),
        is_member: layout.member.is_some_and(|(at, tells)| tells(field(at))),
    }))
}

/// The file has shares in thousands, cut off. Capital by par value is exact where there is one class of shares and none
/// was retired; where the two agree it is taken, and else nothing: no count is better than a wrong one.
fn exact_shares(capital: Option<i64>, par: Option<i64>, thousands: Option<i64>) -> Option<i64> {
    let (capital, par) = (capital?, par?);
    let shares = capital / par;
    (capital % par == 0 && shares > 0 && Some(shares / 1000) == thousands).then_some(shares)
}

/// What the file calls a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    Share,
    Reit,
    /// Infrastructure and mutual funds, ship investment companies, depositary receipts: listed among the shares.
    OtherShare,
    Etf,
    Etn,
}

impl Group {
    /// By its code; `Some(None)` is known and no dataset's: warrants, subscription rights, beneficiary certificates.
    #[expect(clippy::option_option, reason = "unknown and not wanted are two things")]
    fn of(code: &str) -> Option<Option<Self>> {
        match code {
            "ST" | "FS" => Some(Some(Self::Share)),
            "RT" => Some(Some(Self::Reit)),
            "IF" | "MF" | "SC" | "DR" => Some(Some(Self::OtherShare)),
            "EF" | "FE" => Some(Some(Self::Etf)),
            "EN" => Some(Some(Self::Etn)),
            "EW" | "SW" | "SR" | "BC" => Some(None),
            _ => None,
        }
    }

    /// `preferred` is 0 for common shares, 1 and 2 for preferred ones of the old and the new kind.
    fn kind(self, code: StockCode, name: &str, market: Market, preferred: &str) -> SecurityType {
        let group = if self == Self::Reit { "부동산투자회사" } else { "주권" };
        let share = match preferred {
            "0" => "보통주",
            "1" | "2" => "우선주",
            _ => "",
        };
        match self {
            Self::Share | Self::Reit => SecurityType::of_master(code, name, market, group, share),
            Self::OtherShare => SecurityType::Stock,
            Self::Etf => SecurityType::Etf,
            Self::Etn => SecurityType::Etn,
        }
    }
}

/// Names of index sectors by code (`0013` of KOSPI, `1009` of KOSDAQ).
pub(super) fn parse_sectors(text: &[u8]) -> BTreeMap<String, String> {
    let named = |(_, line): (u64, &[u8])| {
        // A digit of the market, the code, the name.
        let code = std::str::from_utf8(line.get(1..5)?).ok()?;
        let name = decode(line.get(5..line.len().min(45))?).trim().to_owned();
        (!name.is_empty()).then(|| (code.to_owned(), name))
    };
    lines(text).filter_map(named).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::market::ymd;

    const TODAY: NaiveDate = ymd(2026, 11, 23);

    /// A line as the file has it: blanks and zeros where nothing is set.
    fn line(market: Market, head: (&str, &str, &str), fields: &[(Field, &str)]) -> Vec<u8> {
        let tail = match market {
            Market::Kospi => KOSPI.tail,
            Market::Kosdaq => KOSDAQ.tail,
            Market::Konex => KONEX.tail,
        };
        let mut line = vec![b' '; 61 + tail];
        let mut put = |at: usize, bytes: &[u8]| line[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, head.0.as_bytes());
        put(9, head.1.as_bytes());
        put(21, &encoding_rs::EUC_KR.encode(head.2).0);
        for ((from, width), value) in fields {
            assert_eq!(*width, value.len());
            put(61 + from, value.as_bytes());
        }
        line
    }

    fn one(market: Market, line: &[u8]) -> Entry {
        let (mut entries, bad) = parse(market, line, TODAY).unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        entries.remove(0)
    }

    fn kospi(head: (&str, &str, &str), group: &str, more: &[(Field, &str)]) -> Vec<u8> {
        let fields = [
            (GROUP, group),
            ((3, 4), "0027"),
            ((7, 4), "0009"),
            ((11, 4), "0000"),
            ((18, 1), "0"),
            ((93, 12), "000000001000"),
            ((105, 8), "19760324"),
            ((113, 15), "000000000027931"),
            ((128, 21), "000000000027931470000"),
            ((158, 1), "0"),
        ];
        line(Market::Kospi, head, &[&fields[..], more].concat())
    }

    #[test]
    fn kospi_lines() {
        let text = kospi(("000020", "KR7000020008", "동화약품"), "ST", &[]);
        assert_eq!(text.len(), 288);
        let entry = one(Market::Kospi, &text);
        assert_eq!((entry.code.as_str(), entry.name.as_str()), ("000020", "동화약품"));
        assert_eq!(entry.isin.unwrap().as_str(), "KR7000020008");
        assert_eq!(entry.listing_date, Some(ymd(1976, 3, 24)));
        assert_eq!((entry.par_value, entry.listed_shares), (Some(1_000), Some(27_931_470)));
        assert_eq!(entry.sectors, [Some("0027".into()), Some("0009".into()), None]);
        assert!(!entry.is_member);
        // A name that fills its forty bytes, a new code, a member by its sector.
        let long = "가나다라마바사아자차카타파하가나다라마바";
        let text = kospi(("0126Z0", "KR70126Z0002", long), "ST", &[((18, 1), "B")]);
        let entry = one(Market::Kospi, &[text, vec![b'\r', b'\n', b'\n']].concat());
        assert_eq!((entry.code.as_str(), entry.name.as_str(), entry.is_member), ("0126Z0", long, true));
    }

    #[test]
    fn kosdaq_and_konex_lines() {
        let fields = [
            (GROUP, "ST"),
            ((3, 4), "1009"),
            ((7, 4), "1024"),
            ((11, 4), "0000"),
            ((35, 1), "Y"),
            ((88, 12), "000000000500"),
            ((100, 8), "20001004"),
            ((108, 15), "000000000023457"),
            ((123, 21), "000000000011728736000"),
            ((153, 1), "0"),
        ];
        let text = line(Market::Kosdaq, ("000250", "KR7000250001", "삼천당제약"), &fields);
        assert_eq!(text.len(), 282);
        let entry = one(Market::Kosdaq, &text);
        assert!(entry.is_member);
        assert_eq!((entry.listing_date, entry.listed_shares), (Some(ymd(2000, 10, 4)), Some(23_457_472)));
        let fields = [(GROUP, "ST"), ((54, 12), "000000000500"), ((66, 8), "20150714"), ((119, 1), "0")];
        let entry = one(Market::Konex, &line(Market::Konex, ("217320", "", "썬테크"), &fields));
        assert_eq!((entry.isin, entry.listing_date), (None, Some(ymd(2015, 7, 14))));
        assert_eq!((entry.listed_shares, entry.sectors, entry.is_member), (None, [const { None }; 3], false));
    }

    #[test]
    fn groups_tell_the_kind() {
        for (code, name, group, preferred, kind) in [
            ("005935", "삼성전자우", "ST", "1", Some(SecurityType::Preferred)),
            ("00680K", "미래에셋증권2우B", "ST", "2", Some(SecurityType::Preferred)),
            ("456440", "스팩1호", "ST", "0", Some(SecurityType::Spac)),
            ("138040", "메리츠금융지주", "ST", "0", Some(SecurityType::Stock)),
            ("395400", "SK리츠", "RT", "0", Some(SecurityType::Reit)),
            ("088980", "맥쿼리인프라", "IF", "0", Some(SecurityType::Stock)),
            ("900140", "엘브이엠씨홀딩스", "FS", "0", Some(SecurityType::Stock)),
            ("069500", "KODEX 200", "EF", "0", Some(SecurityType::Etf)),
            ("Q500001", "신한 레버리지 ETN", "EN", "0", Some(SecurityType::Etn)),
            ("F70100026", "수익증권", "BC", "0", None),
            ("57B4AA", "워런트", "EW", "0", None),
        ] {
            let text = kospi((code, "", name), group, &[((158, 1), preferred)]);
            let read = entry(Market::Kospi, &KOSPI, &text).unwrap();
            assert_eq!(read.as_ref().map(|e| e.kind), kind, "{name}");
            assert!(read.is_none_or(|e| e.code.as_str() == code.trim_start_matches('Q')));
        }
    }

    #[test]
    fn shares_are_exact_or_unknown() {
        for (capital, par, thousands, shares) in [
            (Some(27_931_470_000), Some(1_000), Some(27_931), Some(27_931_470)),
            // Two classes of shares, or some retired.
            (Some(778_046_685_000), Some(100), Some(5_969_782), None),
            (Some(27_931_470_000), None, Some(27_931), None),
            (None, Some(500), Some(27_931), None),
            (Some(27_931_470_001), Some(1_000), Some(27_931), None),
            (Some(0), Some(1_000), Some(0), None),
        ] {
            assert_eq!(exact_shares(capital, par, thousands), shares);
        }
    }

    #[test]
    fn what_does_not_read_is_told() {
        let good = kospi(("000020", "KR7000020008", "동화약품"), "ST", &[]);
        let later = kospi(("000030", "", "곧상장"), "ST", &[((105, 8), "20261124")]);
        let short = &good[..280];
        let group = kospi(("000040", "", "모름"), "XX", &[]);
        let date = kospi(("000050", "", "날짜"), "ST", &[((105, 8), "19761324")]);
        let isin = kospi(("000060", "KR7000060009", "코드"), "ST", &[]);
        let text = [&good[..], &later, short, &group, &date, &isin].join(&b'\n');
        let (entries, bad) = parse(Market::Kospi, &text, TODAY).unwrap();
        assert_eq!(entries.len(), 1);
        let told: Vec<_> = bad.iter().map(|b| (b.line, b.problem.as_str())).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], (3, "it has 280 bytes, not 288"));
        assert!(told[1].1.contains("\"XX\"") && told[2].1.contains("19761324"), "{told:?}");
        assert!(bad[1].text.contains("모름") && bad[1].code == "000040");
        // All lines longer: the layout has changed.
        let error = parse(Market::Kospi, &[&good[..], b"0"].concat(), TODAY).unwrap_err();
        assert!(error.to_string().contains("another layout"), "{error}");
        assert!(parse(Market::Kospi, b"\n", TODAY).is_err());
    }

    #[test]
    fn sector_names() {
        let text = encoding_rs::EUC_KR.encode("00027제조       \n00013전기·전자\n11009제조\n\n1").0;
        let names = parse_sectors(&text);
        assert_eq!((names.len(), names["0013"].as_str(), names["1009"].as_str()), (3, "전기·전자", "제조"));
    }

    #[test]
    fn the_folder_may_be_part_of_the_url() {
        assert_eq!(base("http://x/common/master"), "http://x");
        assert_eq!(base("http://x"), "http://x");
    }
}
