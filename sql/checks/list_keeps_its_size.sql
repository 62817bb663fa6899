-- Lists whose number of rows moved by more than 10 and a share against the snapshot before.
SELECT '{dataset}.list_keeps_its_size', '{size_severity}', slice, time,
       format('%s has %s rows on %s, %s on %s', slice, rows, time, prev_rows, prev_time)
FROM neighbours
WHERE abs(rows - prev_rows) > 10 AND abs(rows - prev_rows) > {size_share} * prev_rows
