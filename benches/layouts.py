"""How daily bars are best laid out on TimescaleDB: size, and what readers wait for, by layout.

usage: DATABASE_URL=… python3 benches/layouts.py FILE
FILE: rows of ohlcv with a header; the database has TimescaleDB, psql is at hand. Works in a schema of its own, `layouts`,
which it drops at the end. The table that it prints is in sql/migrations/0042_storage.sql.
"""

import os
import re
import subprocess
import sys

# Width of a part, segment by, order by; None: not compressed.
LAYOUTS = [
    ("7 days", "stock_code", "time"),
    ("1 month", "stock_code", "time"),
    ("1 year", "stock_code", "time"),
    ("2 years", "stock_code", "time"),
    ("5 years", "stock_code", "time"),
    ("1 month", "", "time, stock_code"),
    ("1 year", "time", "stock_code"),
    ("1 year", None, None),
]


def sql(text):
    text = "SET client_min_messages = warning; SET timezone = 'Asia/Seoul';" + text
    command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", os.environ["DATABASE_URL"]]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip()


def milliseconds(query):
    """Planning and execution: the median of seven."""
    times = []
    for _ in range(7):
        plan = sql(f"EXPLAIN (ANALYZE, TIMING OFF) {query}")
        times.append(sum(float(ms) for ms in re.findall(r"(?:Planning|Execution) Time: ([\d.]+)", plan)))
    return sorted(times)[3]


sql(f"""DROP SCHEMA IF EXISTS layouts CASCADE; CREATE SCHEMA layouts;
CREATE TABLE layouts.bars (stock_code text, time date, open integer, high integer, low integer, close integer, volume bigint,
                           value bigint, base_price integer, market text, security_type text);
\\copy layouts.bars FROM '{sys.argv[1]}' WITH (FORMAT csv, HEADER)
""")
stock = sql("SELECT stock_code FROM layouts.bars GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1")
session = sql("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY time) FROM layouts.bars")
for width, segment, order in LAYOUTS:
    sql(f"""DROP TABLE IF EXISTS layouts.t;
    CREATE TABLE layouts.t (LIKE layouts.bars, batch_id bigint NOT NULL DEFAULT 1, PRIMARY KEY (stock_code, time));
    SELECT create_hypertable('layouts.t', by_range('time', interval '{width}'), create_default_indexes => false);
    INSERT INTO layouts.t SELECT * FROM layouts.bars ORDER BY stock_code, time""")
    plain = int(sql("SELECT hypertable_size('layouts.t')"))
    if order:
        sql(f"""ALTER TABLE layouts.t SET (timescaledb.compress, timescaledb.compress_segmentby = '{segment}',
                                           timescaledb.compress_orderby = '{order}');
        SELECT compress_chunk(c) FROM show_chunks('layouts.t') c""")
    sql("VACUUM ANALYZE layouts.t")
    saved = 100 - 100 * int(sql("SELECT hypertable_size('layouts.t')")) / plain
    history = milliseconds(f"SELECT * FROM layouts.t WHERE stock_code = '{stock}' ORDER BY time")
    market = milliseconds(f"SELECT * FROM layouts.t WHERE time = '{session}'")
    print(
        f"{width:8} segment by {segment or '-':11} order by {order or '-':17} saved {saved:6.1f} %  "
        f"a stock's history {history:7.2f} ms  a session {market:7.2f} ms",
        flush=True,
    )
sql("DROP SCHEMA layouts CASCADE")
