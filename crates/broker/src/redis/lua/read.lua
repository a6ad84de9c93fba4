#!lua flags=no-writes
-- Reads a part of a room's stream and its head at the same moment. Redis takes it even while it takes
-- no writes.
-- KEYS  1 meta  2 stream     ARGV  1 'after', 'before' or 'newest'  2 offset  3 count
-- Returns epoch ('': the room has no stream), top, then the entries in order
local epoch, top = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top'))
if not epoch then
  return { '', '0', {} }
end
local entries = {}
if ARGV[3] ~= '0' then
  if ARGV[1] == 'after' then
    entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])
  elseif ARGV[1] == 'before' then
    entries = redis.call('XREVRANGE', KEYS[2], '(' .. ARGV[2] .. '-0', '-', 'COUNT', ARGV[3])
  else
    entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[3])
  end
end
return { epoch, top, entries }
