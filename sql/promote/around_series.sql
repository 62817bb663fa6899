-- around: the batch's rows, and production's rows of the sessions before them that the batch does not hold.
-- {columns} are the dataset's, {table} is its table.
CREATE TEMP TABLE around ON COMMIT DROP AS
SELECT {columns} FROM staged
UNION ALL
SELECT {columns} FROM market.{table} p
WHERE p.time IN (SELECT s.prev_time FROM sessions s WHERE EXISTS (SELECT FROM staged_times t WHERE t.time = s.time)
                 EXCEPT SELECT time FROM staged_times);
ANALYZE around;

-- Which names each of these sessions claims to hold.
CREATE TEMP TABLE claims ON COMMIT DROP AS
SELECT t.time, job.names FROM staged_times t, job
UNION ALL
SELECT s.time, s.names FROM market.session_status s, job
WHERE s.dataset = job.dataset AND s.time NOT IN (SELECT time FROM staged_times)
  AND s.time IN (SELECT prev_time FROM sessions);
