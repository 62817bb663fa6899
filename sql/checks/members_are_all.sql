-- Indices whose number of members is fixed.
SELECT '{dataset}.members_are_all', 'gate', x.slice, x.time,
       format('%s has %s members on %s', x.slice, x.rows, x.time)
FROM slices x
JOIN (VALUES ('1028', 195, 205), ('2203', 145, 155)) AS i(index_code, least, most) ON i.index_code = x.slice
WHERE x.rows NOT BETWEEN i.least AND i.most
