-- Which of the kept rows are meant; a parameter that is NULL leaves all. {view}: ops.kept_rejects or ops.kept_flags.
-- $1 ids, $2 dataset, $3 rule, $4 batch, $5 run, $6 session, $7 state, $8 severities.
SELECT * FROM {view} k
WHERE ($1::bigint[] IS NULL OR k.id = ANY ($1))
  AND ($2::text IS NULL OR k.dataset = $2)
  AND ($3::text IS NULL OR k.rule = $3)
  AND ($4::bigint IS NULL OR k.batch_id = $4)
  AND ($5::bigint IS NULL OR k.run_id = $5)
  -- Rejected rows bear their session as text, in whatever place their source has it.
  AND ($6::date IS NULL OR k.time = $6 OR ($6 BETWEEN k.from_time AND k.to_time AND k.row LIKE '%' || $6 || '%'))
  AND ($7::text IS NULL OR k.state = $7)
  AND ($8::text[] IS NULL OR k.severity = ANY ($8))
