-- A session of the calendar within the batch's range has no row.
SELECT '{dataset}.session_is_there', '{missing_session}', NULL::text, s.time,
       'no row of ' || s.time || ' came'
FROM sessions s, job
WHERE s.certain AND job.names <> 'list'
  AND NOT EXISTS (SELECT FROM staged_times t WHERE t.time = s.time)
