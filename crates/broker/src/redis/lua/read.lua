-- Reads a part of a room's stream and its head at the same moment. Redis allows it even while it
-- takes no writes.
-- KEYS  1 meta  2 stream  3 tombstones     ARGV  1 'after' or 'before'  2 offset, or '+'  3 count
-- Returns epoch ('': the room has no stream), top, the entries in order, the tombstones between
-- them and the page's end as text and offset in turn, the offset from which on nothing is missing,
-- the epoch of the entry before the page ('': not known), the base of the epoch, the offset up to
-- which the archive is complete ('': unknown), '1' if the room is private.
local epoch, top, base, archived, private =
  unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'base', 'archived', 'private'))
if not epoch then
  return { '', '0', {}, {}, '0', '', '0', '', '' }
end
local entries, tombstones, low, before = {}, {}, '0', ''
if ARGV[3] ~= '0' then
  local read = ARGV[1] == 'after' and read_after or read_before
  entries, tombstones, low, before = read(KEYS[2], KEYS[3], ARGV[2], ARGV[3])
end
return { epoch, top, entries, tombstones, low, before, base or '0', archived or '', private or '' }
