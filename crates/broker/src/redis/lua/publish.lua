-- Numbers, stores and publishes events of one room, all or none.
-- KEYS  1 meta  2 stream  3 nonces  4 older nonces  5 changes
-- ARGV  1 channel  2 room  3 epoch for a new life  4 highest offset seen  5 stream length
--       6 stream life, s  7 meta life, s  8 nonce generation, s  9 the epoch of 4, or ''
--       then for each event: digest, message id, frame without its end
-- Returns epoch, time in ms, then for each event: offset, 1 if it was stored before else 0
local FIRST = 10
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local ms = string.format('%.0f', seconds * 1000 + math.floor(tonumber(time[2]) / 1000))
local epoch, top, generation, previous =
  begin(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[3], ARGV[4], ARGV[6], ARGV[9])

local digests = {}
for i = FIRST, #ARGV, 3 do
  digests[#digests + 1] = ARGV[i]
end
local newer = redis.call('HMGET', KEYS[3], unpack(digests))
local older = redis.call('HMGET', KEYS[4], unpack(digests))

local reply = { epoch, ms }
local fresh = {}   -- digest, offset, … as HSET takes them
local batch = {}   -- digest → offset, for a nonce twice in one call
local packet = {}
local first = top + 1
local last
for i, digest in ipairs(digests) do
  local known = newer[i] or older[i] or batch[digest]
  if known then
    reply[#reply + 1] = known
    reply[#reply + 1] = 1
  else
    top = top + 1
    local offset = string.format('%.0f', top)
    local message = ARGV[FIRST + (i - 1) * 3 + 1]
    local frame = ARGV[FIRST + (i - 1) * 3 + 2]
      .. ',"ts":' .. ms .. ',"epoch":"' .. epoch .. '","offset":' .. offset .. '}'
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], offset .. '-0',
      'e', epoch, 'm', message, 'f', frame)
    batch[digest] = offset
    last = message
    fresh[#fresh + 1] = digest
    fresh[#fresh + 1] = offset
    packet[#packet + 1] = message .. ' ' .. #frame .. '\n' .. frame
    reply[#reply + 1] = offset
    reply[#reply + 1] = 0
  end
end
if #fresh == 0 then
  return reply
end

-- Lives are renewed with the nonces' generations only: once in 15 minutes is often enough, unless
-- they are short themselves.
local turn = seconds - generation >= tonumber(ARGV[8])
local renewal = turn or tonumber(ARGV[6]) < 2 * tonumber(ARGV[8])
if turn then
  redis.call('UNLINK', KEYS[4])
  if redis.call('EXISTS', KEYS[3]) == 1 then
    redis.call('RENAME', KEYS[3], KEYS[4])
  end
  redis.call('HSET', KEYS[1], 'generation', seconds)
end
redis.call('HSET', KEYS[3], unpack(fresh))
redis.call('HSET', KEYS[1], 'top', string.format('%.0f', top), 'last', last)
redis.call('ZADD', KEYS[5], ms, ARGV[2])
if renewal then
  redis.call('EXPIRE', KEYS[3], 2 * tonumber(ARGV[8]))
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  if redis.call('TTL', KEYS[1]) ~= -1 then
    redis.call('EXPIRE', KEYS[1], ARGV[7])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', seconds * 1000 - tonumber(ARGV[6]) * 1000)
end
redis.call('PUBLISH', ARGV[1], '1 E ' .. epoch .. ' ' .. string.format('%.0f', first) .. ' '
  .. #packet .. ' ' .. ms .. ' ' .. previous .. '\n' .. table.concat(packet))
return reply
