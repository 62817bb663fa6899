-- Lists that lost more than 10 and a fifth of what the snapshot before holds. {same_row}: what tells a row b from a.
WITH kept AS (
    SELECT n.slice, n.time, n.prev_time, n.prev_rows, count(a.time) AS rows
    FROM neighbours n
    JOIN around b ON b.{slice} = n.slice AND b.time = n.prev_time
    LEFT JOIN around a ON a.{slice} = n.slice AND a.time = n.time AND {same_row}
    GROUP BY 1, 2, 3, 4
)
SELECT '{dataset}.few_are_replaced', 'flag', slice, time,
       format('%s of the %s rows of %s on %s are others on %s', prev_rows - rows, prev_rows, slice, prev_time, time)
FROM kept
WHERE prev_rows - rows > 10 AND prev_rows - rows > 0.2 * prev_rows
