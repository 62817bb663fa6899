-- around: the rows of the batch's lists, and production's of their neighbours.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT {columns} FROM staged
UNION ALL
SELECT {columns}
FROM market.{table} p
WHERE p.time {days_beside}
  AND EXISTS (SELECT FROM neighbours n
              WHERE n.slice = p.{slice} AND (NOT n.is_own AND n.time = p.time OR NOT n.prev_is_own AND n.prev_time = p.time));
CREATE INDEX ON around ({slice}, time);
ANALYZE around;
