#!lua flags=no-writes
-- Finds the changes of some messages: the edits and deletions that are in force, and the reactions.
-- A message may have many thousands of reactions, and a script holds up everybody else. So this one
-- reads their entries only if there are few, and otherwise returns their offsets.
-- KEYS  1 stream  2 changes of messages (see change.lua)
-- ARGV  1 only changes above this offset
--       2 most reactions: those of the newest messages, and of each message the newest
--       3 how many of them count as few
--       then for each part its first and last message, the newest part first
-- Returns entries, and offsets of reactions; both in no particular order
local above, most, few = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reactions, entries = {}, {}
local function read(offset)
  local id = string.format('%d-0', tonumber(offset))
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    entries[#entries + 1] = entry
  end
end
-- Gathers the reactions to one message, the newest first, down to the first that is not above `above`.
local function gather_of(target)
  local skip = 0
  while #reactions < most do
    local found = redis.call('ZREVRANGEBYSCORE', KEYS[2], target, target, 'LIMIT', skip, 100)
    for _, offset in ipairs(found) do
      if tonumber(offset) <= above or #reactions == most then
        return
      end
      reactions[#reactions + 1] = offset
    end
    if #found < 100 then
      return
    end
    skip = skip + 100
  end
end
-- Gathers the reactions to the messages of a part, from the newest message down.
local function gather(first, last)
  while #reactions < most do
    local newest = redis.call('ZREVRANGEBYSCORE', KEYS[2], last, first, 'WITHSCORES', 'LIMIT', 0, 1)
    if #newest == 0 then
      return
    end
    if tonumber(newest[1]) > above then
      gather_of(newest[2])
    end
    last = '(' .. newest[2]
  end
end
for i = 4, #ARGV, 2 do
  local first, last = ARGV[i], ARGV[i + 1]
  for _, offset in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-' .. last, '-' .. first)) do
    if tonumber(offset) > above then
      read(offset)
    end
  end
  gather(first, last)
end
if #reactions > few then
  return { entries, reactions }
end
for _, offset in ipairs(reactions) do
  read(offset)
end
return { entries, {} }
