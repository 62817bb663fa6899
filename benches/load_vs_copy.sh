#!/bin/sh
# `kdata load` against psql's \copy of the same rows into the same kind of table, in turn; medians of the pairs.
# usage: benches/load_vs_copy.sh STREAM [PAIRS]    STREAM: a validated ohlcv stream of simulated data
# DATABASE_URL must be a demo database; the batches are dropped again.
set -eu
stream=$1
pairs=${2:-7}
kdata=${KDATA:-kdata}
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
grep -v '^#' "$stream" | tail -n +2 >"$rows"
columns="stock_code text, time date, open integer, high integer, low integer, close integer, volume bigint, value bigint, base_price integer, market text, security_type text"
now() { date +%s%N; }
for pair in $(seq "$pairs"); do
    a=$(now)
    batch=$($kdata -q load <"$stream")
    b=$(now)
    psql -qX "$DATABASE_URL" -c "DROP TABLE IF EXISTS public.copied" -c "CREATE TABLE public.copied ($columns)"
    c=$(now)
    psql -qX "$DATABASE_URL" -c "\\copy public.copied FROM '$rows' WITH (FORMAT csv)"
    d=$(now)
    $kdata -q rollback "$batch" >/dev/null
    echo "$(((b - a) / 1000000)) $(((d - c) / 1000000))"
done | awk '{ print "load " $1 " ms, \\copy " $2 " ms, ratio " $2 / $1; r[NR] = $2 / $1 }
    END { n = asort(r); print "median: load runs at " r[int((n + 1) / 2)] " x \\copy" }'
psql -qX "$DATABASE_URL" -c "DROP TABLE public.copied"
