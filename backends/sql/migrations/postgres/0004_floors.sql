-- Positions that were given up in every stream: nothing is appended at or below the highest. One row for each time that the
-- database was said to have been brought back to an earlier state.
CREATE TABLE IF NOT EXISTS floors (
    position BIGINT NOT NULL PRIMARY KEY CHECK (position > 0)
);
