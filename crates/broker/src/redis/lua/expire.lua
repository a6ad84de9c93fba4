#!lua flags=allow-oom
-- Removes the oldest events of a room that were stored before a time, and their tombstones. It
-- stops at the first younger event, so that no hole arises. The room's top stays, so offsets go on
-- from there. A full Redis accepts this script, because it frees memory.
-- KEYS  1 stream  2 tombstones     ARGV  1 milliseconds since 1970  2 entries that are looked at
-- Returns 1 if there may be more
local cutoff, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local function ts_of(frame)
  return tonumber(string.match(frame, '"ts":(%d+),"epoch":"[^"]*","offset":%d+}$') or '0')
end
local function is_young(frame)
  return ts_of(frame) >= cutoff
end

local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count)
if #entries == 0 then
  -- Tombstones without a stream are left over from it.
  redis.call('UNLINK', KEYS[2])
  return 0
end
-- Everything below `cut` is removed.
local cut, more
for _, entry in ipairs(entries) do
  local offset = tonumber(string.match(entry[1], '^%d+'))
  if is_young(entry[2][6]) then
    cut, more = offset, 0
    break
  end
  cut, more = offset + 1, #entries == count and 1 or 0
end

-- A tombstone keeps the time of its event, so tombstones are in order too. Finds the first young
-- one.
local low, high = 0, redis.call('ZCOUNT', KEYS[2], '-inf', string.format('(%.0f', cut))
while low < high do
  local middle = math.floor((low + high) / 2)
  local frame = redis.call('ZRANGE', KEYS[2], middle, middle)[1]
  if frame and is_young(frame) then
    high = middle
  else
    low = middle + 1
  end
end
local first = redis.call('ZRANGE', KEYS[2], low, low, 'WITHSCORES')
if first[2] and tonumber(first[2]) < cut then
  cut, more = tonumber(first[2]), 0
end
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', cut))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', cut))
return more
