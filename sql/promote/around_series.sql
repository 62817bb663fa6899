-- around: the batch's rows, and production's rows of the sessions beside them that the batch does not hold.
-- {columns} are the dataset's, {table} is its table, {beside} those sessions, written out.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT {columns} FROM staged
UNION ALL
SELECT {columns} FROM market.{table} p
WHERE p.time = ANY ({beside});
ANALYZE around;
