#!lua flags=no-writes
-- Reads the edits, deletions and reactions of some messages, in their order, and the newest `count`
-- of them if there are more.
-- KEYS  1 stream  2 changes of messages     ARGV  1 first message  2 last one  3 count
local offsets = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[2])
table.sort(offsets, function(a, b) return tonumber(a) < tonumber(b) end)
local entries = {}
for i = math.max(1, #offsets - tonumber(ARGV[3]) + 1), #offsets do
  local entry = redis.call('XRANGE', KEYS[1], offsets[i] .. '-0', offsets[i] .. '-0')[1]
  if entry then
    entries[#entries + 1] = entry
  end
end
return entries
