-- Tells this file from an older copy of it: the sidecar file beside the database holds the same two
-- values. `incarnation` is random ('': never opened yet); `events` counts the events ever appended.
CREATE TABLE origin (
    incarnation TEXT NOT NULL,
    events BIGINT NOT NULL
);
INSERT INTO origin VALUES ('', 0);

-- Lives that nobody may go on with, because the file was restored and lacks the end of them.
CREATE TABLE ended_lives (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    epoch TEXT NOT NULL,
    PRIMARY KEY (room_id, epoch)
) WITHOUT ROWID;
