-- The sessions of a range that are promoted final, with all names that the source gives: nothing is left to fetch.
-- $1: the dataset; $2, $3: the range.
SELECT time FROM market.session_status
WHERE dataset = $1 AND time BETWEEN $2 AND $3 AND finality = 'final' AND names <> 'list'
