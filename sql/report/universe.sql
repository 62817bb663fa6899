-- Who was listed on the sessions of a range, and as what. A master counts for the sessions up to 45 days after it, and
-- the first one for none before it.
SELECT h.stock_code, h.valid_from, h.valid_to, h.market, h.security_type, h.isin, h.name
FROM market.stock_history h
WHERE h.is_active AND h.valid_from <= $2 AND (h.valid_to IS NULL OR h.valid_to > $1)
  AND EXISTS (SELECT FROM market.session_status m
              WHERE m.dataset = 'stocks' AND m.names = 'whole' AND m.time BETWEEN $1::date - 45 AND $2)
ORDER BY h.stock_code, h.valid_from
