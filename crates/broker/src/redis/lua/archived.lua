#!lua flags=allow-oom
-- Notes that the archive has a room's events up to an offset. If there are no more, the room stops
-- waiting. The stream is cut to the length that it would have without an archive. A full Redis
-- accepts this script, because it frees memory.
-- KEYS  1 meta  2 rooms that wait for the archive  3 stream  4 tombstones  5 changes of messages
-- ARGV  1 room  2 epoch  3 offset  4 stream length  5 stream life, s
local epoch, top, archived = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'archived'))
if not epoch then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return
end
if epoch ~= ARGV[2] then
  return
end
local offset = tonumber(ARGV[3])
if offset > tonumber(archived or '-1') then
  redis.call('HSET', KEYS[1], 'archived', ARGV[3])
end
local first = math.min(offset, tonumber(top) - tonumber(ARGV[4])) + 1
if first > 1 then
  redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%.0f-0', first))
end
if tonumber(top) <= offset then
  redis.call('ZREM', KEYS[2], ARGV[1])
  for key = 3, 5 do
    redis.call('EXPIRE', KEYS[key], ARGV[5])
  end
else
  -- Requeued behind the others: a busy room must not delay them.
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], 'XX',
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ARGV[1])
end
