#!lua flags=no-writes
-- Reads a part of a room's stream and its head at the same moment. Redis takes it even while it takes
-- no writes.
-- KEYS  1 meta  2 stream  3 tombstones     ARGV  1 'after', 'before' or 'newest'  2 offset  3 count
-- Returns epoch ('': the room has no stream), top, the entries in order, the tombstones between
-- them and the page's end as text and offset in turn, 1 if the stream reaches back to before the
-- page, where the life began, how far the archive is ('': unknown), '1' if the room is private
local epoch, top, base, archived, private =
  unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'base', 'archived', 'private'))
if not epoch then
  return { '', '0', {}, {}, 0, '0', '', '' }
end
local way, offset, count = ARGV[1], ARGV[2], ARGV[3]
local entries, tombstones, reaches_back = {}, {}, 0
local function offset_of(entry)
  return string.match(entry[1], '^%d+')
end
if count ~= '0' then
  local is_full
  if way == 'after' then
    entries = redis.call('XRANGE', KEYS[2], '(' .. offset .. '-0', '+', 'COUNT', count)
    is_full = #entries == tonumber(count)
    local last = is_full and offset_of(entries[#entries]) or '+inf'
    tombstones = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. offset, last, 'WITHSCORES',
      'LIMIT', 0, count)
    reaches_back = #redis.call('XREVRANGE', KEYS[2], offset .. '-0', '-', 'COUNT', 1)
  else
    local from = way == 'before' and '(' .. offset or '+'
    entries = redis.call('XREVRANGE', KEYS[2], way == 'before' and from .. '-0' or from, '-',
      'COUNT', count)
    is_full = #entries == tonumber(count)
    local first = is_full and offset_of(entries[#entries]) or '-inf'
    tombstones = redis.call('ZREVRANGEBYSCORE', KEYS[3], way == 'before' and from or '+inf', first,
      'WITHSCORES', 'LIMIT', 0, count)
  end
end
return { epoch, top, entries, tombstones, reaches_back, base or '0', archived or '',
  private or '' }
