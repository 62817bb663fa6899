-- Names that this batch makes inactive. Those that a list of delisted names shows for the first time were so already.
SELECT 'stocks.name_is_gone', 'note', h.stock_code, h.valid_from,
       format('%s (%s) is in no master since %s', h.stock_code, h.name, h.valid_from)
FROM incoming_history h
JOIN incoming_history b ON b.stock_code = h.stock_code AND b.valid_to = h.valid_from AND b.is_active
WHERE NOT h.is_active
  AND NOT EXISTS (SELECT FROM market.stock_history m
                  WHERE m.stock_code = h.stock_code AND m.valid_from = h.valid_from AND NOT m.is_active)
