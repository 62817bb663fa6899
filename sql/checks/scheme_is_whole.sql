-- A scheme replaces what stands there as a whole: some of its names are not it.
SELECT '{dataset}.scheme_is_whole', 'gate', NULL::text, NULL::date,
       'the batch was asked for some names or markets only, and would replace its schemes whole'
FROM job
WHERE job.names = 'list' OR NOT job.markets @> ARRAY['KOSPI', 'KOSDAQ']
