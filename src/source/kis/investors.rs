//! Investors by name and session (`FHPTJ04160001`): about 30 rows an answer, newest first, up to a date.
//!
//! KIS's groups are individuals, foreigners (registered and others together), institutions (the pension fund, 기금, among
//! them) and others; their nets add up to zero only with the others whole, that is other corporations (기타법인) and other
//! organisations (기타단체) together. So `OTHER_CORPORATION` is KIS's whole group of others. Volumes are single shares,
//! values million KRW.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::Deserialize;

use super::Quotes;
use super::history::History;
use crate::dataset::investor_trading::Flow;
use crate::market::{Investor, StockCode};
use crate::source::text::{self, Cell, Odd};

/// What each kind of investor bought and sold.
pub(super) static INVESTORS: History<Row> = History {
    // As others have counted.
    rows: 30,
    question: |code, _, end| {
        Quotes::call(
            "domestic-stock/v1/quotations/investor-trade-by-stock-daily",
            "FHPTJ04160001",
            &[
                ("FID_COND_MRKT_DIV_CODE", "J"),
                ("FID_INPUT_ISCD", code),
                ("FID_INPUT_DATE_1", &text::compact(end)),
                ("FID_ORG_ADJ_PRC", ""),
                ("FID_ETC_CLS_CODE", ""),
            ],
        )
    },
    is_bounded: false,
    date: |row| row.cell("stck_bsop_date"),
    put: |row, name, session, rows| {
        let flows = row.flows(name.code, session)?;
        for flow in &flows {
            rows.add(|out| flow.write(out));
        }
        Ok(!flows.is_empty())
    },
    missing: "KIS has no figures of its investors",
};

/// Values are in million KRW.
pub(super) const UNIT: i64 = 1_000_000;

/// The cells of an answer's row by their names: six for each of fourteen groups of investors.
#[derive(Deserialize, Debug)]
#[serde(transparent)]
pub(super) struct Row(BTreeMap<String, Cell>);

/// The cells of each investor: shares bought and sold, value bought and sold, shares and value net.
static CELLS: [(Investor, [&str; 6]); 5] = [
    (
        Investor::Foreign,
        [
            "frgn_shnu_vol",
            "frgn_seln_vol",
            "frgn_shnu_tr_pbmn",
            "frgn_seln_tr_pbmn",
            "frgn_ntby_qty",
            "frgn_ntby_tr_pbmn",
        ],
    ),
    (
        Investor::Institution,
        [
            "orgn_shnu_vol",
            "orgn_seln_vol",
            "orgn_shnu_tr_pbmn",
            "orgn_seln_tr_pbmn",
            "orgn_ntby_qty",
            "orgn_ntby_tr_pbmn",
        ],
    ),
    (
        Investor::OtherCorporation,
        [
            "etc_shnu_vol",
            "etc_seln_vol",
            "etc_shnu_tr_pbmn",
            "etc_seln_tr_pbmn",
            "etc_ntby_qty",
            "etc_ntby_tr_pbmn",
        ],
    ),
    (
        Investor::Pension,
        [
            "fund_shnu_vol",
            "fund_seln_vol",
            "fund_shnu_tr_pbmn",
            "fund_seln_tr_pbmn",
            "fund_ntby_qty",
            "fund_ntby_tr_pbmn",
        ],
    ),
    (
        Investor::Retail,
        [
            "prsn_shnu_vol",
            "prsn_seln_vol",
            "prsn_shnu_tr_pbmn",
            "prsn_seln_tr_pbmn",
            "prsn_ntby_qty",
            "prsn_ntby_tr_pbmn",
        ],
    ),
];

impl Row {
    /// A cell; one that is not there is blank.
    fn cell(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |cell| cell)
    }

    /// What each investor did; empty where all figures are blank, as they are before they are known.
    fn flows(&self, code: StockCode, time: NaiveDate) -> std::result::Result<Vec<Flow>, Odd> {
        let shares = |field| text::whole(field, self.cell(field));
        let won = |field| {
            let expected = "an amount in million KRW";
            let odd = || Odd { field, text: self.cell(field).to_owned(), expected };
            let won = shares(field)?.map(|millions| millions.checked_mul(UNIT).ok_or_else(odd));
            won.transpose()
        };
        let mut flows = Vec::with_capacity(CELLS.len());
        for (investor, [bought, sold, bought_value, sold_value, net, net_value]) in &CELLS {
            let flow = Flow {
                code,
                time,
                investor: *investor,
                buy_volume: shares(bought)?,
                sell_volume: shares(sold)?,
                buy_value: won(bought_value)?,
                sell_value: won(sold_value)?,
                net_volume: shares(net)?,
                net_value: won(net_value)?,
            };
            let gross = [flow.buy_volume, flow.sell_volume, flow.buy_value, flow.sell_value];
            if gross.iter().chain(&[flow.net_volume, flow.net_value]).any(Option::is_some) {
                flows.push(flow);
            }
        }
        Ok(flows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::ymd;

    fn row(cells: &[(&str, &str)]) -> Row {
        let cell = |text: &str| serde_json::from_value::<Cell>(text.into()).unwrap();
        Row(cells.iter().map(|(name, text)| ((*name).to_owned(), cell(text))).collect())
    }

    fn flows(cells: &[(&str, &str)]) -> std::result::Result<Vec<Flow>, Odd> {
        row(cells).flows(StockCode::parse(b"005930").unwrap(), ymd(2025, 8, 11))
    }

    #[test]
    fn groups_become_investors() {
        // As KIS's portal shows them; institutions hold the pension fund.
        let flows = flows(&[
            ("frgn_ntby_qty", "-2029800"),
            ("frgn_seln_vol", "4557311"),
            ("frgn_shnu_vol", "2527511"),
            ("frgn_ntby_tr_pbmn", "-144363"),
            ("prsn_ntby_qty", "1686273"),
            ("orgn_ntby_qty", "-571822"),
            ("fund_ntby_qty", "-113436"),
            ("etc_corp_ntby_vol", "915000"),
            ("etc_orgt_ntby_vol", "349"),
            ("etc_ntby_qty", "915349"),
        ])
        .unwrap();
        let kinds: Vec<_> = flows.iter().map(|flow| flow.investor).collect();
        assert_eq!(kinds, Investor::ALL);
        let foreign = flows[0];
        assert_eq!((foreign.buy_volume, foreign.sell_volume), (Some(2_527_511), Some(4_557_311)));
        assert_eq!((foreign.net_value, foreign.buy_value), (Some(-144_363_000_000), None));
        let net: i64 =
            flows.iter().filter(|f| f.investor != Investor::Pension).filter_map(|f| f.net_volume).sum();
        assert_eq!(net, 0);
    }

    #[test]
    fn blanks_are_not_there_yet() {
        assert_eq!(
            flows(&[("prsn_ntby_qty", ""), ("frgn_ntby_qty", "-"), ("orgn_ntby_qty", "  ")]),
            Ok(vec![])
        );
        let one = flows(&[("prsn_ntby_qty", "0")]).unwrap();
        assert_eq!((one.len(), one[0].net_volume), (1, Some(0)));
        assert!(flows(&[("prsn_ntby_tr_pbmn", "12.5")]).is_err());
        assert!(flows(&[("prsn_ntby_tr_pbmn", "999999999999999")]).is_err());
    }
}
