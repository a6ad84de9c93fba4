-- SQLite has a function of this name: with it, one statement can bring many rows to either database.
CREATE FUNCTION json_each(rows TEXT) RETURNS TABLE (value JSON)
    LANGUAGE sql IMMUTABLE AS 'SELECT json_array_elements(rows::json)';

-- A room: its newest life and how far that goes, and its record where it has one. A direct message
-- is private and has two members, but no record.
CREATE TABLE rooms (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room TEXT COLLATE "C" NOT NULL UNIQUE,
    epoch TEXT COLLATE "C",
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
    epoch TEXT COLLATE "C" NOT NULL,
    base BIGINT,
    expired BIGINT NOT NULL DEFAULT 0,
    first_seen BIGINT NOT NULL,
    PRIMARY KEY (room_id, epoch)
);

-- `number` is the event's offset. `kind`: 0 message, 1 edited, 2 deleted, 3 reacted. `frame` is
-- what clients got, or its tombstone. `edit_id` and `edit_number` point to a message's newest edit.
-- `search`: the words of a message that can be found.
CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    number BIGINT NOT NULL,
    epoch TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    kind SMALLINT NOT NULL,
    sender TEXT COLLATE "C" NOT NULL,
    nonce TEXT COLLATE "C",
    target BIGINT,
    ts BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    edit_id BIGINT,
    edit_number BIGINT,
    frame TEXT NOT NULL,
    search TSVECTOR,
    UNIQUE (room_id, number, epoch)
);
CREATE INDEX events_messages ON events (room_id, number) WHERE kind = 0;
CREATE INDEX events_targets ON events (room_id, target) WHERE target IS NOT NULL;
CREATE INDEX events_nonces ON events (room_id, sender, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX events_search ON events USING gin (search) WHERE search IS NOT NULL;

-- `number`: the event with which the reaction began.
CREATE TABLE reactions (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    target BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (room_id, target, key, user_id)
);

-- Whom the newest body of a message names, without its sender.
CREATE TABLE mentions (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    user_id TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id, number)
);
CREATE INDEX mentions_messages ON mentions (room_id, number);

-- How far a user has read. Who has joined a room once has a row.
CREATE TABLE reads (
    user_id TEXT COLLATE "C" NOT NULL,
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    number BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
);

CREATE TABLE members (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    user_id TEXT COLLATE "C" NOT NULL,
    added_by TEXT,
    added BIGINT NOT NULL,
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX members_users ON members (user_id, room_id);

-- Events that were lost on their way, and are known to be lost.
CREATE TABLE holes (
    room_id BIGINT NOT NULL REFERENCES rooms (id),
    epoch TEXT COLLATE "C" NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (room_id, epoch, first, last)
);
