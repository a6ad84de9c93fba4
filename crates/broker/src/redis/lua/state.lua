-- Reads where a room's stream stands, and whether it was reconciled in this run.
-- KEYS  1 meta  2 stream  3 run
-- Returns the run; of the meta: epoch, top, base, archived, private, run, reconciled, lost; the
-- offset at which the stream ends; epoch and message of the entry there. Missing values are nil.
local answer = redis.call('HMGET', KEYS[1], 'epoch', 'top', 'base', 'archived', 'private', 'run',
  'reconciled', 'lost')
table.insert(answer, 1, redis.call('GET', KEYS[3]))
local last, last_offset = end_of_stream(KEYS[2])
if last and (tonumber(string.match(last[1], '^%d+')) == last_offset
    or last_offset <= tonumber(answer[3] or '0')) then
  answer[10], answer[11], answer[12] = string.match(last[1], '^%d+'), last[2][2], last[2][4]
elseif last_offset > 0 then
  -- The entry is gone. It was of the noted epoch.
  answer[10], answer[11] = string.format('%d', last_offset), answer[2]
end
return answer
