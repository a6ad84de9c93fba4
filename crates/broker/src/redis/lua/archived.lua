-- The archive has a room's events up to here. The room waits no longer if it has no more.
-- KEYS  1 meta  2 rooms that wait for the archive
-- ARGV  1 room  2 epoch  3 offset
local epoch, top, archived = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'archived'))
if not epoch then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return
end
if epoch ~= ARGV[2] then
  return
end
if tonumber(ARGV[3]) > tonumber(archived or '-1') then
  redis.call('HSET', KEYS[1], 'archived', ARGV[3])
end
if tonumber(top) <= tonumber(ARGV[3]) then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  -- Behind the others: a busy room must not hold them up.
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], 'XX',
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ARGV[1])
end
