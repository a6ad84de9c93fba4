-- Words are folded (`src/fold.rs`), emoji are words, and beginnings of words are looked for. We make the
-- words ourselves, so that the tokenizer only has to part them at spaces. There is no `prefix` index:
-- with one, `secure-delete` leaves the words of deleted messages in the file.
DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (words, room,
    tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'");
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);

-- Messages below this id still have to be entered; no row: none.
CREATE TABLE unsearched (below BIGINT NOT NULL);
INSERT INTO unsearched SELECT max(id) + 1 FROM events HAVING max(id) IS NOT NULL;
