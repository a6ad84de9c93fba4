#!lua flags=no-writes
-- Finds the changes of some messages: the edits and deletions that are in force, and the reactions.
-- A message may have many thousands of reactions, and a script holds up everybody else. So this one
-- reads their entries only if there are few, and otherwise returns their offsets.
-- KEYS  1 stream  2 changes of messages (see change.lua)
-- ARGV  1 only changes above this offset  2 how many reactions count as few; 0: none are wanted
--       then for each part its first and last message
-- Returns entries, and offsets of reactions; both in no particular order
local above, few = tonumber(ARGV[1]), tonumber(ARGV[2])
local reactions, entries = {}, {}
local function read(offset)
  local entry = redis.call('XRANGE', KEYS[1], offset .. '-0', offset .. '-0')[1]
  if entry then
    entries[#entries + 1] = entry
  end
end
for i = 3, #ARGV, 2 do
  for _, offset in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-' .. ARGV[i + 1], '-' .. ARGV[i])) do
    if tonumber(offset) > above then
      read(offset)
    end
  end
  if few > 0 then
    for _, offset in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[i], ARGV[i + 1])) do
      if above == 0 or tonumber(offset) > above then
        reactions[#reactions + 1] = offset
      end
    end
  end
end
if #reactions > few then
  return { entries, reactions }
end
for _, offset in ipairs(reactions) do
  read(offset)
end
return { entries, {} }
