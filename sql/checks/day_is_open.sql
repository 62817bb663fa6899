-- A day that the calendar has closed since the batch was validated.
SELECT 'row.on_a_session', 'gate', NULL::text, t.time,
       format('%s rows of %s, on which the market was closed: a session is added with `kdata calendar add`', t.rows, t.time)
FROM staged_times t CROSS JOIN ops.settings o
WHERE t.rows > 0 AND t.time BETWEEN o.covers_from AND o.covers_to
  AND NOT EXISTS (SELECT FROM market.trading_days d WHERE d.time = t.time)
