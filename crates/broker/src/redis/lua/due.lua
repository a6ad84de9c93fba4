#!lua flags=no-writes
-- What a webhook was not told of a room yet.
-- KEYS  1 meta  2 stream  3 tombstones  4 marks of webhooks  5 joins and leaves
-- ARGV  1 webhook  2 count  3 '1': it is told of events  4 '1': of joins and leaves
-- Returns its mark ('': the room does not wait for it), epoch ('': the room has no stream), top, last
-- join or leave, then as read.lua: entries, tombstones, 1 if the stream reaches back to before them;
-- then joins and leaves
local mark = redis.call('HGET', KEYS[4], ARGV[1])
if not mark then
  return { '', '', '0', '0', {}, {}, 0, {} }
end
local offset, step = string.match(mark, '^(%d+)-(%d+)$')
local count = ARGV[2]
local epoch, top, attended = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top', 'attended'))
local entries, tombstones, reaches_back, attendance = {}, {}, 0, {}
if ARGV[3] == '1' and epoch then
  entries = redis.call('XRANGE', KEYS[2], '(' .. offset .. '-0', '+', 'COUNT', count)
  local is_full = #entries == tonumber(count)
  local last = is_full and string.match(entries[#entries][1], '^%d+') or '+inf'
  tombstones = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. offset, last, 'WITHSCORES',
    'LIMIT', 0, count)
  reaches_back = #redis.call('XREVRANGE', KEYS[2], offset .. '-0', '-', 'COUNT', 1)
end
if ARGV[4] == '1' then
  attendance = redis.call('XRANGE', KEYS[5], '(' .. step .. '-0', '+', 'COUNT', count)
end
return { mark, epoch or '', top or '0', attended or '0', entries, tombstones, reaches_back,
  attendance }
