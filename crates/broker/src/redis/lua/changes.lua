#!lua flags=no-writes
-- Reads the changes of some messages, in order: the edits and deletions that are in force, and the
-- newest `count` reactions.
-- KEYS  1 stream  2 changes of messages (see change.lua)
-- ARGV  1 only changes above this offset  2 count  then for each part its first and last message
local above, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local reactions, offsets = {}, {}
local function gather(into, from, to)
  for _, offset in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], from, to)) do
    if tonumber(offset) > above then
      into[#into + 1] = offset
    end
  end
end
for i = 3, #ARGV, 2 do
  gather(reactions, ARGV[i], ARGV[i + 1])
  gather(offsets, '-' .. ARGV[i + 1], '-' .. ARGV[i])
end
local function is_older(a, b)
  return tonumber(a) < tonumber(b)
end
table.sort(reactions, is_older)
for i = math.max(1, #reactions - count + 1), #reactions do
  offsets[#offsets + 1] = reactions[i]
end
table.sort(offsets, is_older)
local entries = {}
for _, offset in ipairs(offsets) do
  local entry = redis.call('XRANGE', KEYS[1], offset .. '-0', offset .. '-0')[1]
  if entry then
    entries[#entries + 1] = entry
  end
end
return entries
