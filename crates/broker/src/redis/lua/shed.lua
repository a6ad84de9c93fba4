-- Measures a room's stream, and takes its oldest events out until it fits. Events that wait for the
-- archive stay: a room that has too many of them takes no more messages until it fits again. A Redis
-- that is full takes it: it gives memory back.
-- KEYS  1 meta  2 stream  3 tombstones  4 sizes of the partition's streams
-- ARGV  1 room  2 bytes that it may have, or '': it is only measured  3 '0': there is no archive
-- Returns the stream's bytes; -1: there is none
local known = redis.call('HMGET', KEYS[1], 'top', 'given', 'archived', 'base', 'crowded', 'payers')
local given = tonumber(known[2])
if not given or redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HDEL', KEYS[4], ARGV[1])
  if known[1] then
    redis.call('HDEL', KEYS[1], 'noted', 'crowded')
  end
  return -1
end
local most = tonumber(ARGV[2]) or math.huge
local needed = tonumber(known[1])
if ARGV[3] ~= '0' then
  needed = math.min(needed, tonumber(known[3] or known[4] or '0') + 1)
end
local floor = fit(KEYS[2], KEYS[3], given, most, needed)
local size = string.format('%d', given - floor)
redis.call('HSET', KEYS[1], 'floor', string.format('%d', floor), 'noted', size)
local is_crowded = known[5]
if ARGV[2] ~= '' then
  -- A room of one event has nothing to give.
  is_crowded = given - floor > most and needed < tonumber(known[1])
  if is_crowded then
    redis.call('HSET', KEYS[1], 'crowded', '1')
  elseif known[5] then
    redis.call('HDEL', KEYS[1], 'crowded')
  end
end
redis.call('HSET', KEYS[4], ARGV[1],
  size .. ' ' .. (known[6] or '- -') .. (is_crowded and ' crowded' or ''))
return given - floor
