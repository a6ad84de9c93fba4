-- Edits, deletions and reactions in a room's stream.
--
-- An entry of a stream cannot be rewritten. So an event whose body has to go leaves the stream, and
-- another frame replaces it among the tombstones (offset → MESSAGE FRAME). A deleted message and an
-- edit without a body end in "deleted":true; an edited message has its newest body.
-- The changes are a set: offset of the change → offset of its message, negative for an edit or a
-- deletion. So the last edit of a message is found however many reactions it has. The offset of a
-- reaction has 16 digits: so Redis keeps the reactions to one message in their order.

-- The end of a frame without a body. A user's body can never match it.
local TOMBSTONE = '"deleted":true,"ts":%d+,"epoch":"[^"]*","offset":%d+}$'

-- Whether the message at `target` is deleted, as far as the stream knows.
local function is_deleted(target)
  local stream, tombstones, changes = KEYS[2], KEYS[5], KEYS[6]
  local instead = redis.call('ZRANGEBYSCORE', tombstones, target, target)
  if #instead > 0 then
    for _, frame in ipairs(instead) do
      if string.find(frame, TOMBSTONE) then
        return true
      end
    end
    return false
  end
  -- The message has left the stream, but its deletion may still be there.
  local score = '-' .. target
  for _, change in ipairs(redis.call('ZRANGEBYSCORE', changes, score, score)) do
    local entry = redis.call('XRANGE', stream, change .. '-0', change .. '-0')[1]
    if entry and string.find(entry[2][6], '{"type":"deleted"', 1, true) == 1 then
      return true
    end
  end
  return false
end

-- Applies an edit, a deletion or a reaction, stored at `offset`, to its target in the stream. KIND
-- is e, d or r. `instead` replaces the target. For a deletion it is the tombstone. For an edit it
-- is three lines: the edit's own tombstone, the edited message up to the edit's author, and its
-- end.
local function change(kind, target, instead, offset, ms, keep)
  local stream, tombstones, changes = KEYS[2], KEYS[5], KEYS[6]

  -- Replaces an event by a frame. Does nothing if the event is not there, or is another one.
  local function replace(message, of, frame)
    local entry = redis.call('XRANGE', stream, of .. '-0', of .. '-0')[1]
    local known = entry and entry[2][4]
    if not entry then
      local there = redis.call('ZRANGEBYSCORE', tombstones, of, of)[1]
      known = there and string.match(there, '^%S+')
    end
    if known ~= message then
      return
    end
    redis.call('XDEL', stream, of .. '-0')
    redis.call('ZREMRANGEBYSCORE', tombstones, of, of)
    redis.call('ZADD', tombstones, of, message .. ' ' .. frame)
  end

  -- Removes the bodies of the message's edits before this change.
  local function bury_edits(score)
    for _, edit in ipairs(redis.call('ZRANGEBYSCORE', changes, score, score)) do
      local entry = edit ~= offset and redis.call('XRANGE', stream, edit .. '-0', edit .. '-0')[1]
      if entry and entry[2][7] == 'g' then
        replace(entry[2][4], edit, entry[2][8])
        redis.call('ZREM', changes, edit)
      end
    end
  end

  -- Bounds the tombstones and changes to the last `keep` offsets. A message that is edited again
  -- and again leaves few entries and many tombstones.
  local function trim()
    local count = math.max(redis.call('ZCARD', tombstones), redis.call('ZCARD', changes))
    -- Done seldom, since it looks at all of them. A change adds up to two.
    if count <= keep + 1000 or count % 500 > 2 then
      return
    end
    local floor = tonumber(offset) - keep
    local first = string.format('%d', math.max(floor, 1))
    redis.call('XTRIM', stream, 'MINID', first .. '-0')
    redis.call('ZREMRANGEBYSCORE', tombstones, '-inf', '(' .. first)
    for _, member in ipairs(redis.call('ZRANGE', changes, 0, -1)) do
      if tonumber(member) < floor then
        redis.call('ZREM', changes, member)
      end
    end
  end

  if kind == 'r' then
    redis.call('ZADD', changes, target, string.format('%016d', tonumber(offset)))
  else
    redis.call('ZADD', changes, '-' .. target, offset)
    bury_edits('-' .. target)
    if kind == 'e' then
      local open, last = string.match(instead, '\n(.*)\n(.*)$')
      instead = open .. ',"ts":' .. ms .. ',"offset":' .. offset .. '}' .. last
    end
    replace(string.match(instead, '"message":"([^"]+)"'), target, instead)
  end
  trim()
  -- Events that wait for the archive must not expire before they are archived.
  local life = BACKLOG > 0 and META_LIFE or STREAM_LIFE
  redis.call('EXPIRE', tombstones, life)
  redis.call('EXPIRE', changes, life)
end
