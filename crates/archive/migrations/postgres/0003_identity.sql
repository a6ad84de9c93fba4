-- What tells this archive from another one, and the cluster that it belongs to (null: none yet). `id`
-- is made once and never changes. `home` is the ID of the Redis data of the cluster's nodes; `seen` is
-- when one of them said so last, in milliseconds since 1970 by this database's clock.
CREATE TABLE identity (
    id TEXT NOT NULL,
    cluster TEXT,
    home TEXT,
    seen BIGINT NOT NULL DEFAULT 0
);
INSERT INTO identity (id) VALUES (replace(gen_random_uuid()::text, '-', ''));
