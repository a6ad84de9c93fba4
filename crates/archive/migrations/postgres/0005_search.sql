-- Words are folded (`src/fold.rs`) and emoji are words. Messages below this id still have the words of
-- before; no row: none.
CREATE TABLE unsearched (below BIGINT NOT NULL);
INSERT INTO unsearched SELECT max(id) + 1 FROM events HAVING max(id) IS NOT NULL;
