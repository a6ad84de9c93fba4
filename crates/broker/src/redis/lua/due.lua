-- Reads what a webhook has not received of a room yet.
-- KEYS  1 meta  2 stream  3 tombstones  4 marks of webhooks  5 joins and leaves
-- ARGV  1 webhook  2 count  3 '1': it wants events  4 '1': it wants joins and leaves
-- Returns the webhook's mark ('': the room does not wait for it), epoch ('': the room has no
-- stream), top, number of the last join or leave. Then as read.lua: entries, tombstones, the offset
-- from which on nothing is missing, the epoch before it, the base of the epoch. Then joins and
-- leaves.
local mark = redis.call('HGET', KEYS[4], ARGV[1])
if not mark then
  return { '', '', '0', '0', {}, {}, '0', '', '0', {} }
end
local offset, step = string.match(mark, '^(%d+)-(%d+)$')
local count = ARGV[2]
local epoch, top, attended, base = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'attended', 'base'))
local entries, tombstones, low, before, attendance = {}, {}, '0', '', {}
if ARGV[3] == '1' and epoch then
  entries, tombstones, low, before = read_after(KEYS[2], KEYS[3], offset, count)
end
if ARGV[4] == '1' then
  attendance = redis.call('XRANGE', KEYS[5], '(' .. step .. '-0', '+', 'COUNT', count)
end
return { mark, epoch or '', top or '0', attended or '0', entries, tombstones, low, before,
  base or '0', attendance }
