-- Lists whose weights are not 100 per cent together. Judged where no row is {leveraged}; below, only where all are told.
WITH sums AS (
    SELECT {slice} AS slice, time, sum(weight) AS total, bool_and(weight IS NOT NULL) AS all_told,
           bool_or({leveraged}) AS leveraged
    FROM staged GROUP BY 1, 2
)
SELECT '{dataset}.weights_add_up', 'flag', slice, time,
       format('the weights of %s are %s per cent together', slice, trim_scale(total))
FROM sums
WHERE NOT leveraged AND (total > 105 OR (all_told AND total < 95))
