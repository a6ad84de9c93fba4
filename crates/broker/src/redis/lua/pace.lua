-- Adds what users have taken of a limit to what they had taken on other nodes.
-- KEYS  one a user and limit     ARGV  for each: how often, microseconds between two
-- Returns for each the microseconds until everything it took is allowed for again
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
for index, key in ipairs(KEYS) do
  local free = math.max(tonumber(redis.call('GET', key) or 0), now)
  free = free + tonumber(ARGV[2 * index - 1]) * tonumber(ARGV[2 * index])
  local wait = free - now
  if wait > 0 then
    redis.call('SET', key, string.format('%.0f', free), 'PX', math.ceil(wait / 1000))
  end
  answers[index] = string.format('%.0f', wait)
end
return answers
