-- A room: its newest life and how far that goes, and its record where it has one. A direct message
-- is private and has two members, but no record.
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    room TEXT NOT NULL UNIQUE,
    epoch TEXT,
    top BIGINT NOT NULL DEFAULT 0,
    recorded BOOLEAN NOT NULL DEFAULT FALSE,
    private BOOLEAN NOT NULL DEFAULT FALSE,
    title TEXT,
    topic TEXT,
    created_by TEXT,
    created_by_name TEXT,
    created BIGINT,
    settings TEXT NOT NULL DEFAULT '{}'
);

-- A life's numbers begin above `base` (null: not known). Up to `expired` its events have gone
-- because they were too old.
CREATE TABLE lives (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    epoch TEXT NOT NULL,
    base BIGINT,
    expired BIGINT NOT NULL DEFAULT 0,
    first_seen BIGINT NOT NULL,
    PRIMARY KEY (room_id, epoch)
) WITHOUT ROWID;

-- `number` is the event's offset. `kind`: 0 message, 1 edited, 2 deleted, 3 reacted. `frame` is
-- what clients got, or its tombstone. `edit_id` and `edit_number` point to a message's newest edit.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    number BIGINT NOT NULL,
    epoch TEXT NOT NULL,
    message TEXT NOT NULL,
    kind SMALLINT NOT NULL,
    sender TEXT NOT NULL,
    nonce TEXT,
    target BIGINT,
    ts BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    edit_id BIGINT,
    edit_number BIGINT,
    frame TEXT NOT NULL,
    UNIQUE (room_id, number, epoch)
);
CREATE INDEX events_messages ON events (room_id, number) WHERE kind = 0;
CREATE INDEX events_targets ON events (room_id, target) WHERE target IS NOT NULL;
CREATE INDEX events_nonces ON events (room_id, sender, nonce) WHERE nonce IS NOT NULL;

-- The words of what can be found, and its room as one more; rowid is the message's id. What is deleted
-- leaves no word in the index either.
CREATE VIRTUAL TABLE search USING fts5 (words, room, tokenize = 'unicode61 remove_diacritics 0');
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);

-- `number`: the event with which the reaction began.
CREATE TABLE reactions (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    target BIGINT NOT NULL,
    key TEXT NOT NULL,
    user_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (room_id, target, key, user_id)
) WITHOUT ROWID;

-- Whom the newest body of a message names, without its sender.
CREATE TABLE mentions (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    user_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, number)
) WITHOUT ROWID;
CREATE INDEX mentions_messages ON mentions (room_id, number);

-- How far a user has read. Who has joined a room once has a row.
CREATE TABLE reads (
    user_id TEXT NOT NULL,
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    number BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
) WITHOUT ROWID;

CREATE TABLE members (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    user_id TEXT NOT NULL,
    added_by TEXT,
    added BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
) WITHOUT ROWID;
CREATE INDEX members_users ON members (user_id, room_id);

-- Events that were lost on their way, and are known to be lost.
CREATE TABLE holes (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    epoch TEXT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (room_id, epoch, first, last)
) WITHOUT ROWID;
