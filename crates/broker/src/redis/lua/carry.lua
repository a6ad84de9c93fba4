-- Shared: moves events of an older epoch to the end of the stream, into the epoch that has just
-- begun above `base`, because nodes or the archive know other events at their places. The events
-- keep their order, their message IDs and their nonces. A target that moves with them is
-- renumbered.
-- KEYS as in reconcile.lua. Returns the new top, and the ID of the event there if any was moved.
local function carry(from, epoch, base)
  local stream, tombstones, changes = KEYS[2], KEYS[5], KEYS[6]
  local first = string.format('%d', from)
  local places = {}
  for _, entry in ipairs(redis.call('XRANGE', stream, first .. '-0', '+')) do
    places[#places + 1] = { offset = tonumber(string.match(entry[1], '^%d+')), fields = entry[2] }
  end
  local buried = redis.call('ZRANGEBYSCORE', tombstones, first, '+inf', 'WITHSCORES')
  for i = 1, #buried, 2 do
    places[#places + 1] = { offset = tonumber(buried[i + 1]), tombstone = buried[i] }
  end
  if #places == 0 then
    return base, nil
  end
  table.sort(places, function(a, b) return a.offset < b.offset end)
  local shift = base + 1 - places[1].offset

  local function moved(offset)
    return string.format('%d', offset + shift)
  end

  -- Only the end of a frame names its place. A change also names its target, before its body. The
  -- mark of an edited message keeps the old place of its edit: it only serves to tell older edits
  -- from newer ones, and every later edit has a higher offset.
  local function renumber(frame, offset)
    frame = string.gsub(frame, ',"epoch":"[^"]*","offset":%d+}$',
      ',"epoch":"' .. epoch .. '","offset":' .. moved(offset) .. '}')
    local head, target, rest =
      string.match(frame, '^({"type":"%a+","room":"[^"]*","message":"[^"]*","target":)(%d+)(.*)$')
    if target and tonumber(target) >= from then
      return head .. moved(tonumber(target)) .. rest
    end
    return frame
  end

  local last
  for _, place in ipairs(places) do
    if place.fields then
      local entry = { 'XADD', stream, moved(place.offset) .. '-0' }
      for i = 1, #place.fields, 2 do
        local name, value = place.fields[i], place.fields[i + 1]
        if name == 'e' then
          value = epoch
        elseif name == 'm' then
          last = value
        else
          value = renumber(value, place.offset)
        end
        entry[#entry + 1] = name
        entry[#entry + 1] = value
      end
      redis.call(unpack(entry))
      redis.call('XDEL', stream, string.format('%d-0', place.offset))
    else
      local message, frame = string.match(place.tombstone, '^(%S+) (.*)$')
      -- In this order the key is never empty, so it keeps its time to live.
      redis.call('ZADD', tombstones, moved(place.offset),
        message .. ' ' .. renumber(frame, place.offset))
      redis.call('ZREM', tombstones, place.tombstone)
      last = message
    end
  end

  local changed = redis.call('ZRANGE', changes, 0, -1, 'WITHSCORES')
  for i = 1, #changed, 2 do
    local change, target = tonumber(changed[i]), tonumber(changed[i + 1])
    if change >= from then
      -- Edits and deletions have negative scores.
      if math.abs(target) >= from then
        target = target < 0 and target - shift or target + shift
      end
      -- A reaction's offset has a fixed length (see change.lua).
      local member = target < 0 and moved(change) or string.format('%016d', moved(change))
      redis.call('ZADD', changes, string.format('%d', target), member)
      redis.call('ZREM', changes, changed[i])
    end
  end
  for key = 3, 4 do
    local nonces = redis.call('HGETALL', KEYS[key])
    for i = 1, #nonces, 2 do
      if tonumber(nonces[i + 1]) >= from then
        redis.call('HSET', KEYS[key], nonces[i], moved(tonumber(nonces[i + 1])))
      end
    end
  end
  return places[#places].offset + shift, last
end
