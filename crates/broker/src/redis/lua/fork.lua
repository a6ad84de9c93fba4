-- Begins a new life of a room whose stream turned out to be another one than nodes have seen.
-- Whoever comes second, with an epoch that is no longer the room's, changes nothing; nor does one
-- whose proof does not hold here: it has read another Redis than this one.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 tombstones  6 changes of messages
--       7 changed rooms  8 rooms that wait for the archive
-- ARGV  1 channel  2 room  3 epoch for the new life  4 highest offset seen  5 life of an unused room, s
--       6 the epoch that forked  7 '1': only while that life has no event
--       8 the offset of an event that was seen  9 its id, or '': none  10 '0': no archive
local forked, head = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'top'))
if forked ~= ARGV[6] or (ARGV[7] == '1' and redis.call('EXISTS', KEYS[2]) == 1) then
  return 0
end
local function is_other()
  local id = ARGV[8] .. '-0'
  local entry = ARGV[9] ~= '' and redis.call('XRANGE', KEYS[2], id, id)[1]
  return entry and entry[2][4] ~= ARGV[9]
end
if tonumber(head) >= tonumber(ARGV[4]) and not is_other() then
  return 0
end
local top = math.max(tonumber(head), tonumber(ARGV[4]))
redis.call('HDEL', KEYS[1], 'epoch')
top = begin(ARGV[3], string.format('%d', top), ARGV[5])
local time = redis.call('TIME')
local ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('ZADD', KEYS[7], ms, ARGV[2])
if ARGV[10] ~= '0' then
  redis.call('ZADD', KEYS[8], 'NX', ms, ARGV[2])
end
redis.call('PUBLISH', ARGV[1], '1 R ' .. ARGV[3] .. ' ' .. string.format('%d', top))
return 1
