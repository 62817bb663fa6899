#!/bin/sh
# A year of history, dataset by dataset: masters first, since the others are compared with them. Usage:
#   sh examples/backfill-year.sh 2024 [--source marcap]
# Stopped at any moment, the same line goes on. What is not published yet (exit 9) does not keep the other datasets out;
# any other failure ends it, with its exit code.
set -eu
year=${1:?usage: $0 YEAR [options of kdata backfill]}
shift
status=0
for dataset in stocks ohlcv market-cap; do
    kdata backfill "$dataset" --from "$year-01-01" --to "$year-12-31" "$@" || {
        code=$?
        [ "$code" = 9 ] || exit "$code"
        status=9
    }
done
exit "$status"
