-- What an edit, a deletion or a reaction, stored at `offset`, does to what the stream holds of its
-- target: KIND is e, d or r.
local function change(kind, target, tombstone, offset, keep)
  local stream, tombstones, changes = KEYS[2], KEYS[5], KEYS[6]

  -- A tombstone takes the place of what leaves the stream.
  local function bury(message, of, instead)
    redis.call('XDEL', stream, of .. '-0')
    redis.call('ZADD', tombstones, of, message .. ' ' .. instead)
  end

  local function bury_edits()
    for _, edit in ipairs(redis.call('ZRANGEBYSCORE', changes, target, target)) do
      local entry = redis.call('XRANGE', stream, edit .. '-0', edit .. '-0')[1]
      if entry and entry[2][7] == 'g' then
        bury(entry[2][4], edit, entry[2][8])
        redis.call('ZREM', changes, edit)
      end
    end
  end

  -- What is said of messages that have left the stream is of no use to whoever reads it.
  local function trim(key, of_member)
    local count = redis.call('ZCARD', key)
    -- Seldom: it looks at all of them.
    if count <= keep + 1000 or count % 500 ~= 0 then
      return
    end
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    local floor = tonumber(first and string.match(first[1], '^%d+') or offset)
    if not of_member then
      redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%d', floor))
      return
    end
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      if tonumber(member) < floor then
        redis.call('ZREM', key, member)
      end
    end
  end

  redis.call('ZADD', changes, target, offset)
  if kind == 'd' then
    bury(string.match(tombstone, '"message":"([^"]+)"') or '-', target, tombstone)
    bury_edits()
  end
  trim(tombstones, false)
  trim(changes, true)
  redis.call('EXPIRE', tombstones, STREAM_LIFE)
  redis.call('EXPIRE', changes, STREAM_LIFE)
end
