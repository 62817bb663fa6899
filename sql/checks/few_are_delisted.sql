-- Names that go inactive at a master, against those active at the master before it.
WITH masters AS (
    SELECT time FROM staged_times
    UNION
    SELECT m.time FROM market.session_status m WHERE m.dataset = 'stocks'
), judged AS (
    SELECT x.time, (SELECT max(m.time) FROM masters m WHERE m.time < x.time) AS before
    FROM (SELECT time FROM batch_times UNION SELECT next_known FROM batch_times WHERE next_known IS NOT NULL) x
), gone AS (
    SELECT j.time, j.before,
           -- A list of the delisted also tells of names that were never known: nothing leaves with them.
           (SELECT count(*) FROM incoming_history h
            JOIN incoming_history b ON b.stock_code = h.stock_code AND b.valid_to = h.valid_from AND b.is_active
            WHERE h.valid_from = j.time AND NOT h.is_active) AS names,
           (SELECT count(*) FROM incoming_history h
            WHERE h.is_active AND h.valid_from <= j.before AND (h.valid_to IS NULL OR h.valid_to > j.before)) AS active,
           (SELECT count(*) FROM market.trading_days d WHERE d.time > j.before AND d.time <= j.time) AS passed
    FROM judged j WHERE j.before IS NOT NULL
)
SELECT 'stocks.few_are_delisted', 'gate', NULL::text, time,
       format('%s of %s names would become inactive on %s; delistings of %s sessions since %s explain at most %s',
              names, active, time, passed, before, floor(active * (0.01 + 0.0002 * passed)))
FROM gone
WHERE names > active * (0.01 + 0.0002 * passed)
