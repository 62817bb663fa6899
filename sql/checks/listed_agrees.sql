-- Listed shares beside floating ones against the capitalisation's of the same session, or else the master's.
WITH judged AS (
    SELECT s.stock_code, s.time, s.listed_shares, s.floating_shares, coalesce(c.listed_shares, h.listed_shares) AS known
    FROM staged s
    LEFT JOIN market.market_cap_daily c ON c.stock_code = s.stock_code AND c.time = s.time AND c.time {days}
    LEFT JOIN market.stock_history h
           ON h.stock_code = s.stock_code AND h.valid_from <= s.time AND (h.valid_to IS NULL OR h.valid_to > s.time)
), odd AS (
    SELECT * FROM judged
    -- Sources count in thousand shares; an issue of new shares is not seen by all on the same day.
    WHERE known IS NOT NULL AND (abs(listed_shares - known) > 1000 + 0.01 * known OR floating_shares > known + 1000)
)
SELECT '{dataset}.listed_agrees', 'flag', stock_code, time,
       format('listed_shares=%s floating_shares=%s, elsewhere %s are listed', listed_shares, floating_shares, known)
FROM odd
UNION ALL
SELECT '{dataset}.listed_agrees', 'gate', NULL, NULL,
       format('%s of %s names have other listed shares elsewhere', o.n, j.n)
FROM (SELECT count(*) AS n FROM odd) o, (SELECT count(*) AS n FROM judged WHERE known IS NOT NULL) j
WHERE o.n > 10 AND o.n > 0.1 * j.n
