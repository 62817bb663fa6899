"""The peer that `kdata validate` is measured against: pandas reads the CSV, pandera runs seven checks.

usage: python3 benches/validate_pandera.py FILE     (needs pandas and pandera; FILE: rows of ohlcv with a header)
"""

import sys
import time

import pandas as pd
import pandera.pandas as pa

schema = pa.DataFrameSchema(
    {
        "stock_code": pa.Column(str, pa.Check.str_length(6, 6)),
        "close": pa.Column(float, pa.Check.gt(0)),
        "volume": pa.Column(float, pa.Check.ge(0)),
        "value": pa.Column(float, pa.Check.ge(0)),
        "base_price": pa.Column(float, pa.Check.gt(0)),
    },
    checks=[
        pa.Check(lambda d: d["high"].isna() | (d["high"] >= d[["open", "low", "close"]].max(axis=1))),
        pa.Check(lambda d: d["low"].isna() | (d["low"] <= d[["open", "close"]].min(axis=1))),
    ],
)
start = time.perf_counter()
frame = pd.read_csv(sys.argv[1], comment="#", dtype={"stock_code": str, "market": str, "security_type": str}).astype(
    {c: float for c in ["open", "high", "low", "close", "volume", "value", "base_price"]}
)
try:
    schema.validate(frame, lazy=True)
except pa.errors.SchemaErrors as error:
    print(len(error.failure_cases), "failures")
seconds = time.perf_counter() - start
print(f"{len(frame)} rows, {seconds:.2f} s, {len(frame) / seconds:,.0f} rows/s")
