-- Reads a part of a room's stream and its head at the same moment.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces
-- ARGV  1 epoch for a new life, '' to begin none  2 highest offset seen  3 life of an unused room, s
--       4 'after', 'before' or 'newest'  5 offset  6 count
-- Returns epoch, top, then the entries in order
if ARGV[1] == '' and redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
  return { '', '0', {} }
end
local epoch, top = begin(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3])
local entries
if ARGV[6] == '0' then
  entries = {}
elseif ARGV[4] == 'after' then
  entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[5] .. '-0', '+', 'COUNT', ARGV[6])
elseif ARGV[4] == 'before' then
  entries = redis.call('XREVRANGE', KEYS[2], '(' .. ARGV[5] .. '-0', '-', 'COUNT', ARGV[6])
else
  entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[6])
end
return { epoch, string.format('%.0f', top), entries }
