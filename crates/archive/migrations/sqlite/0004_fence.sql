-- The run of the broker in which a room was compared last: what was read from the room's stream in
-- another run is not taken any more.
ALTER TABLE rooms ADD COLUMN run TEXT;

-- The newest run of each partition of the broker, by its place in their order.
CREATE TABLE runs (
    part BIGINT PRIMARY KEY,
    number BIGINT NOT NULL
) WITHOUT ROWID;
