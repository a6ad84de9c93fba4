#!lua flags=allow-oom
-- Notes that a webhook has received a room's events up to a place. If there are no more, the room
-- stops waiting. A full Redis accepts this script, because it frees memory.
-- KEYS  1 meta  2 marks of webhooks  3 joins and leaves  4 rooms that wait for this webhook
-- ARGV  1 webhook  2 room  3 offset  4 number of the join or leave  5 '1': it wants events
--       6 '1': it wants joins and leaves  7 life of a queue, s
-- Returns 1 if there is more.
local function read(mark)
  local offset, step = string.match(mark, '^(%d+)-(%d+)$')
  return tonumber(offset), tonumber(step)
end
local mark = redis.call('HGET', KEYS[2], ARGV[1])
if not mark then
  redis.call('ZREM', KEYS[4], ARGV[2])
  return 0
end
-- Another owner may be ahead.
local offset, step = read(mark)
offset, step = math.max(offset, tonumber(ARGV[3])), math.max(step, tonumber(ARGV[4]))
local top = tonumber(redis.call('HGET', KEYS[1], 'top') or '0')
local more = (ARGV[5] == '1' and top > offset)
if not more and ARGV[6] == '1' then
  local next = string.format('(%.0f-0', step)
  more = #redis.call('XRANGE', KEYS[3], next, '+', 'COUNT', 1) > 0
end
if more then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f-%.0f', offset, step))
  -- Requeued behind the others: a busy room must not delay them.
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[4], 'XX',
    string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)), ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[7])
  redis.call('EXPIRE', KEYS[4], ARGV[7])
else
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[4], ARGV[2])
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  local needed
  for _, other in ipairs(redis.call('HVALS', KEYS[2])) do
    local _, its_step = read(other)
    needed = math.min(needed or its_step, its_step)
  end
  if needed then
    redis.call('XTRIM', KEYS[3], 'MINID', '=', string.format('%.0f-0', needed + 1))
  else
    redis.call('UNLINK', KEYS[3])
  end
end
return more and 1 or 0
