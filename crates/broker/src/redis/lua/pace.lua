-- Claims a part of a user's limit that counts over all nodes, by the generic cell rate algorithm.
-- KEYS  1 the time at which everything taken has been earned again, microseconds
-- ARGV  microseconds:  1 taken already and not reported yet  2 one more  3 the most that may be
-- ahead
-- Returns 1 if one more is allowed, which is then taken, and the microseconds that are ahead now.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[1])
local allowed = 0
if free + tonumber(ARGV[2]) <= now + tonumber(ARGV[3]) then
  free = free + tonumber(ARGV[2])
  allowed = 1
end
local ahead = free - now
if ahead > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil(ahead / 1000))
end
return { allowed, string.format('%.0f', ahead) }
