-- How many names each session could be compared for.
SELECT time, count(*) FROM bases GROUP BY time ORDER BY time
