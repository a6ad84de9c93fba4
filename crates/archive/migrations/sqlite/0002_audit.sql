-- What operators did. `result`: ok, or the code of the error.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    result TEXT NOT NULL
);

-- Bans, mutes and revocations of a node without Redis. `ends`: milliseconds since 1970.
CREATE TABLE rules (
    name TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    ends BIGINT,
    body TEXT NOT NULL
) WITHOUT ROWID;
