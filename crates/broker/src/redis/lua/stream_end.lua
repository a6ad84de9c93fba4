-- Shared by the scripts that need the end of a room's stream.

-- The end of the stream: the last entry if there is one, and the highest offset that the stream has
-- ever had. Redis refuses new entries at or below it.
local function end_of_stream(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if redis.call('EXISTS', stream) == 0 then
    return nil, 0
  end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return last, tonumber(string.match(info[i + 1], '^%d+'))
    end
  end
end
