//! Daily bars (`FHKST03010100`): raw prices, at most 100 rows an answer, newest first.
//!
//! Since 2026-09-14 the bar that is read in the evening has the after-market's last price as its close, and its high and
//! low; it turns to the regular session's by the next morning. Volume and value keep the after-market's, as KRX's own
//! totals do.

use chrono::NaiveDate;
use serde::Deserialize;

use super::Quotes;
use super::history::History;
use super::names::Name;
use crate::dataset::ohlcv::Bar;
use crate::source::text::{self, Cell, Odd};

/// Daily bars.
pub(super) static BARS: History<Row> = History {
    rows: 100,
    question: |code, from, end| {
        Quotes::call(
            "domestic-stock/v1/quotations/inquire-daily-itemchartprice",
            "FHKST03010100",
            &[
                ("FID_COND_MRKT_DIV_CODE", "J"),
                ("FID_INPUT_ISCD", code),
                ("FID_INPUT_DATE_1", &text::compact(from)),
                ("FID_INPUT_DATE_2", &text::compact(end)),
                ("FID_PERIOD_DIV_CODE", "D"),
                // Raw: 0 would be adjusted.
                ("FID_ORG_ADJ_PRC", "1"),
            ],
        )
    },
    is_bounded: true,
    date: |row| &row.stck_bsop_date,
    put: |row, name, session, rows| {
        let bar = row.bar(name, session)?;
        rows.add(|out| bar.write(out));
        Ok(true)
    },
    missing: "KIS has no bar of it",
};

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct Row {
    stck_bsop_date: Cell,
    stck_oprc: Cell,
    stck_hgpr: Cell,
    stck_lwpr: Cell,
    stck_clpr: Cell,
    acml_vol: Cell,
    acml_tr_pbmn: Cell,
    prdy_vrss: Cell,
}

impl Row {
    fn bar(&self, name: &Name<'_>, time: NaiveDate) -> std::result::Result<Bar, Odd> {
        // Without trades the prices are 0; the flag for it (mod_yn) is never set.
        let price =
            |field, value: &str| text::whole(field, value).map(|price| price.filter(|price| *price != 0));
        let close = text::required("stck_clpr", &self.stck_clpr)?;
        let listing = name.at(time);
        Ok(Bar {
            code: name.code,
            time,
            open: price("stck_oprc", &self.stck_oprc)?,
            high: price("stck_hgpr", &self.stck_hgpr)?,
            low: price("stck_lwpr", &self.stck_lwpr)?,
            close,
            volume: text::required("acml_vol", &self.acml_vol)?,
            value: text::whole("acml_tr_pbmn", &self.acml_tr_pbmn)?,
            // The change bears its own sign; the code for it beside would turn it a second time.
            base: text::whole("prdy_vrss", &self.prdy_vrss)?.map(|change| close - change),
            market: listing.market,
            kind: listing.kind,
        })
    }
}
