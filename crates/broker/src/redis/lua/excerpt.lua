-- Shared by the scripts that read a room's stream: reads its entries, and the tombstones of those
-- that left it (see change.lua). Tombstones below the stream's oldest entry belong to the stream
-- only as far as they lead down from it without a hole. The others are left over from a trim.

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- The lowest offset to which tombstones lead down from `first` without a hole.
local function reach(tombstones, first)
  local low, high = 1, first
  if redis.call('ZCOUNT', tombstones, first - 1, first - 1) == 0 then
    return first
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    local count = redis.call('ZCOUNT', tombstones, string.format('%.0f', middle),
      string.format('(%.0f', first))
    if count >= first - middle then
      high = middle
    else
      low = middle + 1
    end
  end
  return high
end

local function tombstones_between(tombstones, low, high, count)
  return redis.call('ZRANGEBYSCORE', tombstones, string.format('%.0f', low), high, 'WITHSCORES',
    'LIMIT', 0, count)
end

-- The oldest events above `offset`: entries, tombstones, the offset from which on nothing is
-- missing, the epoch of the entry at or below `offset` ('': there is none).
local function read_after(stream, tombstones, offset, count)
  local entries = redis.call('XRANGE', stream, '(' .. offset .. '-0', '+', 'COUNT', count)
  local older = redis.call('XREVRANGE', stream, offset .. '-0', '-', 'COUNT', 1)[1]
  if not older and #entries == 0 then
    return {}, {}, '0', ''
  end
  local low = tonumber(offset) + 1
  if not older then
    low = math.max(low, reach(tombstones, offset_of(entries[1])))
  end
  local is_full = #entries == tonumber(count)
  local last = is_full and string.format('%.0f', offset_of(entries[#entries])) or '+inf'
  return entries, tombstones_between(tombstones, low, last, count), string.format('%.0f', low),
    older and older[2][2] or ''
end

-- The newest events below `offset` ('+': of all). Returns the same as read_after.
local function read_before(stream, tombstones, offset, count)
  local from = offset == '+' and '+' or '(' .. offset .. '-0'
  local entries = redis.call('XREVRANGE', stream, from, '-', 'COUNT', count)
  local first = entries[#entries] or redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not first then
    return {}, {}, '0', ''
  end
  local low = offset_of(first)
  if #entries < tonumber(count) then
    low = reach(tombstones, low)
  end
  local high = offset == '+' and '+inf' or '(' .. offset
  local between = redis.call('ZREVRANGEBYSCORE', tombstones, high, string.format('%.0f', low),
    'WITHSCORES', 'LIMIT', 0, count)
  return entries, between, string.format('%.0f', low), ''
end
