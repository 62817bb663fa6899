-- Sector codes that have two names on one session.
SELECT '{dataset}.code_has_one_name', 'flag', NULL::text, time,
       format('%s %s is %s', scheme, sector_code, string_agg(DISTINCT sector_name, ' and '))
FROM staged
WHERE sector_name IS NOT NULL
GROUP BY scheme, sector_code, time
HAVING count(DISTINCT sector_name) > 1
