-- staged_days: the minutes of each name and session of the batch together.
CREATE TEMP TABLE staged_days ON COMMIT DROP AS
{days_of_minutes};
ANALYZE staged_days;
