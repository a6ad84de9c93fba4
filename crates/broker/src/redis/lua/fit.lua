-- Shared by the scripts that bound the bytes of a room's stream. Each entry says in `b` how many bytes
-- the room had been given before it. So the stream's size is all that the room was given, less the `b`
-- of its oldest entry, whoever has trimmed it.

-- What an event costs beside its frame: its fields, its place in the stream and its nonce.
local EVENT_OVERHEAD = 256

-- The number in `b`; nil for an entry of a version that wrote none, or of a place that was lost.
local function given_before(entry, given)
  local fields = entry[2]
  for i = #fields - 1, 1, -2 do
    if fields[i] == 'b' then
      local before = tonumber(fields[i + 1])
      return before and before <= given and before or nil
    end
  end
end

-- Takes the oldest events out of a stream of more than `most` bytes, with what stands in their place,
-- until a sixteenth of that is free. Events from the offset `needed` on stay. `given` is all that the
-- room was given. Returns the bytes that it had been given before the oldest event that is left.
local function fit(stream, tombstones, given, most, needed)
  local function oldest(count)
    return redis.call('XRANGE', stream, '-', '+', 'COUNT', count)
  end
  local function offset_of(entry)
    return tonumber(string.match(entry[1], '^%d+'))
  end
  local first = oldest(1)[1]
  if not first then
    return given
  end
  local floor = given_before(first, given) or 0
  if given - floor <= most or offset_of(first) >= needed then
    return floor
  end
  local target = math.floor(most * 15 / 16)
  local cut
  -- A call does a bounded part.
  for _ = 1, 50 do
    local entries = oldest(100)
    for _, entry in ipairs(entries) do
      local before = given_before(entry, given)
      cut = offset_of(entry)
      floor = before or floor
      if cut >= needed or (before and given - before <= target) then
        redis.call('XTRIM', stream, 'MINID', string.format('%.0f-0', cut))
        redis.call('ZREMRANGEBYSCORE', tombstones, '-inf', string.format('(%.0f', cut))
        return floor
      end
    end
    if #entries == 0 then
      return given
    end
    redis.call('XTRIM', stream, 'MINID', string.format('%.0f-0', cut + 1))
  end
  redis.call('ZREMRANGEBYSCORE', tombstones, '-inf', string.format('(%.0f', cut + 1))
  return floor
end
